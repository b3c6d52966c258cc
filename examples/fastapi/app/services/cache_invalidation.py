"""What a change makes untrue, said once for each model.

Whoever changes a row and commits has told the cache by then: `Invalidation` follows the sessions. A row invalidates by what it
was and by what it is, a statement for many rows by all that they may be.
"""

from typing import Any

from donjon import Cache
from donjon.sqlalchemy import Invalidation

from app.models import ConfigEntry, Document, Job, User
from app.services.stats_cache import StatsCache


def follow_commits(cache: Cache, sessions: Any) -> None:
    """From now on, what these sessions commit invalidates what it makes untrue."""
    invalidation = Invalidation(cache)
    invalidation.on(
        Document,
        keys=["document:{id}"],  # of a new one too: that there is none is cached as well
        patterns=["documents:list*", "documents:*summary*", "response:*/documents/{id}/content*"],
        tags=["search"],
    )
    invalidation.on(User, keys=["user:profile:{id}"], patterns=["users:list*"])
    invalidation.on(ConfigEntry, keys=["config:all"])
    invalidation.on(Job, patterns=["jobs:list*"])
    StatsCache.bind(cache, invalidation)
    invalidation.listen(sessions)
