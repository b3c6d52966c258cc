"""The application's configuration: read all the time, changed rarely, cached for an hour (`CACHE_TTL_CONFIG`)."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from app.core.cache import get_cache
from app.core.database import commit
from app.models import ConfigEntry, now


class ConfigValue(TypedDict):
    value: Any
    version: int
    updated_at: str


async def load_config(session: AsyncSession) -> dict[str, ConfigValue]:
    columns = (ConfigEntry.key, ConfigEntry.value, ConfigEntry.version, ConfigEntry.updated_at)
    rows = await session.execute(select(*columns).order_by(ConfigEntry.key))
    return {row.key: ConfigValue(value=row.value, version=row.version, updated_at=row.updated_at) for row in rows}


async def get_config(session: AsyncSession) -> dict[str, ConfigValue]:
    config: dict[str, ConfigValue] = await get_cache().get_or_set(
        "config:all", lambda: load_config(session), ttl="config"
    )
    return config


async def set_config(session: AsyncSession, key: str, value: Any) -> ConfigValue:
    changed_at = now()
    row = await session.execute(
        insert(ConfigEntry)
        .values(key=key, value=value, version=1, updated_at=changed_at)
        .on_conflict_do_update(
            index_elements=[ConfigEntry.key],
            set_={"value": value, "version": ConfigEntry.version + 1, "updated_at": changed_at},
        )
        .returning(ConfigEntry.version)
    )
    version = row.scalar_one()
    await commit(session)
    return ConfigValue(value=value, version=version, updated_at=changed_at)
