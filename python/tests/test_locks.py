"""Locks of one process, as the extension gives them."""

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from donjon._donjon import Locks, ManualClock
from donjon._errors import InvalidKey, InvalidTtl


class Bell:
    def __init__(self) -> None:
        self.rung = 0

    def ring(self) -> None:
        self.rung += 1


def test_a_lock_has_one_holder_and_rising_fences() -> None:
    locks = Locks()
    first = locks.acquire("a", 10)
    assert first is not None
    assert locks.acquire("a", 10) is None
    assert locks.acquire("b", 10) is not None
    assert locks.release("a", first[0])
    second = locks.acquire("a", 10)
    assert second is not None
    assert second[1] > first[1]
    assert not locks.release("a", first[0])
    assert not locks.renew("a", first[0], 10)


def test_a_lock_ends_by_time_unless_it_is_renewed() -> None:
    clock = ManualClock()
    locks = Locks(clock)
    token, _ = locks.acquire("a", 10) or (0, 0)
    clock.advance(9)
    assert locks.renew("a", token, 10)
    clock.advance(9)
    assert locks.acquire("a", 10) is None
    clock.advance(1)
    assert locks.acquire("a", 10) is not None
    assert not locks.renew("a", token, 10)
    assert not locks.release("a", token)


def test_who_waits_is_woken_once_when_the_lock_is_given_back() -> None:
    clock = ManualClock()
    locks = Locks(clock)
    token, _ = locks.acquire("a", 10) or (0, 0)
    bells = [Bell(), Bell(), Bell()]
    places = [locks.notify("a", bell.ring) for bell in bells]
    clock.advance(4)
    place = locks.notify("a", Bell().ring)
    assert place is not None
    assert place.at_most == 6.0
    assert places[0] is not None
    places[0].leave()
    assert locks.release("a", token)
    assert [bell.rung for bell in bells] == [0, 1, 1]
    assert locks.notify("a", bells[0].ring) is None
    assert locks.acquire("a", 10) is not None
    assert [bell.rung for bell in bells] == [0, 1, 1]


def test_one_who_left_is_forgotten_at_once() -> None:
    locks = Locks()
    locks.acquire("a", 10)
    bell = Bell()
    seen = weakref.ref(bell)
    place = locks.notify("a", bell.ring)
    assert place is not None
    del bell
    gc.collect()
    assert seen() is not None
    place.leave()
    place.leave()
    assert seen() is None


def test_a_waker_that_fails_is_reported_and_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", reported.append)

    def fails() -> None:
        raise RuntimeError("Event loop is closed")

    locks = Locks()
    token, _ = locks.acquire("a", 10) or (0, 0)
    bell = Bell()
    locks.notify("a", fails)
    locks.notify("a", bell.ring)
    assert locks.release("a", token)
    assert bell.rung == 1
    assert [str(report.exc_value) for report in reported] == ["Event loop is closed"]
    assert reported[0].object is fails


def test_a_waker_may_use_the_locks() -> None:
    locks = Locks()
    token, _ = locks.acquire("a", 10) or (0, 0)
    got: list[object] = []
    locks.notify("a", lambda: got.append(locks.acquire("a", 10)))
    locks.notify("a", lambda: got.append(locks.acquire("a", 10)))
    locks.release("a", token)
    assert got[0] is not None
    assert got[1] is None


def test_many_threads_never_hold_one_lock_together() -> None:
    locks = Locks()
    inside: list[int] = []
    most: list[int] = []
    fences: list[int] = []

    def works(number: int) -> None:
        for _ in range(50):
            while (got := locks.acquire("a", 60)) is None:
                woken = threading.Event()
                if locks.notify("a", woken.set) is not None:
                    assert woken.wait(30)
            inside.append(number)
            most.append(len(inside))
            fences.append(got[1])
            inside.remove(number)
            assert locks.release("a", got[0])

    threads = [threading.Thread(target=works, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(most) == 400
    assert max(most) == 1
    assert fences == sorted(fences)


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e18])
def test_a_lock_needs_an_end(ttl: float) -> None:
    locks = Locks()
    token, _ = locks.acquire("a", 10) or (0, 0)
    calls: list[Callable[[], object]] = [lambda: locks.acquire("b", ttl), lambda: locks.renew("a", token, ttl)]
    for call in calls:
        with pytest.raises(InvalidTtl):
            call()
    assert locks.release("a", token)


def test_a_name_is_limited_as_a_key_is() -> None:
    with pytest.raises(InvalidKey):
        Locks().acquire("", 1)
    with pytest.raises(TypeError):
        Locks().acquire(1, 1)  # type: ignore[arg-type]
