import { useState } from "react";
import { api } from "../api/client";
import { useCommand } from "../api/useCommand";
import { useShown } from "../app/context";
import { href } from "../app/route";
import { Badge, CopyCommand, Empty, Facts, Failure, Hash, Moment, Panel, Said } from "../parts/basic";
import { argsOf, command, span } from "../parts/format";
import { RISK, type Look } from "../parts/states";
import { Table } from "../parts/table";
import type { ApprovalView, World } from "../world/model";

export default function Approvals() {
  const { world } = useShown();
  const all = Object.values(world.approvals);
  const open = all.filter((item) => item.state === "open");
  const decided = all.filter((item) => item.state !== "open").sort((a, b) => b.requestedUs - a.requestedUs);
  return (
    <>
      {open.length === 0 ? <Empty>Nothing waits for a person. Risky steps of a plan that needs approval stand here.</Empty> : null}
      {open.map((item) => (
        <ApprovalCard key={`${item.incident}/${item.taskId}`} approval={item} />
      ))}
      <Panel title="Decided">
        {decided.length === 0 ? (
          <Empty>None yet.</Empty>
        ) : (
          <Table label="Decided approvals" heads={["decided", "what", "answer", "by", "incident", "reason"]}>
            {decided.map((item) => (
              <tr key={`${item.incident}/${item.taskId}`}>
                <td>
                  <Moment us={item.decidedUs} />
                </td>
                <td>
                  {item.action} {item.target}
                </td>
                <td>
                  <Badge look={DECIDED[item.state]} />
                </td>
                <td>{item.decidedBy ?? "–"}</td>
                <td>
                  <a href={href("incident", { incident: item.incident })}>{item.incident}</a>
                </td>
                <td className="wraps">{item.reason || "–"}</td>
              </tr>
            ))}
          </Table>
        )}
      </Panel>
    </>
  );
}

const DECIDED: Readonly<Record<ApprovalView["state"], Look>> = {
  open: { word: "open", icon: "hand", tone: "warn" },
  granted: { word: "approved", icon: "check", tone: "good" },
  denied: { word: "denied", icon: "cross", tone: "bad" },
  expired: { word: "expired", icon: "clock", tone: "warn" },
  over: { word: "overtaken", icon: "skip", tone: "calm" },
};

/** Devices that depend on a target, however indirectly. */
function leansOn(target: string, devices: readonly { name: string; depends_on: readonly string[] }[]): readonly string[] {
  const found = new Set<string>();
  let grown = true;
  while (grown) {
    grown = false;
    for (const device of devices) {
      if (!found.has(device.name) && device.depends_on.some((name) => name === target || found.has(name))) {
        found.add(device.name);
        grown = true;
      }
    }
  }
  return [...found];
}

function stepOf(world: World, approval: ApprovalView) {
  const plans = world.incidents[approval.incident]?.plans ?? [];
  for (const plan of [...plans].reverse()) {
    const spec = plan.plan.tasks.find((task) => `v${plan.version}-${task.task_id}` === approval.taskId);
    if (spec) return { plan, spec };
  }
  return null;
}

/** How long it may still be decided on. A halt stops the clock; the resume gives the whole time again. */
function Expiry({ approval }: { approval: ApprovalView }) {
  const { world, nowUs } = useShown();
  const whole = span(approval.waitS * 1_000);
  if (!approval.waitS) return <>with this plan: a new plan asks anew</>;
  if (world.halt) return <>the halt holds the clock; {whole} again after the resume</>;
  const leftMs = approval.clockUs / 1_000 + approval.waitS * 1_000 - nowUs / 1_000;
  if (leftMs <= 0) return <>the {whole} are over: it counts as not approved</>;
  return <>in {span(Math.ceil(leftMs / 1_000) * 1_000)}; then it counts as not approved</>;
}

/** One request, with all that is needed to answer it. Destructive: the target's name must be typed. */
export function ApprovalCard({ approval }: { approval: ApprovalView }) {
  const { world, snapshot, live } = useShown();
  const [typed, setTyped] = useState("");
  const [reason, setReason] = useState("");
  const grant = useCommand();
  const deny = useCommand();
  const step = stepOf(world, approval);
  const entry = snapshot?.catalogue[approval.action];
  // What the catalogue does not know is treated as risky.
  const risk = entry?.risk === "safe" || entry?.risk === "read" ? entry.risk : "risky";
  const leaning = leansOn(approval.target, snapshot?.inventory.devices ?? []);
  const mustType = risk === "risky";
  const evidence = Object.values(step?.plan.tasks ?? {}).filter((task) => task.sentence);
  const sure = !mustType || typed === approval.target;
  const busy = grant.busy || deny.busy;
  return (
    <Panel title={`${approval.action} ${approval.target}`} aside={<Badge look={RISK[risk]} />} className="tone-warn approval">
      <p className="lead">{approval.why}</p>
      <Facts
        rows={[
          ["incident", <a href={href("incident", { incident: approval.incident })}>{approval.incident}</a>],
          ["step", <a href={href("plan", { incident: approval.incident, task: approval.taskId.replace(/^v\d+-/, "") })}>{approval.taskId}</a>],
          ["arguments", step ? argsOf(step.spec.args) || "none" : "–"],
          ["what it does", entry?.summary ?? "–"],
          ["blast radius", leaning.length ? `${approval.target} and what leans on it: ${leaning.join(", ")}` : `${approval.target} alone`],
          ["undo", entry?.undo ?? "it cannot be taken back"],
          ["asked", <Moment us={approval.requestedUs} relative />],
          ["expires", <Expiry approval={approval} />],
          ["bound to", <Hash value={approval.binding} keep={16} />],
        ]}
      />
      {evidence.length > 0 ? <Said text={evidence.map((task) => `${task.journalId}: ${task.sentence}`).join("\n")} /> : null}
      {live && approval.state === "open" ? (
        <div className="decide">
          {mustType ? (
            <label>
              <span>
                Type <strong>{approval.target}</strong> to approve
              </span>
              <input type="text" autoComplete="off" spellCheck={false} value={typed} onChange={(event) => setTyped(event.target.value)} />
            </label>
          ) : null}
          <button type="button" className="primary" disabled={busy || !sure} onClick={() => void grant.send((key) => api.decide(approval, "grant", "", key))}>
            {grant.busy ? "Approving…" : "Approve"}
          </button>
          <label>
            Reason to deny
            <input type="text" value={reason} onChange={(event) => setReason(event.target.value)} />
          </label>
          <button
            type="button"
            className="danger"
            disabled={busy}
            onClick={() => void deny.send((key) => api.decide(approval, "deny", reason || "denied by the operator", key))}
          >
            {deny.busy ? "Denying…" : "Deny"}
          </button>
          <CopyCommand line={command("triage", "approve", approval.incident, approval.taskId)} />
          <CopyCommand line={command("triage", "deny", approval.incident, approval.taskId, ...(reason ? ["--reason", reason] : []))} />
        </div>
      ) : null}
      {grant.error ?? deny.error ? <Failure sentence={(grant.error ?? deny.error)!} /> : null}
    </Panel>
  );
}
