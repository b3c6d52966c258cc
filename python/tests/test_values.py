"""What the cache keeps of a value, and what a reader gets of it."""

import collections
import datetime
import decimal
import enum
import gc
import json
import math
import random
import subprocess
import sys
import threading
import uuid
import weakref
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from donjon._donjon import Value
from donjon._errors import UnsupportedValue

FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
trees = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=40)
# As above, with what JSON turns into something else.
loose = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(texts, inner).map(collections.OrderedDict)
    ),
    max_leaves=40,
)


def exactly(left: Any, right: Any) -> bool:
    """Equal, and of the same types all through: `1 == True == 1.0`, and `0.0 == -0.0`."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(exactly(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(exactly, left, right))
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


def containers(value: Any) -> list[int]:
    """The identity of each dict and list in a value."""
    if isinstance(value, dict):
        return [id(value), *(found for item in value.values() for found in containers(item))]
    if isinstance(value, list):
        return [id(value), *(found for item in value for found in containers(item))]
    return []


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


# -- what comes out -------------------------------------------------------------------------------


@given(trees)
def test_a_copy_equals_what_went_in(value: Any) -> None:
    assert exactly(Value(value).copy(), value)


@given(loose)
def test_a_copy_equals_a_round_trip_through_json(value: Any) -> None:
    assert exactly(Value(value).copy(), json.loads(json.dumps(value)))


@given(trees)
def test_no_container_is_shared_between_copies_or_with_the_original(value: Any) -> None:
    kept = Value(value)
    first, second = kept.copy(), kept.copy()
    found = containers(value) + containers(first) + containers(second)
    assert len(found) == len(set(found))


def test_changing_the_original_or_a_copy_changes_no_other_copy() -> None:
    original: Any = {"a": [1, {"b": 2}], "c": {}}
    kept = Value(original)
    original["a"][1]["b"] = 3
    original["c"]["d"] = 4
    first = kept.copy()
    first["a"].append(5)
    first["a"][1].clear()
    del first["c"]
    assert kept.copy() == {"a": [1, {"b": 2}], "c": {}}


def test_one_list_in_several_places_becomes_several() -> None:
    one = [1]
    copy = Value({"a": one, "b": [one, 2, one]}).copy()
    copy["a"].append(3)
    copy["b"][0].append(4)
    assert copy == {"a": [1, 3], "b": [[1, 4], 2, [1]]}


def test_many_containers_come_back_in_their_places() -> None:
    row = {"none": None, "list": [None, [], None, {"a": [1]}], "text": "b", "empty": {}, "level": Level.HIGH}
    value = {"first": [], "rows": [0, *[{**row, "number": number} for number in range(200)], None], "last": {"c": {}}}
    expected = json.loads(json.dumps(value))
    kept = Value(value)
    kept.copy()["rows"].clear()
    assert exactly(kept.copy(), expected)


def test_a_null_is_a_value() -> None:
    assert Value(None).copy() is None
    assert Value({"a": None, "b": [None, {}]}).copy() == {"a": None, "b": [None, {}]}


def test_negative_zero_and_the_widest_integers_stay_exact() -> None:
    value = [-0.0, 2**53 + 1, 2**63, 2**64 - 1, -(2**63), 5e-324, 1.7976931348623157e308]
    assert exactly(Value(value).copy(), value)


class Colour(enum.Enum):
    RED = "red"
    MIXED = ("red", 2)


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not the text"

    def __hash__(self) -> int:
        return 7


class Count(int):
    pass


class Ratio(float):
    pass


class Point(NamedTuple):
    x: int
    y: int


class Rows(list[Any]):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        (Rows([1, {}]), [1, {}]),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (Name("text"), "text"),
        ({Name("key"): Name("text")}, {"key": "text"}),
        (Count(2**63), 2**63),
        (Count(-5), -5),
        (Ratio(1.5), 1.5),
        (Colour.RED, "red"),
        (Colour.MIXED, ["red", 2]),
        ({"level": Level.HIGH}, {"level": 3}),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4, 5), "03:04:05"),
        (datetime.datetime(2026, 1, 2, 3, 4, 5, 6), "2026-01-02T03:04:05.000006"),
        ([datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)], ["2026-01-02T00:00:00+00:00"]),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.10"), "1.10"),
        (b"\x00\xff", b"\x00\xff"),
    ],
)
def test_what_json_has_no_type_for_becomes_what_it_has(value: Any, expected: Any) -> None:
    assert exactly(Value(value).copy(), expected)


def test_a_subclass_of_dict_keeps_its_own_order() -> None:
    value = collections.OrderedDict(a=1, b=2)
    value.move_to_end("a")
    assert list(Value(value).copy()) == ["b", "a"]


def test_a_subclass_of_bytes_becomes_bytes() -> None:
    class Blob(bytes):
        pass

    assert type(Value(Blob(b"x")).copy()) is bytes


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (math.nan, "value: "),
        ([1, math.inf], "value[1]: "),
        ({"a": [0, 1, 2, -math.inf]}, "value['a'][3]: "),
        ({"a": Ratio("nan")}, "value['a']: "),
        (2**64, "value: "),
        (-(2**63) - 1, "value: "),
        ({1: "secret"}, "value: "),
        ({"a": {None: "secret"}}, "value['a']: "),
        ([{b"k": "secret"}], "value[0]: "),
        ({"a": {"secret"}}, "value['a']: "),
        ({"a": b"secret"}, "value['a']: "),
        ("secret\ud800", "value: "),
        ({"secret\udfff": 1}, "value: "),
        (object(), "value: "),
        ({"a": [datetime.timedelta(1)]}, "value['a'][0]: "),
        ({"a": 1, Name("a"): 2}, "value: "),
        (1j, "value: "),
    ],
)
def test_what_has_no_json_form_is_refused_by_its_place_and_not_shown(value: Any, place: str) -> None:
    with pytest.raises(UnsupportedValue) as refused:
        Value(value)
    assert str(refused.value).startswith(place)
    assert "secret" not in str(refused.value)


def test_containers_may_lie_as_deep_as_json_readers_go_and_no_deeper() -> None:
    assert Value(nested(127)).copy() == nested(127)
    with pytest.raises(UnsupportedValue, match="127 deep"):
        Value(nested(128))
    with pytest.raises(UnsupportedValue):
        Value(nested(100_000))


def test_a_cycle_is_refused() -> None:
    loop: dict[str, Any] = {"list": [1]}
    loop["list"].append(loop)
    with pytest.raises(UnsupportedValue, match="in themselves") as refused:
        Value(loop)
    assert str(refused.value).startswith("value['list'][1]['list'][1]")
    assert len(str(refused.value)) < 400


def test_a_long_key_is_cut_in_a_message() -> None:
    with pytest.raises(UnsupportedValue) as refused:
        Value({"k" * 5000: math.nan})
    assert len(str(refused.value)) < 150


# -- foreign types --------------------------------------------------------------------------------


class Foreign:
    def __init__(self, simpler: Any) -> None:
        self.simpler = simpler


def simplify(value: object) -> Any:
    if isinstance(value, Foreign):
        return value.simpler
    raise UnsupportedValue(f"no idea of {type(value).__name__}")


def test_a_foreign_value_is_kept_as_what_it_turns_into() -> None:
    value = {"a": [Foreign({"b": (1, Foreign(datetime.date(2026, 1, 2)))})]}
    assert exactly(Value(value, simplify).copy(), {"a": [{"b": [1, "2026-01-02"]}]})


def test_json_types_never_reach_python_code() -> None:
    def never(_: object) -> object:
        raise AssertionError

    value = {"a": [1, 2.5, "b", None, True, (), Level.HIGH, uuid.UUID(int=0)]}
    Value(value, never)


def test_a_refusal_of_the_hook_gets_its_place() -> None:
    with pytest.raises(UnsupportedValue, match=r"^value\['a'\]\[1\]: no idea of object$") as refused:
        Value({"a": [Foreign(1), object()]}, simplify)
    assert isinstance(refused.value.__cause__, UnsupportedValue)


def test_another_error_of_the_hook_passes_through_as_it_is() -> None:
    error = KeyError("x")

    def fails(_: object) -> object:
        raise error

    with pytest.raises(KeyError) as raised:
        Value([object()], fails)
    assert raised.value is error


def test_a_hook_that_gives_back_what_it_got_ends() -> None:
    with pytest.raises(UnsupportedValue):
        Value(object(), lambda value: value)


def test_a_hook_that_changes_what_is_being_stored_changes_nothing_of_it() -> None:
    value: dict[str, Any] = {}
    value |= {"first": Foreign(1), "list": [Foreign(2), 3], "last": 4}

    def changes(_: object) -> object:
        for number in range(100):
            value[f"more{number}"] = number
        value.pop("last", None)
        return "ok"

    assert Value(value, changes).copy() == {"first": "ok", "list": ["ok", 3], "last": 4}


# -- the garbage collector ------------------------------------------------------------------------


@pytest.mark.skipif(FREE_THREADED, reason="free-threaded builds keep masters tracked")
def test_the_collector_does_not_see_what_is_kept() -> None:
    def visited() -> int:
        gc.collect()
        return sum(isinstance(found, dict | list) for found in gc.get_objects())

    before = visited()
    kept = [Value({"number": number, "list": [{"a": []}, []]}) for number in range(1000)]
    assert visited() - before < 100
    assert kept[999].copy()["number"] == 999


@pytest.mark.parametrize("value", [{"a": 1}, {}, [1], [], {"a": {"b": {}}}, {"a": []}, [[1]], [{"a": 1}]])
def test_a_cycle_made_through_a_copy_is_collected(value: Any) -> None:
    class Canary:
        pass

    freed: list[bool] = []

    def through(copy: Any) -> None:
        canary = Canary()
        weakref.finalize(canary, freed.append, True)
        if isinstance(copy, dict):
            copy["self"], copy["canary"] = copy, canary
        else:
            copy += [copy, canary]
        assert gc.is_tracked(copy)

    def every(copy: Any) -> list[Any]:
        inside = copy.values() if isinstance(copy, dict) else copy
        return [copy, *(found for item in inside if isinstance(item, dict | list) for found in every(item))]

    kept = Value(value)
    parts = every(kept.copy())
    for part in parts:
        through(part)
    expected = len(parts)
    del part, parts
    gc.collect()
    assert len(freed) == expected
    assert kept.copy() == value


def test_a_copy_of_lists_and_of_dicts_that_hold_others_is_tracked() -> None:
    assert gc.is_tracked(Value([1]).copy())
    copy = Value({"a": {"b": [1]}}).copy()
    for part in (copy, copy["a"], copy["a"]["b"]):
        assert gc.is_tracked(part)


def test_a_collection_at_any_moment_of_storing_and_copying_does_no_harm() -> None:
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for seed in range(200):
            value = tree(random.Random(seed))
            assert exactly(Value(value).copy(), value)
    finally:
        gc.set_threshold(*thresholds)


# -- weight ---------------------------------------------------------------------------------------


def size(value: Any, met: set[int]) -> int:
    """What `value` takes, shared parts once, without what every process has anyway."""
    if id(value) in met or value is None or isinstance(value, bool) or (isinstance(value, int) and -5 <= value <= 256):
        return 0
    met.add(id(value))
    total = sys.getsizeof(value)
    if isinstance(value, dict):
        total += sum(size(key, met) + size(item, met) for key, item in value.items())
    if isinstance(value, list):
        total += sum(size(item, met) for item in value)
    return total


def tree(rng: random.Random, depth: int = 4) -> Any:
    kind = rng.randrange(8 if depth else 5)
    if kind == 0:
        return rng.randrange(-(2**63), 2**64)
    if kind == 1:
        return rng.random()
    if kind == 2:
        return "".join(rng.choices("abcdefgh", k=rng.randrange(60)))
    if kind == 3:
        return "".join(rng.choices("abc\u00e9\u20ac\U0001f600", k=rng.randrange(30)))
    if kind == 4:
        return rng.choice([None, True, False])
    if kind == 5:
        return [tree(rng, depth - 1) for _ in range(rng.randrange(12))]
    return {f"{rng.random()}": tree(rng, depth - 1) for _ in range(rng.randrange(12))}


@pytest.mark.parametrize("seed", range(40))
def test_the_weight_is_what_python_says_its_parts_take(seed: int) -> None:
    rng = random.Random(seed)
    kept = Value([tree(rng) for _ in range(8)])
    taken = size(kept.copy(), set())
    assert kept.weight == pytest.approx(taken, rel=0.15)


@pytest.mark.parametrize(
    "value",
    [
        {"id": 1234, "name": "Alice Example", "score": 12.5, "mail": "alice@example.com"},
        [{"id": 1000 + number, "state": "done", "title": f"Document {number}"} for number in range(50)],
        json.loads(json.dumps([{"id": 1000 + number, "state": "done", "size": 5.5 + number} for number in range(50)])),
        "x" * 1000,
        "\u20ac" * 1000,
        b"x" * 1000,
        2**40,
        [],
        {},
    ],
)
def test_the_weight_of_everyday_values(value: Any) -> None:
    kept = Value(value)
    assert kept.weight == pytest.approx(size(kept.copy(), set()), rel=0.15)


def test_text_is_kept_without_a_second_form_of_it() -> None:
    text = "".join(["\u20ac"] * 1000)
    before = sys.getsizeof(text)
    kept = Value([text])
    assert kept.copy() == [text]
    assert sys.getsizeof(text) == before


# -- threads --------------------------------------------------------------------------------------


def test_threads_may_copy_one_value_and_change_what_they_got() -> None:
    value = {"a": [{"b": number} for number in range(50)]}
    kept = Value(value)
    wrong: list[Any] = []

    def reads() -> None:
        for _ in range(300):
            copy = kept.copy()
            if copy != value:
                wrong.append(copy)
            copy["a"].pop()["b"] = "changed"

    threads = [threading.Thread(target=reads) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_value_may_be_stored_while_other_threads_change_it() -> None:
    value: dict[str, Any] = {f"k{number}": [number] for number in range(100)}
    stop = threading.Event()

    def changes() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            value[f"n{number % 50}"] = [number]
            value.pop(f"n{(number + 25) % 50}", None)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=changes) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        for _ in range(2000):
            copy = Value(value, lambda item: item).copy()
            assert all(copy[f"k{number}"] == [number] for number in range(100))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)


def test_a_process_ends_well_amid_threads_that_store_and_copy() -> None:
    program = """
import threading, time
from donjon._donjon import Hub, Locks, Value

kept = [Value({"a": [{"b": number}]}) for number in range(1000)]
hub, locks = Hub(), Locks()
listener = hub.subscribe(["a"])
listener.notify(print)
locks.acquire("a", 10)
locks.notify("a", print)


class Late:
    def __del__(self):
        Value([1]).copy()
        kept.clear()


def works():
    while True:
        Value({"a": [1, {"b": 2}]}).copy()
        hub.publish("b", [1], 0.0)


for _ in range(4):
    threading.Thread(target=works, daemon=True).start()
late = Late()
time.sleep(0.05)
"""
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
