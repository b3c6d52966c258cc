// Entries as bytes, written by another hand than the core's: as `docs/envelope.md` says, and judged by `tests/cases/envelope.json`.

import { readFileSync } from "node:fs";

export const CASES = JSON.parse(readFileSync(new URL("../../../tests/cases/envelope.json", import.meta.url), "utf8"));

const NEVER = 2n ** 64n - 1n;

/** The bytes of an entry with the fields of a case. */
export function entryOf({ kind, token, fresh_until_ms, usable_until_ms, load_ms, codec, fingerprint, tags, payload }) {
  const time = (ms) => number(ms === null ? NEVER : BigInt(ms), 8);
  const content = Buffer.from(payload ?? "", "hex");
  const flags = (tags.length > 0 ? 1 : 0) | (fingerprint === null ? 0 : 2);
  return Buffer.concat([
    Buffer.from([0xc1, 0x44, 1]),
    Buffer.from(kind),
    Buffer.from(token, "hex"),
    time(fresh_until_ms),
    time(usable_until_ms),
    Buffer.from([flags, { json: 1, bytes: 2 }[codec] ?? 0]),
    number(load_ms, 2),
    number(content.length, 4),
    ...(fingerprint === null ? [] : [Buffer.from(fingerprint, "hex")]),
    ...(tags.length === 0 ? [] : [number(tags.length, 1)]),
    ...tags.flatMap(({ name, epoch, version }) => {
      const text = Buffer.from(name);
      return [Buffer.from(epoch, "hex"), number(BigInt(version), 8), number(text.length, 2), text];
    }),
    content,
  ]);
}

/** The fields of an entry of our own. */
export function fieldsOf(bytes) {
  const time = (at) => (bytes.readBigUInt64BE(at) === NEVER ? null : Number(bytes.readBigUInt64BE(at)));
  const length = bytes.readUInt32BE(40);
  const tags = [];
  if (bytes[36] & 1) {
    for (let at = 45; tags.length < bytes[44]; ) {
      const size = bytes.readUInt16BE(at + 16);
      tags.push({
        epoch: bytes.toString("hex", at, at + 8),
        version: String(bytes.readBigUInt64BE(at + 8)),
        name: bytes.toString("utf8", at + 18, at + 18 + size),
      });
      at += 18 + size;
    }
  }
  return {
    kind: String.fromCharCode(bytes[3]),
    token: bytes.toString("hex", 4, 20),
    fresh_until_ms: time(20),
    usable_until_ms: time(28),
    load_ms: bytes.readUInt16BE(38),
    codec: [null, "json", "bytes"][bytes[37]],
    fingerprint: null,
    tags,
    payload: bytes[37] === 0 ? null : bytes.toString("hex", bytes.length - length),
  };
}

/** The same entry, fresh and usable until then. */
export function retimed(bytes, fresh, usable) {
  const moved = Buffer.from(bytes);
  number(BigInt(fresh), 8).copy(moved, 20);
  number(BigInt(usable), 8).copy(moved, 28);
  return moved;
}

function number(value, bytes) {
  const written = Buffer.alloc(8);
  written.writeBigUInt64BE(BigInt(value));
  return written.subarray(8 - bytes);
}
