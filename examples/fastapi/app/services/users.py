"""Users and their profiles. Profiles are cached for five minutes (`CACHE_TTL_USER_DATA`) or until they change."""

from typing import Any, cast

from donjon import key
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from app.core.cache import get_cache, simple_cached
from app.core.database import all_as, commit, one_as
from app.models import User


class UserProfile(TypedDict):
    id: int
    name: str
    email: str
    about: str
    version: int
    created_at: str


_PROFILE = (User.id, User.name, User.email, User.about, User.version, User.created_at)


def profile_key(session: AsyncSession, user_id: int) -> str:
    return key("user", "profile", user_id)


async def load_user_profile(session: AsyncSession, user_id: int) -> UserProfile | None:
    # Columns, not the mapped object: the session would answer with the attributes it has seen before.
    return await one_as(UserProfile, session, select(*_PROFILE).where(User.id == user_id))


@simple_cached(profile_key, ttl="user_data")
async def get_user_profile(session: AsyncSession, user_id: int) -> UserProfile | None:
    """The profile, or None (cached as well) where there is no such user."""
    return await load_user_profile(session, user_id)


async def get_user_profile_cached(session: AsyncSession, user_id: int) -> UserProfile | None:
    """The same by hand: get, query, set, with a lease, so that `fill` is refused after a change in the middle."""
    cache = get_cache()
    async with await cache.lookup(profile_key(session, user_id)) as found:  # gives the lease up, should the query fail
        if found:
            known: UserProfile | None = found.value
            return known
        profile = await load_user_profile(session, user_id)
        await cache.fill(found, profile, ttl="user_data")
        return profile


async def load_users(session: AsyncSession) -> list[UserProfile]:
    return await all_as(UserProfile, session, select(*_PROFILE).order_by(User.id).limit(100))


async def list_users(session: AsyncSession) -> list[UserProfile]:
    users: list[UserProfile] = await get_cache().get_or_set("users:list", lambda: load_users(session), ttl="user_data")
    return users


async def create_user(session: AsyncSession, *, name: str, email: str, about: str = "") -> UserProfile:
    """Raises IntegrityError where the address is taken."""
    user = User(name=name, email=email, about=about)
    session.add(user)
    await session.flush()
    profile = cast("UserProfile", {column.key: getattr(user, column.key) for column in _PROFILE})
    await commit(session)
    return profile


async def update_user(session: AsyncSession, user_id: int, changes: dict[str, Any]) -> UserProfile | None:
    # The database counts the version, so that of two changes at once none is lost.
    query = update(User).where(User.id == user_id).values(**changes, version=User.version + 1).returning(*_PROFILE)
    profile = await one_as(UserProfile, session, query)
    if profile is None:
        return None
    await commit(session)
    return profile
