"""What the soak adds to the history test: a history checked while it is written, and memory that is judged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from check import Checker
from history import OK, QUEUED, Log, Tail
from soak import growth, resident


@pytest.fixture
def log(tmp_path: Path) -> Callable[[str], Log]:
    return lambda process: Log(tmp_path / f"{process}.jsonl")


def test_each_record_is_in_the_part_in_which_it_ended_and_in_no_other(
    tmp_path: Path, log: Callable[[str], Log]
) -> None:
    tail, writer = Tail(tmp_path), log("writer")
    writer.read(1, 99, "a", 1, "get")
    writer.read(1, 100, "a", 2, "get")
    writer.invalidation(1, 50, "key a", OK, {"a": 1})
    first = tail.part(100)
    assert [read.version for read in first.reads()] == [1]
    assert len(first.invalidations) == 1
    log("later").read(1, 101, "a", 3, "get")
    log("later").counters({"hits": 1})
    second = tail.part(200)
    assert sorted(read.version for read in second.reads()) == [2, 3]
    assert second.invalidations == []
    assert second.counters == {"later": {"hits": 1}}
    assert tail.part(300).reads() == []


def test_a_line_that_is_being_written_is_read_once_it_is_whole(tmp_path: Path, log: Callable[[str], Log]) -> None:
    tail, path = Tail(tmp_path), tmp_path / "writer.jsonl"
    log("writer").read(1, 2, "a", 1, "get")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:9])
    assert len(tail.part(3).reads()) == 1
    path.write_bytes(whole + whole)
    assert len(Tail(tmp_path).part(3).reads()) == 2
    with pytest.raises(ValueError, match="too late to be checked"):
        tail.part(4)


def test_a_read_is_held_to_an_invalidation_of_an_earlier_part_though_most_is_forgotten(
    tmp_path: Path, log: Callable[[str], Log]
) -> None:
    tail, checker = Tail(tmp_path), Checker()
    writer, reader = log("writer"), log("reader")
    for ended, version in ((10, 9), (20, 5)):
        writer.invalidation(ended - 5, ended, "key a", OK, {"a": version})
    writer.invalidation(15, 30, "key a", QUEUED, {"a": 12})
    checker.take(tail.part(100))
    checker.forget(100)
    reader.read(110, 111, "a", 8, "get")
    reader.read(110, 112, "a", 9, "get")
    writer.read(110, 113, "a", 11, "get")
    shown = checker.take(tail.part(200))
    assert [(stale.read.process, stale.read.version) for stale in shown.stale] == [("reader", 8), ("writer", 11)]
    assert checker.end().stale_reads == 2


def test_what_is_remembered_does_not_grow_with_the_run(tmp_path: Path, log: Callable[[str], Log]) -> None:
    tail, checker, process = Tail(tmp_path), Checker(), log("process")
    sizes = []
    for part in range(1, 6):
        for version in range(1000 * part, 1000 * part + 100):
            process.invalidation(version, version + 1, "key a", OK, {"a": version})
        checker.take(tail.part(1000 * (part + 1)))
        checker.forget(1000 * (part + 1))
        sizes.append(checker.remembered)
    assert sizes == [sizes[0]] * 5


def test_a_read_that_began_before_what_is_remembered_is_an_error(tmp_path: Path, log: Callable[[str], Log]) -> None:
    checker = Checker()
    checker.forget(100)
    log("reader").read(99, 201, "a", 1, "get")
    with pytest.raises(ValueError, match="too long to check"):
        checker.take(Tail(tmp_path).part(300))


def test_the_parts_of_a_history_show_together_what_the_whole_does(tmp_path: Path, log: Callable[[str], Log]) -> None:
    tail, checker = Tail(tmp_path), Checker(["one"])
    process = log("0-one-1")
    for part in range(1, 4):
        process.invalidation(100 * part, 100 * part + 10, "key a", OK, {"a": part})
        process.read(100 * part + 5, 100 * part + 20 + part, "a", part, "get")
        process.counters({"takeovers": part})
        checker.take(tail.part(100 * (part + 1)))
    whole = checker.end()
    assert (whole.reads, whole.invalidations, whole.overlapping, whole.slowest) == ({"get": 3}, {"key ok": 3}, 3, 18)
    assert whole.counters == {"takeovers": 3}
    assert whole.acts["one"] == {"get": 3, "key": 3, "takeovers": 3}


def test_memory_that_grows_after_a_third_of_the_run_is_not_flat() -> None:
    times = [float(second) for second in range(0, 600, 5)]
    loaded = [(at, 60.0 if at > 100 else 40.0) for at in times]
    uneven = [(at, taken + at % 10) for at, taken in loaded]
    leaking = [(at, taken + at / 60) for at, taken in loaded]
    grown = growth({"loaded": loaded, "uneven": uneven, "leaking": leaking})
    assert [process for process, each in grown.items() if not each.is_flat] == ["leaking"]
    assert "IT GROWS" in str(grown["leaking"])


def test_what_a_process_says_is_alive_in_it_is_in_the_part_after_it_was_written(tmp_path: Path) -> None:
    tail, path = Tail(tmp_path), tmp_path / "0-node-1.jsonl"
    path.write_text('["a",5,1048576]\n')
    assert [(alive.process, alive.at, alive.bytes) for alive in tail.part(10).alive] == [("0-node-1", 5, 2**20)]
    assert tail.part(20).alive == []


def test_the_memory_of_a_process_is_what_it_has_in_use() -> None:
    before = resident(os.getpid())
    taken = b"a" * (64 * 2**20)
    assert 63 < resident(os.getpid()) - before < 65
    del taken
