"""What a change makes untrue. Called after the commit, never before: see `app.handlers.resource`.

The rules say it once, as data; the `on_…` functions only name the event. An event reaches every key, pattern and tag of
the rules that match it, before the call returns.
"""

import asyncio
import logging
import time

from donjon import Rules

from app.core.cache import get_cache

logger = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds that a change's answer waits for an unreachable Redis


def register_rules(rules: Rules) -> None:
    rules.on(
        "document.*",
        patterns=["documents:list*", "documents:*summary*", "files:stats:*"],
        tags=["search"],
    )
    for change in ("created", "updated", "deleted"):  # created too: that there is none is cached as well
        rules.on(f"document.{change}", keys=["document:{id}"])
        rules.on(f"user.{change}", keys=["user:profile:{id}"])
        rules.on(f"config.{change}", keys=["config:all"])
    rules.on("document.imported", patterns=["document:*"])
    rules.on("user.*", patterns=["users:list*"])
    rules.on("job.*", patterns=["jobs:*"])


async def on_resource_created(resource_type: str, resource_id: int | str) -> None:
    await _emit(f"{resource_type}.created", id=resource_id)


async def on_resource_updated(resource_type: str, resource_id: int | str) -> None:
    await _emit(f"{resource_type}.updated", id=resource_id)


async def on_resource_deleted(resource_type: str, resource_id: int | str) -> None:
    await _emit(f"{resource_type}.deleted", id=resource_id)


async def on_resources_imported(resource_type: str) -> None:
    """Many were created or changed at once: one sweep instead of one a resource."""
    await _emit(f"{resource_type}.imported")


async def on_job_status_changed(job_id: int, old_status: str | None, new_status: str) -> None:
    logger.debug("job %d: %s -> %s", job_id, old_status, new_status)
    await _emit(f"job.{new_status}", id=job_id)


async def _emit(event: str, **of: int | str) -> None:
    """Returns when it holds for every worker, or after as long as an answer may wait for that."""
    end = time.monotonic() + PATIENCE
    try:
        while (await get_cache().emit(event, **of)).queued:
            if time.monotonic() > end:
                logger.error(
                    "invalidation after %s %s waits for redis: other workers may be stale until then", event, of
                )
                return
            await asyncio.sleep(0.05)
    except Exception:
        # The change is committed, and the answer must say so. But nobody may overlook that readers can see what was before.
        logger.exception("invalidation after %s %s failed: entries may be stale until their ttl ends", event, of)
