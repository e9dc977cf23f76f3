/** Who works on what, who was lost, and how fast somebody else had the work. */

import type { Message, Of } from "../journal/messages";
import type { AgentView, Reassignment, World } from "./model";

/** What the spec promises of a reassignment, milliseconds. */
export const PROMISED_MS = 250;
const MAX_REASSIGNMENTS = 200;

export function foldAgents(world: World, message: Message): World {
  switch (message.type) {
    case "agent.up":
      return put(world, {
        ...known(world, message.payload.instance, message.payload.role),
        state: "up",
        sinceUs: message.time_us,
        reason: "",
      });
    case "agent.lost":
      return lost(world, message);
    case "claim":
      return claimed(world, message);
    case "result":
      return ended(world, message);
    default:
      return world;
  }
}

function known(world: World, instance: string, role: string): AgentView {
  return (
    world.agents[instance] ?? {
      instance,
      role,
      state: "up",
      sinceUs: 0,
      reason: "",
      works: [],
      done: 0,
      failed: 0,
    }
  );
}

function put(world: World, agent: AgentView): World {
  return { ...world, agents: { ...world.agents, [agent.instance]: agent } };
}

function lost(world: World, message: Of<"agent.lost">): World {
  const { instance, role, reason, handed_on } = message.payload;
  const agent = { ...known(world, instance, role), state: "lost" as const, sinceUs: message.time_us, reason, works: [] };
  const fresh = handed_on.map((subject) => handedOn(subject, instance, message.time_us));
  const reassignments = [...world.reassignments, ...fresh].slice(-MAX_REASSIGNMENTS);
  return { ...put(world, agent), reassignments };
}

/** `triage.task.<kind>.<incident>.<task>.a<n>` */
function handedOn(subject: string, from: string, lostUs: number): Reassignment {
  const [, , , incident = "", taskId = ""] = subject.split(".");
  return { subject, incident, taskId, from, lostUs, to: null, takenUs: null };
}

function claimed(world: World, message: Of<"claim">): World {
  const { incident, task_id, instance, kind } = message.payload;
  const agent = known(world, instance, kind);
  const works = [
    ...agent.works.filter((work) => work.incident !== incident || work.taskId !== task_id),
    { incident, taskId: task_id, sinceUs: message.time_us },
  ];
  const taken = world.reassignments.map((item) =>
    item.to === null && item.incident === incident && item.taskId === task_id && item.lostUs <= message.time_us
      ? { ...item, to: instance, takenUs: message.time_us }
      : item,
  );
  return { ...put(world, { ...agent, works }), reassignments: taken };
}

function ended(world: World, message: Of<"result">): World {
  const { incident, task_id, instance, kind, status } = message.payload;
  const agents = { ...world.agents };
  for (const [name, agent] of Object.entries(agents)) {
    const works = agent.works.filter((work) => work.incident !== incident || work.taskId !== task_id);
    if (works.length !== agent.works.length) agents[name] = { ...agent, works };
  }
  const agent = agents[instance] ?? known(world, instance, kind);
  agents[instance] = {
    ...agent,
    done: agent.done + (status === "OK" ? 1 : 0),
    failed: agent.failed + (status === "OK" ? 0 : 1),
  };
  return { ...world, agents };
}

/** Milliseconds between the loss in the journal and the next claim, or null while nobody has the task. */
export function reassignedMs(item: Reassignment): number | null {
  return item.takenUs === null ? null : (item.takenUs - item.lostUs) / 1_000;
}
