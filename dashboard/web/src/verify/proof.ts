/**
 * What this page checks of a message by itself, and what it has to take from the server's word.
 *
 * Its own: the SHA-256 of the exact bytes, the row's hash in the audit chain (docs/state-machines/auditor.md, implemented
 * from that page), and that what is shown is what stands in those bytes. Not its own: the MAC. Channel keys are symmetric
 * (docs/adr/0003): whoever could check one here could also sign with it, so no key ever comes to a browser.
 */

import type { Frame } from "./frame";
import { FrameError, openFrame } from "./frame";
import { hex, sha256, unbase64, unhex } from "./sha256";

const DOMAIN = "agentic-triage/audit/row/1";

/** What the API gives of one message. */
export interface Evidence {
  readonly seq: number;
  readonly time_us: number;
  readonly subject: string;
  /** `accepted`, or the refusal's name. */
  readonly verdict: string;
  readonly envelope: string;
  readonly number: number | null;
  readonly envelope_hash: string | null;
  readonly prev_hash: string | null;
  readonly row_hash: string | null;
  /** What the gate says of the MAC; null: it was not asked. */
  readonly hmac_ok: boolean | null;
}

export type Outcome = "holds" | "broken" | "unknown";

export interface Check {
  readonly name: string;
  readonly outcome: Outcome;
  readonly sentence: string;
  /** True: computed here. False: the server's word. */
  readonly own: boolean;
}

export interface Proof {
  readonly frame: Frame | null;
  readonly hash: string;
  readonly checks: readonly Check[];
}

/** Return every check of one message; `shown` is the payload as the page shows it. */
export function prove(evidence: Evidence, shown: unknown): Proof {
  const bytes = unbase64(evidence.envelope);
  const hash = hex(sha256(bytes));
  let frame: Frame | null = null;
  let fault = "";
  try {
    frame = openFrame(bytes);
  } catch (error) {
    if (!(error instanceof FrameError || error instanceof TypeError)) throw error;
    fault = error.message;
  }
  return { frame, hash, checks: [mac(evidence, frame), exact(evidence, hash), row(evidence, hash), same(frame, fault, shown)] };
}

function mac(evidence: Evidence, frame: Frame | null): Check {
  const who = frame ? `${frame.sender}, key ${frame.key_version} of the channel ${frame.channel}` : "nobody readable";
  const name = "HMAC";
  if (evidence.hmac_ok === null) {
    return { name, own: false, outcome: "unknown", sentence: "The gate has not judged this message yet." };
  }
  return evidence.hmac_ok
    ? { name, own: false, outcome: "holds", sentence: `The gate says: signed by ${who}. Keys never come to this page.` }
    : { name, own: false, outcome: "broken", sentence: `The gate refused it as ${evidence.verdict}; do not believe it.` };
}

function exact(evidence: Evidence, hash: string): Check {
  const name = "Hash of the bytes";
  if (evidence.envelope_hash === null) {
    return { name, own: true, outcome: "unknown", sentence: "The auditor has not written it yet; this page computed the hash." };
  }
  return hash === evidence.envelope_hash
    ? { name, own: true, outcome: "holds", sentence: "SHA-256 computed here is the one in the audit." }
    : { name, own: true, outcome: "broken", sentence: `Computed here: ${hash}. The audit says ${evidence.envelope_hash}.` };
}

function row(evidence: Evidence, hash: string): Check {
  const name = "Place in the chain";
  const { number, prev_hash, row_hash } = evidence;
  if (number === null || prev_hash === null || row_hash === null) {
    return { name, own: true, outcome: "unknown", sentence: "It has no row in the audit chain yet." };
  }
  const made = rowHash({ ...evidence, number, prev_hash }, hash);
  return made === row_hash
    ? { name, own: true, outcome: "holds", sentence: `Row ${number} follows from the row before it; computed here.` }
    : { name, own: true, outcome: "broken", sentence: `Row ${number} should have the hash ${made}, the audit says ${row_hash}.` };
}

function same(frame: Frame | null, fault: string, shown: unknown): Check {
  const name = "What is shown";
  if (!frame) return { name, own: true, outcome: "broken", sentence: `The bytes are no envelope: ${fault}.` };
  if (shown === null || shown === undefined) {
    return { name, own: true, outcome: "unknown", sentence: "A refused message's content is not shown." };
  }
  let signed: unknown;
  try {
    signed = JSON.parse(new TextDecoder().decode(frame.payload));
  } catch {
    return { name, own: true, outcome: "broken", sentence: "The signed payload is no JSON." };
  }
  return alike(signed, shown)
    ? { name, own: true, outcome: "holds", sentence: "Every field shown here stands in the signed bytes." }
    : { name, own: true, outcome: "broken", sentence: "What is shown differs from the signed bytes." };
}

/** Field by field, whatever order; numbers by value (1 and 1.0 are one in JSON). */
export function alike(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  const names = Object.keys(left);
  return names.length === Object.keys(right).length && names.every((name) => name in right && alike(left[name], right[name]));
}

interface Place {
  readonly prev_hash: string;
  readonly number: number;
  readonly seq: number;
  readonly time_us: number;
  readonly subject: string;
  readonly verdict: string;
}

/** Return a row's hash: eight fields, each preceded by its length as four bytes. */
export function rowHash(place: Place, envelopeHash: string): string {
  const text = new TextEncoder();
  const fields = [
    text.encode(DOMAIN),
    unhex(place.prev_hash),
    long(place.number),
    long(place.seq),
    long(place.time_us),
    text.encode(place.subject.replaceAll("\0", "\u2400")),
    unhex(envelopeHash),
    text.encode(place.verdict),
  ];
  const whole = new Uint8Array(fields.reduce((size, field) => size + 4 + field.length, 0));
  const view = new DataView(whole.buffer);
  let at = 0;
  for (const field of fields) {
    view.setUint32(at, field.length);
    whole.set(field, at + 4);
    at += 4 + field.length;
  }
  return hex(sha256(whole));
}

function long(value: number): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigInt64(0, BigInt(value));
  return out;
}
