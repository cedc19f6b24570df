"""What all routes of one service have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import BaseModel

from foresight.serve.metrics import Metrics
from foresight.serve.pool import Pool
from foresight.serve.settings import ServiceSettings
from foresight.serve.watch import Watch


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    error: ErrorDetail


_MEANINGS = {
    400: "Something in the request is not as it should be.",
    401: "No such key.",
    403: "Not with this key, or blocked.",
    404: "No such model.",
    413: "The body is too large.",
    429: "Too much at a time; come again after `retry-after` seconds.",
    500: "Something broke here.",
    503: "Cannot be answered now; come again.",
    504: "It took too long.",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text} for status, text in _MEANINGS.items()
}


@dataclass(frozen=True, eq=False)
class Service:
    settings: ServiceSettings
    pool: Pool
    metrics: Metrics
    watch: Watch


def service_of(request: Request) -> Service:
    found: Service = request.app.state.service
    return found
