"""The service as one ASGI application, and the process that runs it."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

import foresight
from foresight.errors import UserError
from foresight.serve import chat, completions, decisions, desk, moderations, texts
from foresight.serve.audit import AuditLog
from foresight.serve.decisions import judge_of
from foresight.serve.door import Door
from foresight.serve.errors import ServiceError, broken
from foresight.serve.keys import Keys
from foresight.serve.metrics import Metrics
from foresight.serve.policy import Policy
from foresight.serve.pool import Pool
from foresight.serve.review import redact_old
from foresight.serve.service import ERRORS, Service, service_of
from foresight.serve.settings import ServiceSettings
from foresight.serve.streams import ClientLeft
from foresight.serve.watch import Watch

log = logging.getLogger("foresight.serve")
_CHORE_SECONDS = 600.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def build(settings: ServiceSettings) -> ASGIApp:
    """The application; models are loaded when it starts. Raises UserError for settings that would
    let strangers in, or a file of keys that cannot be read."""
    if settings.keys is None and settings.host not in LOOPBACK:
        raise UserError(
            f"host {settings.host}: others could ask without a key; make some with `foresight key "
            f"FILE NAME` and name the file in `keys`, or bind to 127.0.0.1"
        )
    keys = Keys(settings.keys) if settings.keys else None
    policy = Policy.read(settings.policy) if settings.policy else Policy()
    pool, metrics = Pool(settings), Metrics()
    judge = judge_of(policy, pool, settings)
    audit = AuditLog(settings.database)
    service = Service(settings, pool, metrics, Watch(policy, judge, audit, metrics))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.pool.open()
        chore = asyncio.create_task(_redact_old(service))
        yield
        chore.cancel()
        await service.pool.close()
        await service.watch.settled()
        audit.close()

    app = FastAPI(
        title="foresight", version=foresight.__version__, lifespan=lifespan, docs_url=None,
        redoc_url=None,
    )  # fmt: skip
    app.state.service = service
    for part in (chat, completions, decisions, desk, moderations, texts):
        app.include_router(part.router)
    app.add_api_route("/health", _health, responses=ERRORS)
    app.add_api_route("/metrics", _metrics, responses=ERRORS, response_class=Response)
    app.add_exception_handler(ServiceError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(ClientLeft, _left)
    app.add_exception_handler(Exception, _broke)
    return Door(app, keys, settings.limits.body_bytes, service.metrics)


async def _redact_old(service: Service) -> None:
    """What the policy keeps no longer, every now and then."""
    while True:
        watch = service.watch
        try:
            await asyncio.to_thread(redact_old, watch.audit, watch.policy, time.time())
        except ServiceError as error:
            log.warning("old texts could not be taken out: %s", error)
        await asyncio.sleep(_CHORE_SECONDS)


async def _health(request: Request) -> dict[str, Any]:
    """Whether the service answers."""
    return {"status": "ok", "models": [one.name for one in service_of(request).pool.all]}


async def _metrics(request: Request) -> Response:
    """For Prometheus."""
    service = service_of(request)
    return Response(service.metrics.text(service.pool), media_type="text/plain; version=0.0.4")


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return JSONResponse(error.body, error.status, error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Of the forms that a field may have, the one that came furthest was meant.
    first = max(error.errors(), key=lambda one: len(one["loc"]))
    place = ".".join(str(one) for one in first["loc"][1:])  # behind "body", "query" or "path"
    told = ServiceError(
        400, f"{place or 'the body'}: {first['msg']}", "invalid_value", place or None
    )
    return await _told(request, told)


async def _refused(request: Request, error: Exception) -> Response:
    """What the framework says by itself: an unknown path, a body that is no JSON."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ServiceError):
        return await _told(request, error.__cause__)
    told = ServiceError(error.status_code, str(error.detail))
    return JSONResponse(told.body, told.status, error.headers)


async def _broke(request: Request, error: Exception) -> Response:
    """Told here, as the framework has its own words for it; the door writes the log."""
    return await _told(request, broken(request.scope["state"]["request_id"]))


async def _left(request: Request, error: Exception) -> Response:
    """For nobody: the status is for the log."""
    return Response(status_code=499)


def serve(settings: ServiceSettings) -> None:
    """Serves until it is told to stop (SIGTERM, Ctrl-C); then what was begun is answered, for
    `drain_seconds` at most. Raises UserError."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    application = build(settings)
    _free(settings.host, settings.port)
    config = uvicorn.Config(
        application, host=settings.host, port=settings.port, log_config=None, access_log=False,
        server_header=False, timeout_graceful_shutdown=int(settings.drain_seconds),
        h11_max_incomplete_event_size=64 << 10,
    )  # fmt: skip
    uvicorn.Server(config).run()


def _free(host: str, port: int) -> None:
    """Raises UserError if the address cannot be bound to."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"{host}:{port}: {error.strerror}; choose another port") from None


def log_to_stderr() -> None:
    """A JSON object a line."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json())
    for name in ("foresight.serve", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = record.getMessage()
        if told.startswith("{") and not record.exc_info:
            return told
        row = {"at": round(record.created, 3), "level": record.levelname.lower(), "message": told}
        if record.exc_info:
            row["trace"] = self.formatException(record.exc_info)
        return json.dumps(row)
