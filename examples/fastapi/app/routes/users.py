"""Users and their profiles."""

from typing import Annotated

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy.exc import IntegrityError

from app.core.cache import or_directly
from app.core.database import SessionDep
from app.routes import Id
from app.services import users

router = APIRouter(prefix="/users", tags=["users"])

Name = Annotated[str, Field(min_length=1, max_length=100)]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=200)]
About = Annotated[str, Field(max_length=2_000)]


class NewUser(BaseModel):
    name: Name
    email: Email
    about: About = ""


class UserChanges(BaseModel):
    name: Name | None = None
    email: Email | None = None
    about: About | None = None


@router.get("")
async def list_users(session: SessionDep) -> list[users.UserProfile]:
    return await or_directly(users.list_users(session), lambda: users.load_users(session))


@router.get("/{user_id}")
async def get_user(user_id: Id, session: SessionDep) -> users.UserProfile:
    profile = await or_directly(
        users.get_user_profile(session, user_id), lambda: users.load_user_profile(session, user_id)
    )
    if profile is None:
        raise HTTPException(404, "there is no such user")
    return profile


@router.post("", status_code=201)
async def create_user(new: NewUser, session: SessionDep) -> users.UserProfile:
    try:
        return await users.create_user(session, name=new.name, email=new.email, about=new.about)
    except IntegrityError:
        raise HTTPException(409, "another user has this address") from None


@router.patch("/{user_id}")
async def update_user(user_id: Id, changes: UserChanges, session: SessionDep) -> users.UserProfile:
    try:
        profile = await users.update_user(session, user_id, changes.model_dump(exclude_none=True))
    except IntegrityError:
        raise HTTPException(409, "another user has this address") from None
    if profile is None:
        raise HTTPException(404, "there is no such user")
    return profile
