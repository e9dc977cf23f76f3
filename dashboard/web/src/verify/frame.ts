/** Reads an envelope's frame: the small part of MessagePack that `broker/envelope.py` writes, and nothing else. */

export const FIELDS = [
  "v",
  "type",
  "channel",
  "sender",
  "key_version",
  "seq",
  "ts",
  "ttl_s",
  "nonce",
  "cause",
  "tag",
  "payload",
  "hmac",
] as const;

export interface Frame {
  readonly v: bigint;
  readonly type: string;
  readonly channel: string;
  readonly sender: string;
  readonly key_version: bigint;
  readonly seq: bigint;
  readonly ts: bigint;
  readonly ttl_s: number;
  readonly nonce: Uint8Array;
  readonly cause: bigint;
  readonly tag: string;
  readonly payload: Uint8Array;
  readonly hmac: Uint8Array;
}

export class FrameError extends Error {}

type Value = bigint | number | string | Uint8Array;

/** Raises FrameError: the bytes are no frame of exactly the known keys, in their order. */
export function openFrame(bytes: Uint8Array): Frame {
  const reader = new Reader(bytes);
  if (reader.mapSize() !== FIELDS.length) throw new FrameError("not a map of the known keys");
  const found: Record<string, Value> = {};
  for (const name of FIELDS) {
    if (reader.value() !== name) throw new FrameError(`${name} is missing or out of its place`);
    found[name] = reader.value();
  }
  if (!reader.atEnd()) throw new FrameError("bytes stand behind the frame");
  for (const name of ["nonce", "payload", "hmac"]) {
    if (!(found[name] instanceof Uint8Array)) throw new FrameError(`${name} is not bytes`);
  }
  return found as unknown as Frame;
}

class Reader {
  private at = 0;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  atEnd(): boolean {
    return this.at === this.bytes.length;
  }

  mapSize(): number {
    const first = this.byte();
    if ((first & 0xf0) === 0x80) return first & 0x0f;
    if (first === 0xde) return this.take(2).getUint16(0);
    throw new FrameError("not a map");
  }

  value(): Value {
    const first = this.byte();
    if (first < 0x80) return BigInt(first);
    if ((first & 0xe0) === 0xa0) return this.text(first & 0x1f);
    switch (first) {
      case 0xc4:
        return this.raw(this.byte());
      case 0xc5:
        return this.raw(this.take(2).getUint16(0));
      case 0xc6:
        return this.raw(this.take(4).getUint32(0));
      case 0xcb:
        return this.take(8).getFloat64(0);
      case 0xcc:
        return BigInt(this.byte());
      case 0xcd:
        return BigInt(this.take(2).getUint16(0));
      case 0xce:
        return BigInt(this.take(4).getUint32(0));
      case 0xcf:
        return this.take(8).getBigUint64(0);
      case 0xd9:
        return this.text(this.byte());
      case 0xda:
        return this.text(this.take(2).getUint16(0));
      default:
        throw new FrameError(`a value of the kind 0x${first.toString(16)} stands in it`);
    }
  }

  private byte(): number {
    return this.take(1).getUint8(0);
  }

  private take(size: number): DataView {
    if (this.at + size > this.bytes.length) throw new FrameError("it was cut");
    const part = new DataView(this.view.buffer, this.view.byteOffset + this.at, size);
    this.at += size;
    return part;
  }

  private raw(size: number): Uint8Array {
    const part = this.take(size);
    return new Uint8Array(part.buffer, part.byteOffset, size).slice();
  }

  private text(size: number): string {
    return new TextDecoder("utf-8", { fatal: true }).decode(this.raw(size));
  }
}
