"""Messages within one process, as the extension carries them."""

import math
import threading
from typing import Any

import pytest

from donjon._donjon import Hub
from donjon._errors import InvalidKey, UnsupportedValue


class Bell:
    def __init__(self) -> None:
        self.rung = 0

    def ring(self) -> None:
        self.rung += 1


def test_each_listener_gets_a_copy_of_its_own() -> None:
    hub = Hub()
    one, two = hub.subscribe(["a"]), hub.subscribe(["a", "b", "a"])
    data: dict[str, Any] = {"list": [1]}
    assert hub.publish("a", data, 12.5) == 2
    data["list"].append(2)
    taken = one.take()
    assert taken == ("a", {"list": [1]}, 12.5)
    taken[1]["list"].append(3)
    assert two.take() == ("a", {"list": [1]}, 12.5)
    assert two.take() is None
    assert hub.publish("b", None, 13.0) == 1
    assert two.take() == ("b", None, 13.0)
    assert hub.publish("c", 1, 14.0) == 0


def test_a_slow_listener_loses_its_oldest_messages_and_can_see_that() -> None:
    hub = Hub()
    listener = hub.subscribe(["a"], 2)
    for number in range(5):
        hub.publish("a", number, 0.0)
    assert [listener.take(), listener.take(), listener.take()] == [("a", 3, 0.0), ("a", 4, 0.0), None]
    assert listener.dropped == 3


def test_who_waits_is_woken_by_a_message_or_by_the_end() -> None:
    hub = Hub()
    listener = hub.subscribe(["a"])
    first, gone, last = Bell(), Bell(), Bell()
    place = listener.notify(first.ring)
    left = listener.notify(gone.ring)
    assert place is not None
    assert left is not None
    assert place.at_most == math.inf
    left.leave()
    hub.publish("b", 1, 0.0)
    assert first.rung == 0
    hub.publish("a", 1, 0.0)
    assert (first.rung, gone.rung) == (1, 0)
    assert listener.notify(last.ring) is None
    listener.take()
    place = listener.notify(last.ring)
    listener.close()
    assert (first.rung, gone.rung, last.rung) == (1, 0, 1)
    assert listener.notify(first.ring) is None
    assert hub.publish("a", 1, 0.0) == 0
    assert listener.take() is None


def test_a_listener_that_nobody_holds_is_ended_and_wakes_who_waits() -> None:
    hub = Hub()
    listener = hub.subscribe(["a"])
    bell = Bell()
    place = listener.notify(bell.ring)
    del listener
    assert bell.rung == 1
    assert hub.publish("a", 1, 0.0) == 0
    assert place is not None
    place.leave()


def test_a_wake_amid_an_exception_leaves_the_exception_alone() -> None:
    hub = Hub()
    held = [hub.subscribe(["a"])]
    bell = Bell()
    held[0].notify(bell.ring)
    with pytest.raises(ZeroDivisionError):
        # What the stack holds is freed while the exception is on its way.
        _ = [held.pop(), 1 / 0]
    assert bell.rung == 1


def test_what_is_no_value_is_refused_though_nobody_listens() -> None:
    hub = Hub()
    for bad in (math.nan, {1: 2}, object()):
        with pytest.raises(UnsupportedValue):
            hub.publish("a", bad, 0.0)
    simpler = Hub(lambda value: type(value).__name__)
    listener = simpler.subscribe(["a"])
    simpler.publish("a", [object()], 0.0)
    assert listener.take() == ("a", ["object"], 0.0)


def test_channels_and_limits_are_checked() -> None:
    hub = Hub()
    for channels in ([""], ["a", "x" * 1025]):
        with pytest.raises(InvalidKey):
            hub.subscribe(channels)
    with pytest.raises(TypeError):
        hub.subscribe([1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="limit"):
        hub.subscribe(["a"], 0)
    with pytest.raises(InvalidKey):
        hub.publish("", 1, 0.0)


def test_messages_of_one_thread_come_in_order_to_all_others() -> None:
    hub = Hub()
    heard: list[list[int]] = []

    def listens() -> None:
        listener = hub.subscribe(["a"], 10_000)
        ready.wait()
        mine: list[int] = []
        while True:
            while (message := listener.take()) is not None:
                mine.append(message[1])
            if mine and mine[-1] == 1999:
                heard.append(mine)
                return
            woken = threading.Event()
            if listener.notify(woken.set) is not None:
                assert woken.wait(30)

    ready = threading.Barrier(5)
    threads = [threading.Thread(target=listens) for _ in range(4)]
    for thread in threads:
        thread.start()
    ready.wait()
    for number in range(2000):
        hub.publish("a", number, 0.0)
    for thread in threads:
        thread.join(60)
    assert heard == [list(range(2000))] * 4
