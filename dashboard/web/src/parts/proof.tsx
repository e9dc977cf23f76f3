import { useMemo } from "react";
import { api } from "../api/client";
import { useReading } from "../api/useReading";
import type { Entry } from "../journal/messages";
import { prove, type Check, type Outcome } from "../verify/proof";
import { hex } from "../verify/sha256";
import { Badge, Facts, Failure, Hash, Loading } from "./basic";
import type { Look } from "./states";

const LOOK: Readonly<Record<Outcome, Look>> = {
  holds: { word: "holds", icon: "check", tone: "good" },
  broken: { word: "does not hold", icon: "cross", tone: "bad" },
  unknown: { word: "not known yet", icon: "question", tone: "calm" },
};

/** HMAC and hashes of one message: fetched as exact bytes, checked here. */
export function ProofPanel({ entry }: { entry: Entry }) {
  const reading = useReading(() => api.message(entry.seq), `proof${entry.seq}`, 0);
  const proof = useMemo(() => (reading.data ? prove(reading.data, entry.payload) : null), [reading.data, entry]);
  return (
    <section className="proof">
      <h3>Proof</h3>
      {reading.error ? <Failure sentence={reading.error} again={reading.again} /> : null}
      {!proof && !reading.error ? <Loading what="The signed message" /> : null}
      {proof ? (
        <>
          <ul className="checks">
            {proof.checks.map((check) => (
              <CheckRow key={check.name} check={check} />
            ))}
          </ul>
          <Facts
            rows={[
              ["HMAC-SHA256", <Hash value={proof.frame ? hex(proof.frame.hmac) : null} keep={20} />],
              ["SHA-256", <Hash value={proof.hash} keep={20} />],
              ["nonce", <Hash value={proof.frame ? hex(proof.frame.nonce) : null} keep={20} />],
              ["row hash", <Hash value={reading.data?.row_hash} keep={20} />],
            ]}
          />
          <button type="button" className="quiet" onClick={reading.again}>
            Check again
          </button>
        </>
      ) : null}
    </section>
  );
}

function CheckRow({ check }: { check: Check }) {
  return (
    <li>
      <strong>{check.name}</strong> <Badge look={LOOK[check.outcome]} />
      <p>
        {check.sentence} <span className="faint">{check.own ? "(checked by this page)" : "(the server's word)"}</span>
      </p>
    </li>
  );
}
