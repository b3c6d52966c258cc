"""HTTP and WebSocket, thin over the services."""

from typing import Annotated

from pydantic import Field

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]  # what the database can hold
