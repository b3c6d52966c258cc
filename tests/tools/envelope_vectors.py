#!/usr/bin/env python3
"""Writes cases/envelope.json: entries as fields and as bytes, and bytes that are no entry.

Usage: envelope_vectors.py > tests/cases/envelope.json

Written from docs/envelope.md alone, so that two hands had to understand it the same way. A file that was released is never
made anew for a format that it already has: new cases are added, old ones stay as they are.
"""

import json
import struct

JSON, BYTES = 1, 2
CODECS = {None: 0, "json": JSON, "bytes": BYTES}
NEVER = 2**64 - 1
FRESH, USABLE = 1_800_000_000_000, 1_800_000_060_000


def entry(
    name, kind, payload=None, *, codec=None, fresh=FRESH, usable=USABLE, load=12, fingerprint=None, tags=(), token=None
):
    """The fields of one entry, and its bytes."""
    token = token or bytes(range(0xA0, 0xB0))
    flags = bool(tags) | bool(fingerprint is not None) << 1
    body = payload if payload is not None else b""
    raw = b"\xc1D" + bytes([1]) + kind.encode() + token
    raw += struct.pack(">QQ", NEVER if fresh is None else fresh, NEVER if usable is None else usable)
    raw += struct.pack(">BBHI", flags, CODECS[codec], load, len(body))
    if fingerprint is not None:
        raw += struct.pack(">Q", fingerprint)
    if tags:
        raw += bytes([len(tags)])
    for tag, epoch, version in tags:
        raw += struct.pack(">QQH", epoch, version, len(tag.encode())) + tag.encode()
    return {
        "name": name,
        "hex": (raw + body).hex(),
        "kind": kind,
        "token": token.hex(),
        "fresh_until_ms": fresh,
        "usable_until_ms": usable,
        "load_ms": load,
        "codec": codec,
        "fingerprint": None if fingerprint is None else f"{fingerprint:016x}",
        "tags": [{"name": tag, "epoch": f"{epoch:016x}", "version": str(version)} for tag, epoch, version in tags],
        "payload": None if payload is None else payload.hex(),
    }


def entries():
    user = ("user:5", 0x0123456789ABCDEF, 1_763_800_000_000_000)
    text = '{"id":5,"name":"Zoë"}'.encode()
    yield entry("a JSON value", "V", text, codec="json")
    yield entry("a null", "V", b"null", codec="json")
    yield entry("raw bytes", "V", bytes(range(256)), codec="bytes")
    yield entry("raw bytes, none of them", "V", b"", codec="bytes")
    yield entry("raw bytes that look like an entry", "V", b"\xc1D\x01V" + bytes(40), codec="bytes")
    yield entry("without grace", "V", b"1", codec="json", usable=FRESH)
    yield entry("fresh for ever", "V", b"1", codec="json", fresh=None, usable=None)
    yield entry("stale for ever after", "V", b"1", codec="json", usable=None)
    yield entry("ended long ago", "V", b"1", codec="json", fresh=0, usable=1)
    yield entry(
        "ends at the last millisecond there is", "V", b"1", codec="json", fresh=2**64 // 10**6, usable=2**64 // 10**6
    )
    yield entry("loaded in no time", "V", b"1", codec="json", load=0)
    yield entry("loaded in a minute or more", "V", b"1", codec="json", load=65_535)
    yield entry("with a fingerprint", "V", text, codec="json", fingerprint=0xFEDCBA9876543210)
    yield entry("with a fingerprint of zero", "V", text, codec="json", fingerprint=0)
    yield entry("with a tag", "V", text, codec="json", tags=[user])
    yield entry(
        "with tags and a fingerprint",
        "V",
        text,
        codec="json",
        fingerprint=1,
        tags=[user, ("größe*", 0, 0), (" ", NEVER, NEVER)],
    )
    yield entry(
        "with as many tags as there may be", "V", b"[]", codec="json", tags=[(f"t{n}", n, n * n) for n in range(64)]
    )
    yield entry("with the longest tag there may be", "V", b"[]", codec="json", tags=[("x" * 256, 1, 2)])
    yield entry("raw bytes with a tag", "V", b"\0\xff", codec="bytes", tags=[user])
    yield entry("a lease", "L", fresh=FRESH + 2_000, usable=FRESH + 2_000, load=0, token=bytes(16))
    yield entry("a load that failed", "N", b'["app.NotFound",["no such user"],{}]', codec="json", usable=FRESH)
    yield entry(
        "a load that failed, with a tag and a fingerprint", "N", b"[]", codec="json", fingerprint=7, tags=[user]
    )
    yield entry("not to be cached", "M", usable=FRESH, token=b"\xff" * 16)
    yield entry("held down", "T", usable=FRESH, load=0)


def others():
    good = bytes.fromhex(entry("", "V", b"1", codec="json")["hex"])
    tagged = bytes.fromhex(entry("", "V", b"1", codec="json", tags=[("tag", 1, 2)])["hex"])

    def changed(at, new, base=good):
        return base[:at] + new + base[at + len(new) :]

    for count in ("0", "-0", "7", "007", "-42", "9007199254740993", str(2**63 - 1), str(-(2**63))):
        yield f"the integer {count}", count.encode(), f"counter {int(count)}"
    for text in (str(2**63), "-", "", "+1", " 1", "1\n", "1.0", "1e3", "0" * 20, "null", '"x"', '{"id":5}', "\u0664"):
        yield f"the text {text!r}", text.encode(), "foreign"
    yield "half a magic", b"\xc1", "foreign"
    yield "another magic", changed(1, b"E"), "foreign"
    yield "a pickle", bytes.fromhex("80049503000000000000004b012e"), "foreign"
    yield "gzip", bytes.fromhex("1f8b0800000000000003"), "foreign"
    yield "the magic alone", b"\xc1D", "damaged length"
    yield "a header alone", good[:36], "damaged length"
    yield "one byte too many", good + b"1", "damaged length"
    yield "one byte too few", good[:-1], "damaged length"
    yield "no format", changed(2, b"\0"), "damaged format"
    yield "the next format", changed(2, b"\2"), "newer 2"
    yield "the last format, with nothing behind it", b"\xc1D\xff", "newer 255"
    yield "an unknown kind", changed(3, b"X"), "damaged kind"
    yield "a lease with a payload", changed(3, b"L", changed(37, b"\0")), "damaged length"
    yield "a lease with a codec", changed(3, b"L"), "damaged codec"
    yield "usable for less long than fresh", changed(20, struct.pack(">QQ", 2, 1)), "damaged life"
    yield "fresh for ever, usable for less", changed(20, b"\xff" * 8), "damaged life"
    yield "a time beyond counting", changed(28, struct.pack(">Q", 2**64 // 10**6 + 1)), "damaged life"
    yield "an unknown flag", changed(36, b"\4"), "damaged flags"
    yield "no codec", changed(37, b"\0"), "damaged codec"
    yield "an unknown codec", changed(37, b"\3"), "damaged codec"
    yield "a payload of 4 GiB", changed(40, b"\xff" * 4), "damaged length"
    yield "tags, but none", changed(44, b"\0", tagged), "damaged tags"
    yield "65 tags", changed(44, b"\x41", tagged), "damaged tags"
    yield "64 tags where there is one", changed(44, b"\x40", tagged), "damaged length"
    yield "a tag without a name", changed(61, b"\0\0", tagged), "damaged tags"
    yield "a tag whose name does not end", changed(61, b"\xff\xff", tagged), "damaged length"
    yield "a tag with a NUL", changed(63, b"\0", tagged), "damaged tags"
    yield "a tag that is no UTF-8", changed(63, b"\xff", tagged), "damaged tags"


def written():
    bad = [{"name": name, "hex": raw.hex(), "is": outcome} for name, raw, outcome in others()]
    return {
        "about": "entries as fields and as bytes, and bytes that are no entry; see docs/envelope.md; made by tools/envelope_vectors.py",
        "format": 1,
        "entries": list(entries()),
        "others": bad,
    }


if __name__ == "__main__":
    print(json.dumps(written(), indent=1, ensure_ascii=True))
