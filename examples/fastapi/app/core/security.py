"""Who may use the admin routes: whoever sends the token, as `Authorization: Bearer …`."""

import secrets
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

_bearer = HTTPBearer(auto_error=False, description="The admin token, which the demo prints when it starts")


def require_admin(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let the request through only with the admin token. Compares in constant time."""
    expected: str = request.app.state.settings.admin_token
    given = credentials.credentials if credentials else ""
    if not secrets.compare_digest(given.encode(), expected.encode()):
        raise HTTPException(401, "the admin token is missing or wrong", {"WWW-Authenticate": "Bearer"})
