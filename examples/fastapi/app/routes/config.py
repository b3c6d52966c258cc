"""The application's configuration: everybody reads it, the admin changes it."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path

from app.core.cache import or_directly
from app.core.database import SessionDep
from app.core.security import require_admin
from app.services import app_config

router = APIRouter(tags=["config"])
admin = APIRouter(prefix="/admin", tags=["admin"], dependencies=[Depends(require_admin)])


@router.get("/config")
async def get_config(session: SessionDep) -> dict[str, app_config.ConfigValue]:
    return await or_directly(app_config.get_config(session), lambda: app_config.load_config(session))


@admin.put("/config/{key}")
async def set_config(
    key: Annotated[str, Path(pattern="^[a-z][a-z0-9_.]{0,63}$")],
    value: Annotated[Any, Body(embed=True)],
    session: SessionDep,
) -> app_config.ConfigValue:
    return await app_config.set_config(session, key, value)
