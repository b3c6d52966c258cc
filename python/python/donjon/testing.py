"""For the tests of applications: a clock moved by hand, and pytest fixtures.

Load the fixtures in your `conftest.py`:

    pytest_plugins = ["donjon.testing"]

`donjon_clock` is a `ManualClock`. `donjon_cache` is what `donjon.get_cache()` gives, so also the cache of functions that were
decorated long before; for the test it is empty and lives by that clock.

    def test_a_profile_is_loaded_again_after_five_minutes(donjon_cache, donjon_clock):
        donjon_cache.sync.set("user:1", {"name": "Ada"}, ttl="5m")
        donjon_clock.advance(300)
        assert donjon_cache.sync.get("user:1") is None
"""

from __future__ import annotations

from collections.abc import Iterator

from ._cache import Cache
from ._donjon import ManualClock
from ._process import get_cache

try:
    import pytest
except ImportError:  # the clock serves any kind of test
    pass
else:

    @pytest.fixture
    def donjon_clock() -> ManualClock:
        """A clock that moves when told to; only `donjon_cache` of the same test lives by it."""
        return ManualClock()

    @pytest.fixture
    def donjon_cache(donjon_clock: ManualClock) -> Iterator[Cache]:
        """The cache of this process, empty for this test and as it was after it."""
        cache = get_cache()
        with cache._memory.set_aside(donjon_clock):
            yield cache


__all__ = ["ManualClock"]
