"""Notifications: what is published to `notifications:user:{id}` goes to that user's WebSocket."""

import asyncio

from donjon import Subscription
from fastapi import APIRouter, WebSocket

from app.core.cache import get_cache, or_directly
from app.core.database import Database
from app.routes import Id
from app.services import users

router = APIRouter()

NO_SUCH_USER = 4404


@router.websocket("/notifications/{user_id}")
async def notifications(websocket: WebSocket, user_id: Id) -> None:
    """Forward messages until the browser leaves.

    Whoever knows the id may listen: an application with log-in checks here that it is the user's own.
    """
    database: Database = websocket.app.state.database
    async with database.session() as session:
        user = await or_directly(
            users.get_user_profile_cached(session, user_id), lambda: users.load_user_profile(session, user_id)
        )
    if user is None:
        await websocket.accept()
        await websocket.close(NO_SUCH_USER, "there is no such user")
        return
    # Subscribed before the browser hears that it is connected, so what it does next is never missed.
    async with get_cache().subscribe(f"notifications:user:{user_id}") as messages:
        await websocket.accept()
        leaving = asyncio.create_task(_until_closed(websocket))
        try:
            forwarding = asyncio.create_task(_forward(messages, websocket))
            try:
                await asyncio.wait([leaving, forwarding], return_when=asyncio.FIRST_COMPLETED)
            finally:
                forwarding.cancel()
        finally:
            leaving.cancel()
        await asyncio.gather(leaving, forwarding, return_exceptions=True)


async def _forward(messages: Subscription, websocket: WebSocket) -> None:
    async for message in messages:
        await websocket.send_json(message.data)


async def _until_closed(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass  # what a browser says is of no interest here
