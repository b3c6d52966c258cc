"""The application with a slow database, twice: as it is, and with the guide's literal cached function in its place.

A profile's query takes up to 20 ms to come back, as over a network. That is all that the literal form needs to go wrong.
"""

import asyncio
import random
from typing import Any

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

import guide
from app.main import create_app
from app.services import users

_load = users.load_user_profile


async def _slow_load(session: AsyncSession, user_id: int) -> Any:
    row = await _load(session, user_id)
    await asyncio.sleep(random.uniform(0, 0.02))
    return row


def safe() -> FastAPI:
    users.load_user_profile = _slow_load
    return create_app()


def literal() -> FastAPI:
    users.load_user_profile = _slow_load
    users.get_user_profile = guide.get_user_profile
    return create_app()
