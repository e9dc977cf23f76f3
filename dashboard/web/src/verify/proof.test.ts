import { describe, expect, it } from "vitest";
import { FIELDS, FrameError, openFrame } from "./frame";
import { alike, prove, rowHash, type Evidence } from "./proof";
import { hex, sha256, unhex } from "./sha256";

const text = new TextEncoder();

describe("SHA-256", () => {
  it("gives the standard's digests over one, several and no blocks", () => {
    expect(hex(sha256(new Uint8Array()))).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(hex(sha256(text.encode("abc")))).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(hex(sha256(text.encode("a".repeat(1_000))))).toBe("41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3");
  });

  it("agrees with the platform's own at every length around a block", async () => {
    for (let size = 50; size < 135; size++) {
      const data = Uint8Array.from({ length: size }, (_, index) => (index * 7) & 255);
      const theirs = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
      expect(hex(sha256(data))).toBe(hex(theirs));
    }
  });
});

/** What `broker/envelope.py` writes, written here a second time. */
function frame(payload: string, change: Partial<Record<(typeof FIELDS)[number], Uint8Array>> = {}): Uint8Array {
  const short = (value: string) => [0xa0 | value.length, ...text.encode(value)];
  const raw = (value: Uint8Array) => [0xc4, value.length, ...value];
  const float = [0xcb, ...new Uint8Array(new Float64Array([120]).buffer).reverse()];
  const values: Record<string, readonly number[]> = {
    v: [1],
    type: short("control.halt"),
    channel: short("broadcast"),
    sender: short("operator/cli"),
    key_version: [1],
    seq: [5],
    ts: [0xcf, 0, 6, 0x0a, 0x24, 0x18, 0x1e, 0x40, 0],
    ttl_s: float,
    nonce: raw(new Uint8Array(16)),
    cause: [0],
    tag: short("DETERMINISTIC"),
    payload: raw(text.encode(payload)),
    hmac: raw(new Uint8Array(32)),
  };
  const bytes = [0x80 | FIELDS.length];
  for (const name of FIELDS) bytes.push(...short(name), ...(change[name] ?? values[name]!));
  return Uint8Array.from(bytes);
}

const GENESIS = hex(sha256(text.encode("agentic-triage/audit/genesis/1")));

function evidence(bytes: Uint8Array, change: Partial<Evidence> = {}): Evidence {
  const place = { seq: 7, time_us: 1_700_000_000_000_000, subject: "triage.control.halt", verdict: "accepted", number: 1, prev_hash: GENESIS };
  const hash = hex(sha256(bytes));
  return {
    ...place,
    envelope: btoa(String.fromCharCode(...bytes)),
    envelope_hash: hash,
    row_hash: rowHash(place, hash),
    hmac_ok: true,
    ...change,
  };
}

const outcomes = (given: Evidence, shown: unknown) => prove(given, shown).checks.map((check) => check.outcome);

describe("the proof of a message", () => {
  it("has the layout of the audit's own rows", () => {
    const place = { prev_hash: GENESIS, number: 1, seq: 7, time_us: 1_700_000_000_000_000, subject: "triage.control.halt", verdict: "accepted" };
    // Made with auditor_svc/chain.py over the envelope b"abc".
    expect(rowHash(place, hex(sha256(text.encode("abc"))))).toBe("b4ec4cbb74f038fc555cd408ad6e6e058d10bb81eea715718072e9c29e9e669f");
    expect(GENESIS).toBe("b1ab5094397abfcbb860be8b55c888a7a6038160e751ecfe64a4b9e4419c8db1");
  });

  it("holds for a message as it was signed and stored", () => {
    expect(outcomes(evidence(frame('{"reason":"stop"}')), { reason: "stop" })).toEqual(["holds", "holds", "holds", "holds"]);
  });

  it("breaks when the page shows something else than was signed", () => {
    expect(outcomes(evidence(frame('{"reason":"stop"}')), { reason: "go" })[3]).toBe("broken");
  });

  it("breaks when a byte of the stored message is another one", () => {
    const good = evidence(frame('{"reason":"stop"}'));
    const changed = { ...good, envelope: evidence(frame('{"reason":"stoq"}')).envelope };
    expect(outcomes(changed, { reason: "stop" })).toEqual(["holds", "broken", "broken", "broken"]);
  });

  it("breaks when the row was moved in the chain", () => {
    expect(outcomes(evidence(frame('{"reason":"stop"}'), { number: 2 }), { reason: "stop" })[2]).toBe("broken");
  });

  it("does not claim anything about what the auditor has not written yet", () => {
    const young = evidence(frame('{"reason":"stop"}'), { number: null, envelope_hash: null, prev_hash: null, row_hash: null, hmac_ok: null });
    expect(outcomes(young, { reason: "stop" })).toEqual(["unknown", "unknown", "unknown", "holds"]);
  });

  it("says what a frame is not", () => {
    const bytes = frame('{"reason":"stop"}');
    expect(openFrame(bytes).sender).toBe("operator/cli");
    expect(() => openFrame(bytes.slice(0, -3))).toThrow(FrameError);
    expect(() => openFrame(Uint8Array.from([...bytes, 0]))).toThrow("behind the frame");
    expect(() => openFrame(unhex("93010203"))).toThrow("not a map");
  });

  it("compares by value and not by order", () => {
    expect(alike({ a: 1, b: [1, { c: null }] }, { b: [1, { c: null }], a: 1.0 })).toBe(true);
    expect(alike({ a: 1 }, { a: 1, b: undefined })).toBe(false);
    expect(alike([1], { 0: 1 })).toBe(false);
  });
});
