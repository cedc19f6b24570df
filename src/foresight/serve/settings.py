"""What a service is told when it starts: models, address, keys, limits, where its log goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from foresight.evals.files import read_yaml, validated
from foresight.serve.audit import SQLITE

Count = Annotated[int, Field(ge=1)]
_BASE = ConfigDict(frozen=True, extra="forbid")


class Limits(BaseModel):
    """What one request may ask for."""

    model_config = _BASE

    body_bytes: Count = 20 << 20
    images: Count = 16
    image_bytes: Count = 8 << 20
    prompts: Count = 256
    """Prompts of one completions request."""
    n: Count = 16
    max_tokens: Count = 4096
    waiting: Count = 256
    """Open requests of a model; more are told to come again."""
    seconds: Annotated[float, Field(gt=0)] = 600.0
    """Time for one answer."""


class ServiceSettings(BaseModel):
    """A YAML file; paths in it are relative to it."""

    model_config = _BASE

    models: dict[str, str]
    """Name -> run directory, or api:NAME@URL of a model behind another endpoint."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    keys: Path | None = None
    """File of keys; without one, everyone on this machine is an administrator, and the service
    binds to loopback alone."""
    database: str = "sqlite:///audit.db"
    """Where what goes through is kept: SQLite, or postgresql+psycopg://..."""
    policy: Path | None = None
    """What is watched for; without one, everything is kept and nothing judged."""
    batch: Count = 64
    """Sequences a model answers at a time."""
    memory_bytes: Count = 2 << 30
    """Keys and values of a model."""
    threads: Count | None = None
    """Of matrix products; default: all cores."""
    drain_seconds: Annotated[float, Field(ge=0)] = 30.0
    """How long answers that were begun may take once the service is told to stop."""
    limits: Limits = Limits()

    @classmethod
    def read(cls, path: Path) -> ServiceSettings:
        """Raises UserError naming file and field."""
        found = validated(cls, read_yaml(path), str(path))
        return found.beside(path.resolve().parent)

    def beside(self, folder: Path) -> ServiceSettings:
        """Relative paths as they are from `folder`."""
        database = self.database
        if database.startswith(SQLITE):
            database = f"{SQLITE}{folder / database.removeprefix(SQLITE)}"
        changed = {
            "models": {
                name: at if at.startswith("api:") else str(folder / at)
                for name, at in self.models.items()
            },
            "keys": self.keys and folder / self.keys,
            "policy": self.policy and folder / self.policy,
            "database": database,
        }
        return self.model_copy(update=changed)
