"""The checker on histories made by hand: were it blind, the long run would prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from check import ACTS, BOUNDS, LEAST, Report, check
from history import FAILED, OK, QUEUED, History, Log
from source import Source


@pytest.fixture
def log(tmp_path: Path) -> Callable[[str], Log]:
    return lambda process: Log(tmp_path / f"{process}.jsonl")


def checked(folder: Path) -> Report:
    return check(History(folder))


def test_a_read_that_begins_after_an_invalidation_and_yields_what_was_before_it_is_stale(
    tmp_path: Path, log: Callable[[str], Log]
) -> None:
    log("writer").invalidation(100, 200, "key a", OK, {"a": 7})
    log("reader").read(201, 300, "a", 6, "load")
    report = checked(tmp_path)
    assert (report.stale_reads, report.late) == (1, 1)
    assert report.stale[0].read.version == 6
    assert report.stale[0].invalidation.process == "writer"
    assert "a: reader read version 6 by load" in str(report)


def test_a_read_that_yields_the_version_of_the_invalidation_or_a_later_one_is_not(
    tmp_path: Path, log: Callable[[str], Log]
) -> None:
    log("writer").invalidation(100, 200, "key a", OK, {"a": 7})
    reader = log("reader")
    reader.read(201, 300, "a", 7, "load")
    reader.read(202, 300, "a", 8, "load")
    assert checked(tmp_path).stale_reads == 0


def test_a_read_that_began_before_the_invalidation_returned_may_yield_either(
    tmp_path: Path, log: Callable[[str], Log]
) -> None:
    log("writer").invalidation(100, 200, "key a", OK, {"a": 7})
    reader = log("reader")
    reader.read(50, 300, "a", 6, "load")
    reader.read(150, 300, "a", 6, "load")
    reader.read(200, 300, "a", 6, "load")
    report = checked(tmp_path)
    assert (report.stale_reads, report.overlapping, report.oldest) == (0, 3, 200)


def test_the_highest_version_of_all_past_invalidations_counts_though_a_later_one_knew_less(
    tmp_path: Path, log: Callable[[str], Log]
) -> None:
    writer = log("writer")
    writer.invalidation(100, 200, "key a", OK, {"a": 9})
    writer.invalidation(90, 250, "pattern *", OK, {"a": 5, "b": 1})
    log("reader").read(300, 310, "a", 6, "peek")
    report = checked(tmp_path)
    assert report.stale_reads == 1
    assert report.stale[0].invalidation.ended == 200


def test_the_first_invalidation_that_a_read_came_too_late_for_is_the_one_shown(
    tmp_path: Path, log: Callable[[str], Log]
) -> None:
    writer = log("writer")
    for version in (3, 4, 5):
        writer.invalidation(version * 100, version * 100 + 10, "key a", OK, {"a": version})
    log("reader").read(1000, 1001, "a", 3, "peek")
    assert checked(tmp_path).stale[0].invalidation.versions == {"a": 4}


def test_an_invalidation_binds_the_keys_that_it_covers_and_no_others(tmp_path: Path, log: Callable[[str], Log]) -> None:
    log("writer").invalidation(100, 200, "tag t", OK, {"a": 7, "b": 2})
    reader = log("reader")
    reader.read(300, 301, "b", 1, "load")
    reader.read(300, 301, "c", 0, "load")
    assert [stale.read.key for stale in checked(tmp_path).stale] == ["b"]


@pytest.mark.parametrize(("word", "bound"), BOUNDS.items())
def test_a_read_from_memory_may_be_behind_others_by_its_bound_and_no_more(
    tmp_path: Path, log: Callable[[str], Log], word: str, bound: int
) -> None:
    log("writer").invalidation(100, 200, "key a", OK, {"a": 7})
    reader = log("reader")
    reader.read(200 + bound, 201 + bound, "a", 6, f"{word} get")
    report = checked(tmp_path)
    assert (report.stale_reads, report.behind, report.furthest) == (0, {word: 1}, {word: bound})
    reader.read(201 + bound, 202 + bound, "a", 6, f"{word} get")
    reader.read(201, 202, "a", 6, "get")
    assert checked(tmp_path).stale_reads == 2


def test_a_read_from_memory_is_never_behind_its_own_process(tmp_path: Path, log: Callable[[str], Log]) -> None:
    process = log("process")
    process.invalidation(100, 200, "key a", OK, {"a": 7})
    process.read(201, 202, "a", 6, "near get")
    assert checked(tmp_path).stale_reads == 1


def test_a_queued_invalidation_binds_its_own_process_only(tmp_path: Path, log: Callable[[str], Log]) -> None:
    writer = log("writer")
    writer.invalidation(100, 200, "key a", QUEUED, {"a": 7})
    log("reader").read(300, 301, "a", 6, "load")
    assert checked(tmp_path).stale_reads == 0
    writer.read(300, 301, "a", 6, "load")
    assert [stale.read.process for stale in checked(tmp_path).stale] == ["writer"]


def test_a_failed_invalidation_binds_nobody(tmp_path: Path, log: Callable[[str], Log]) -> None:
    writer = log("writer")
    writer.invalidation(100, 200, "key a", FAILED, {"a": 7})
    writer.read(300, 301, "a", 6, "load")
    report = checked(tmp_path)
    assert report.stale_reads == 0
    assert report.invalidations == {"key failed": 1}


def test_a_line_torn_by_the_death_of_its_writer_is_left_out(tmp_path: Path, log: Callable[[str], Log]) -> None:
    writer = log("writer")
    writer.read(1, 2, "a", 1, "load")
    whole = (tmp_path / "writer.jsonl").read_bytes()
    for cut in range(1, len(whole)):
        (tmp_path / "killed.jsonl").write_bytes(whole + whole[:-cut])
        assert checked(tmp_path).reads == {"load": 2}


def test_a_line_damaged_in_the_middle_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text('["i",1,2,\n["s",3,{}]\n')
    with pytest.raises(ValueError, match="Expecting value"):
        checked(tmp_path)


def test_counters_are_summed_over_the_last_words_of_each_process(tmp_path: Path, log: Callable[[str], Log]) -> None:
    for process in ("one", "two"):
        for count in (1, 20):
            log(process).counters({"loads_refused": count})
    assert checked(tmp_path).counters == {"loads_refused": 40}


def test_a_run_that_tried_too_little_says_of_what(tmp_path: Path, log: Callable[[str], Log]) -> None:
    log("one").counters({**LEAST, "loads_refused": 99})
    assert checked(tmp_path).shortfalls == ["loads_refused: 99 of at least 100", "overlapping: 0 of at least 1000"]


def test_a_run_in_which_a_language_left_something_out_says_which(tmp_path: Path, log: Callable[[str], Log]) -> None:
    counted = dict.fromkeys(("loads_refused", "takeovers"), 1)
    for process in ("0-one-1", "1-other-faces-1"):
        for act in ACTS:
            log(process).read(1, 2, "a", 1, act)
            log(process).invalidation(1, 2, f"{act} a", OK, {"a": 1})
        log(process).counters({**LEAST, **counted})
    halves = History(tmp_path)
    left_out = ["third: no " + act for act in ACTS]
    assert check(halves, ["one", "other"]).acts.keys() == {"one", "other"}
    assert check(halves, ["one", "other"]).shortfalls == check(halves).shortfalls
    assert check(halves, ["one", "third"]).shortfalls == check(halves).shortfalls + left_out


def test_an_invalidation_that_did_not_take_effect_is_none_that_a_language_did(
    tmp_path: Path, log: Callable[[str], Log]
) -> None:
    log("0-one-1").invalidation(1, 2, "clear", QUEUED, {"a": 1})
    assert "one: no clear" in check(History(tmp_path), ["one"]).shortfalls
    log("0-one-1").invalidation(1, 2, "clear", OK, {"a": 1})
    assert "one: no clear" not in check(History(tmp_path), ["one"]).shortfalls


def test_a_fault_is_reported_with_its_error(tmp_path: Path, log: Callable[[str], Log]) -> None:
    log("one").fault("load", ConnectionError("reset"))
    assert checked(tmp_path).faults == {"load: ConnectionError: reset": 1}


def test_versions_of_the_source_only_grow_and_are_the_same_for_whoever_looks(tmp_path: Path) -> None:
    one, other = (Source(tmp_path / "rows", ["a", "b"]) for _ in range(2))
    assert one.version("a") == 0
    one.write("a")
    other.write("a")
    assert (one.version("a"), other.version("a"), other.version("b")) == (2, 2, 0)
    one.close()
    other.close()
