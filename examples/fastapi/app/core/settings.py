"""What can be set from outside. The `CACHE_` variables are donjon's own: `Cache.from_env()` reads those."""

import secrets
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The application's settings, from variables that start with `APP_`."""

    model_config = SettingsConfigDict(env_prefix="APP_")

    database: Path = Path("demo/app.db")
    admin_token: str = Field(default_factory=lambda: secrets.token_urlsafe(24), min_length=8)
    job_workers: int = Field(default=2, ge=0, le=32)
    ingest_on_start: bool = False
    docs: Path | None = None  # the folder to ingest; None: the project's own texts and the docs of installed packages
