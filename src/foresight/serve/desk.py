"""Routes of people: what readers say of answers, the reviewers' desk, the pages themselves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from foresight.errors import UserError
from foresight.serve import review
from foresight.serve.audit import FEEDBACK, AuditLog
from foresight.serve.bodies import FeedbackBody, LabelBody, LiftBody
from foresight.serve.errors import ServiceError
from foresight.serve.exports import Kind, exported
from foresight.serve.policy import FINE
from foresight.serve.service import ERRORS, service_of

T = TypeVar("T")
router = APIRouter()
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css"}


async def _there(request: Request, work: Callable[[AuditLog], T]) -> T:
    """Done on a thread, as databases keep one waiting; a user's mistake is a 400."""
    try:
        return await asyncio.to_thread(work, service_of(request).watch.audit)
    except UserError as error:
        raise ServiceError(400, str(error)) from None


def _name(request: Request) -> str:
    return str(request.scope["state"]["key"].name)


@router.post("/v1/feedback", responses=ERRORS)
async def feedback(body: FeedbackBody, request: Request) -> dict[str, str]:
    """What a reader says of an answer, by the request's id; it goes beside it into the log."""
    row = {
        "request_id": body.request_id, "key": _name(request), "verdict": body.verdict,
        "why": body.why, "at": time.time(),
    }  # fmt: skip
    await _there(request, lambda log: log.write(FEEDBACK, row))
    return {"status": "noted"}


@router.get("/review/cases", responses=ERRORS)
async def cases(request: Request) -> dict[str, Any]:
    """What this reviewer has still to label."""
    policy, name = service_of(request).watch.policy, _name(request)
    found = await _there(request, lambda log: review.queue(log, policy, name))
    return {
        "reviewer": name,
        "verdicts": [FINE, *(one.name for one in policy.categories)],
        "cases": [asdict(one) for one in found],
    }


@router.post("/review/cases/{id}", responses=ERRORS)
async def judge(id: int, body: LabelBody, request: Request) -> dict[str, str]:
    """A reviewer's verdict on a case."""
    policy, name = service_of(request).watch.policy, _name(request)
    await _there(
        request,
        lambda log: review.label(log, policy, id, name, body.verdict, body.better, body.note),
    )
    return {"status": "noted"}


@router.get("/review/standing", responses=ERRORS)
async def standing(request: Request) -> dict[str, Any]:
    """How well the present policy's judges do, by the labels; who is suspended."""
    policy = service_of(request).watch.policy
    found = await _there(request, lambda log: review.standing(log, policy.label))
    people = await _there(request, review.suspended)
    return {**asdict(found), "suspended": people}


@router.post("/review/lift", responses=ERRORS)
async def lift(body: LiftBody, request: Request) -> dict[str, str]:
    """Let somebody ask again who was suspended."""
    name = _name(request)
    await _there(request, lambda log: review.lift(log, body.subject, name, body.why))
    return {"status": "noted"}


@router.get("/review/export/{kind}", responses=ERRORS, response_class=Response)
async def download(kind: Kind, request: Request) -> Response:
    """Reviewed cases as JSON lines."""
    rows = await _there(request, lambda log: exported(log, kind))
    data = "".join(json.dumps(row) + "\n" for row in rows)
    told = {"content-disposition": f'attachment; filename="{kind}.jsonl"'}
    return Response(data, media_type="application/jsonl", headers=told)


@cache
def _pages() -> dict[str, bytes]:
    """All there are, by name: what else is asked for is not looked for."""
    return {one.name: one.read_bytes() for one in (files("foresight.serve") / "pages").iterdir()}


def _page(name: str) -> Response:
    data = _pages().get(name)
    if data is None:
        raise ServiceError(404, "no such page")
    kind = _KINDS[name.rpartition(".")[2]]
    headers = {"content-security-policy": _POLICY} if kind == "text/html" else {}
    return Response(data, media_type=f"{kind}; charset=utf-8", headers=headers)


@router.get("/", include_in_schema=False)
async def chat_page() -> Response:
    return _page("chat.html")


@router.get("/review", include_in_schema=False)
async def review_page() -> Response:
    return _page("review.html")


@router.get("/pages/{name}", include_in_schema=False)
async def part(name: str) -> Response:
    return _page(name)
