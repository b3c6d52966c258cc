"""The guide's two forms of a cached function, word for word but for the query: get, load, set, with nothing in between."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.cache import get_cache
from app.services import users


async def get_user_profile_cached(session: AsyncSession, user_id: int) -> Any:
    cache = get_cache()
    key = f"user:profile:{user_id}"
    data = await cache.get(key)
    if data is not None:
        return data

    # Fallback to DB and then cache
    profile = await users.load_user_profile(session, user_id)
    await cache.set(key, profile, ttl=int(timedelta(minutes=5).total_seconds()))
    return profile


def simple_cached(key_builder: Callable[..., str], ttl: timedelta) -> Callable[..., Any]:
    def decorator(func: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(func)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            cache = get_cache()
            key = key_builder(*args, **kwargs)
            val = await cache.get(key)
            if val is not None:
                return val
            result = await func(*args, **kwargs)
            await cache.set(key, result, ttl=int(ttl.total_seconds()))
            return result

        return wrapper

    return decorator


@simple_cached(lambda session, user_id: f"user:profile:{user_id}", ttl=timedelta(minutes=5))
async def get_user_profile(session: AsyncSession, user_id: int) -> Any:
    return await users.load_user_profile(session, user_id)
