"""The start page, and the answer for those who ask whether the application is up."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

router = APIRouter(include_in_schema=False)

_START = Path(__file__).parent.parent / "static" / "index.html"


@router.get("/")
async def start_page() -> FileResponse:
    return FileResponse(_START, headers={"Cache-Control": "no-cache"})


@router.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}
