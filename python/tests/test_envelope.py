"""The bytes of entries: the golden vectors of `tests/cases/envelope.json`, read and written by Python through Redis."""

from __future__ import annotations

import importlib.util
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from loaders import PATIENT

from donjon import FOREVER, Cache
from redis_server import RedisServer

TESTS = Path(__file__).parents[2] / "tests"
CASES: dict[str, Any] = json.loads((TESTS / "cases" / "envelope.json").read_text("utf-8"))
HOUR = 3_600_000
NEVER = 2**64 - 1
NOTHING = object()

Case = dict[str, Any]


@pytest.fixture(params=["redis", "near"])
def cache(request: pytest.FixtureRequest, redis_server: RedisServer, namespace: str) -> Cache:
    return Cache.redis(redis_server.url, namespace=namespace, early=0.0, near=request.param == "near", **PATIENT)


def now_ms(foreign: redis.Redis) -> int:
    seconds, micros = foreign.time()
    return int(seconds) * 1000 + int(micros) // 1000


def current(case: Case, now: int) -> bytes:
    """The entry; one that ends on a day of this century is given another hour to live."""
    entry = bytearray.fromhex(case["hex"])
    if ends_in_our_days(case):
        usable = NEVER if case["usable_until_ms"] is None else now + 2 * HOUR
        struct.pack_into(">QQ", entry, 20, now + HOUR, usable)
    return bytes(entry)


def ends_in_our_days(case: Case) -> bool:
    return case["fresh_until_ms"] is not None and 1_700_000_000_000 <= case["fresh_until_ms"] < 4_000_000_000_000


def value_in(case: Case, payload: bytes) -> Any:
    """What a reader is given of this payload while its time lasts; nothing where no table knows the entry's tags."""
    try:
        return (
            NOTHING
            if case["kind"] != "V" or case["tags"]
            else payload
            if case["codec"] == "bytes"
            else json.loads(payload)
        )
    except ValueError:
        return NOTHING


@pytest.mark.parametrize("case", CASES["entries"], ids=lambda case: str(case["name"]))
async def test_a_golden_entry_is_read_as_everywhere(case: Case, cache: Cache, foreign: redis.Redis) -> None:
    name, entry = f"{cache.namespace}:k", current(case, now_ms(foreign))
    foreign.set(name, entry)
    lasts = ends_in_our_days(case) or case["fresh_until_ms"] is None
    expected = value_in(case, bytes.fromhex(case["payload"] or "")) if lasts else NOTHING
    async with cache:
        assert await cache.get("k", NOTHING) == expected
        assert await cache.exists("k") is (expected is not NOTHING)
        if case["kind"] == "L":  # somebody else loads
            return
        assert await cache.get_or_set("k", lambda: "loaded") == ("loaded" if expected is NOTHING else expected)
        left_alone = case["kind"] in {"M", "T"} or expected is not NOTHING
        assert (foreign.get(name) == entry) is left_alone


@pytest.mark.parametrize("case", CASES["others"], ids=lambda case: str(case["name"]))
async def test_what_is_no_entry_is_told_apart_as_everywhere(case: Case, cache: Cache, foreign: redis.Redis) -> None:
    name, there = f"{cache.namespace}:k", bytes.fromhex(case["hex"])
    foreign.set(name, there)
    kind, _, number = case["is"].partition(" ")
    # A counter is read as JSON, which has no leading zeros; nobody of ours writes them.
    counted = int(number) if kind == "counter" and there != b"007" else NOTHING
    async with cache:
        assert await cache.get("k", NOTHING) == counted
        assert await cache.get_or_set("k", lambda: "loaded") == ("loaded" if counted is NOTHING else counted)
        replaced = kind == "damaged" or there == b"007"
        assert (foreign.get(name) != there) is replaced
        assert cache.stats().foreign >= (kind in {"foreign", "newer"})


def harmed(case: Case, entry: bytes) -> Iterator[tuple[str, bytes, Any]]:
    """The entry cut off anywhere and with each of its bits flipped, and what at most is in it then."""
    begin = len(entry) - len(case["payload"] or "") // 2
    for end in range(len(entry)):
        yield f"{case['name']}: cut to {end}", entry[:end], NOTHING
    for bit in range(len(entry) * 8):
        flipped = bytearray(entry)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"{case['name']}: bit {bit}", bytes(flipped), value_in(case, bytes(flipped[begin:]))


def put(foreign: redis.Redis, cache: Cache, entries: Mapping[str, bytes]) -> None:
    foreign.mset({f"{cache.namespace}:{name}": entry for name, entry in entries.items()})


async def test_an_entry_that_is_harmed_is_a_miss_or_says_what_is_left_of_it(cache: Cache, foreign: redis.Redis) -> None:
    now = now_ms(foreign)
    async with cache:
        # The tags of the one that has all there may be would take long to look up; the core's own tests harm it, too.
        for case in (case for case in CASES["entries"] if len(case["tags"]) < 64):
            entries = {name: (entry, left) for name, entry, left in harmed(case, current(case, now))}
            put(foreign, cache, {name: entry for name, (entry, _) in entries.items()})
            found = await cache.get_many(entries)
            for name, (_, left) in entries.items():
                assert name not in found or found[name] == left, f"{name}: {found[name]!r}"


async def test_an_entry_that_is_harmed_keeps_nobody_from_loading(cache: Cache, foreign: redis.Redis) -> None:
    case = CASES["entries"][0]
    entries = {name: (entry, left) for name, entry, left in harmed(case, current(case, now_ms(foreign)))}
    put(foreign, cache, {name: entry for name, (entry, _) in entries.items()})
    async with cache:
        for name, (_, left) in entries.items():
            assert await cache.get_or_set(name, lambda: "loaded") in ("loaded", left), name


WRITTEN: list[tuple[str, Any, dict[str, Any]]] = [
    ("JSON", {"id": 5, "name": "Zoë"}, {}),
    ("null", None, {"grace": 60}),
    ("bytes", bytes(range(256)), {}),
    ("no bytes", b"", {}),
    ("for ever", 1, {"ttl": FOREVER}),
    ("with tags", [1], {"tags": ["user:5", "é" * 128]}),
    ("with all the tags there may be", "x", {"tags": [f"t{number}" for number in range(64)]}),
]


@pytest.mark.parametrize("how", ["set", "loaded"])
@pytest.mark.parametrize(("value", "options"), [it[1:] for it in WRITTEN], ids=[it[0] for it in WRITTEN])
async def test_an_entry_is_written_as_another_hand_writes_it(
    how: str, value: Any, options: dict[str, Any], cache: Cache, foreign: redis.Redis
) -> None:
    terms = {"ttl": HOUR // 1000} | options
    before = now_ms(foreign)
    async with cache:
        if how == "set":
            await cache.set("k", value, **terms)
        else:
            await cache.get_or_set("k", lambda: value, **terms)
        entry = foreign.get(f"{cache.namespace}:k")
    assert isinstance(entry, bytes)
    _, _, _, kind, token, fresh, usable, flags, codec, load, length = struct.unpack_from(">BBBc16sQQBBHI", entry)
    tags, at = [], 45
    for _ in options.get("tags", []):
        epoch, version, size = struct.unpack_from(">QQH", entry, at)
        tags.append((entry[at + 18 : at + 18 + size].decode(), epoch, version))
        at += 18 + size
    payload = (
        value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    )
    rewritten = other_hand().entry(
        "", kind.decode(), payload, codec={1: "json", 2: "bytes"}[codec], fresh=fresh, usable=usable, load=load,
        tags=tags, token=token,
    )  # fmt: skip
    assert (kind, codec, flags, length) == (b"V", 2 if isinstance(value, bytes) else 1, bool(tags), len(payload))
    assert sorted(tag for tag, _, _ in tags) == sorted(options.get("tags", []))
    assert entry.hex() == rewritten["hex"]
    if terms["ttl"] is FOREVER:
        assert (fresh, usable) == (NEVER, NEVER)
    else:
        # This side's idea of Redis's clock is ahead by as much as Redis took to tell.
        assert before + HOUR - 1 <= fresh <= now_ms(foreign) + HOUR + 60_000
        assert usable - fresh == options.get("grace", 0) * 1000


def other_hand() -> Any:
    """The writer of the vectors, which was made from the page that explains the bytes and shares no code with the core."""
    spec = importlib.util.spec_from_file_location("envelope_vectors", TESTS / "tools" / "envelope_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
