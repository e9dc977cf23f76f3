/** Journals for tests: entries as the API gives them, one after another. */

import type { Entry, Message, MessageType, Payloads, Plan, PlanTask, Tag } from "../journal/messages";

export const T0 = 1_700_000_000_000_000;

export class Journal {
  readonly entries: Entry[] = [];
  private us = T0;

  /** Let broker time pass, milliseconds. */
  wait(ms: number): this {
    this.us += ms * 1_000;
    return this;
  }

  say<T extends MessageType>(type: T, payload: Payloads[T], tag: Tag = "DETERMINISTIC", subject = `triage.${type}`): this {
    this.us += 1_000;
    this.entries.push({
      seq: this.entries.length + 1,
      time_us: this.us,
      subject,
      sender: "scheduler/scheduler-1",
      tag,
      key_version: 1,
      cause: 0,
      type,
      refusal: null,
      payload,
    } as Message);
    return this;
  }

  refuse(refusal: string): this {
    this.us += 1_000;
    this.entries.push({ seq: this.entries.length + 1, time_us: this.us, subject: "triage.control.halt", type: null, refusal, payload: null });
    return this;
  }

  reported(incident: string): this {
    return this.say("incident.reported", { incident, text: "checkout is dead", source: "operator" });
  }

  /** Request, proposal and acceptance of a plan. */
  planned(incident: string, version: number, tasks: readonly PlanTask[]): this {
    const plan = planOf(version, tasks);
    const head = { incident, version, attempt: 1 };
    return this.say("plan.requested", { ...head, text: "checkout is dead" })
      .wait(30)
      .say("plan.proposed", { ...head, plan, origin: "rulebook", decision_tag: "DETERMINISTIC", repairs: [] })
      .say("plan.accepted", { ...head, plan_id: plan.plan_id, order: [tasks.map((task) => task.task_id)] });
  }

  ordered(incident: string, taskId: string, attempt = 1): this {
    return this.say("task", {
      incident,
      task_id: taskId,
      attempt,
      kind: "action",
      type: "restart",
      target: "orders",
      args: {},
      plan_version: 1,
      risk: "risky",
      timeout_s: 30,
      timer_id: "x",
    });
  }

  claimed(incident: string, taskId: string, instance: string, attempt = 1): this {
    return this.say("claim", { incident, task_id: taskId, attempt, kind: "action", instance, task_seq: 1, delivery: "d" });
  }

  ended(incident: string, taskId: string, instance: string, status: "OK" | "FAIL", attempt = 1): this {
    return this.say("result", {
      incident,
      task_id: taskId,
      attempt,
      kind: "action",
      instance,
      status,
      out: "restarted",
      meta: {},
      evidence: [],
      error_code: null,
      changed: status === "OK",
      elapsed_ms: 5,
    });
  }
}

export function task(id: string, type: string, target: string, more: Partial<PlanTask> = {}): PlanTask {
  return { task_id: id, type, target, args: {}, dependencies: [], assigned_to: "ActionAgent", estimated_cost_ms: 1, when: null, ...more };
}

export function planOf(version: number, tasks: readonly PlanTask[]): Plan {
  return {
    plan_id: `00000000-0000-0000-0000-00000000000${version}`,
    root_goal: "orders answer again",
    created_at: "2026-01-01T00:00:00Z",
    plan_version: version,
    hypothesis: { target: "orders", fault_class: "process_down", confidence: 0.9 },
    tasks,
  };
}
