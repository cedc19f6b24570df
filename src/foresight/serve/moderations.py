"""The policy asked, and changed: POST /v1/moderations, POST /admin/policy."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from foresight.errors import UserError
from foresight.serve.bodies import ModerationBody, SwapBody
from foresight.serve.decisions import judge_of
from foresight.serve.errors import ServiceError
from foresight.serve.policy import Policy
from foresight.serve.service import ERRORS, service_of

router = APIRouter()


@router.post("/v1/moderations", responses=ERRORS)
async def moderate(body: ModerationBody, request: Request) -> dict[str, Any]:
    """Of each text, the categories of the policy: how much there is of each, and whether it would
    be flagged. Nothing is kept or blocked."""
    watch = service_of(request).watch
    given = [body.input] if isinstance(body.input, str) else body.input
    texts = [one if isinstance(one, str) else one.text for one in given]
    results = []
    for text in texts:
        verdict = await watch.judge.judge("input", text)
        flagged = {
            one.name: one.action(verdict.scores.get(one.name, 0.0)) != "allow"
            for one in watch.policy.categories
        }
        results.append({
            "flagged": any(flagged.values()),
            "categories": flagged,
            "category_scores": {name: verdict.scores.get(name, 0.0) for name in flagged},
            "category_applied_input_types": {name: ["text"] for name in flagged},
        })  # fmt: skip
    id = f"modr-{request.scope['state']['request_id']}"
    return {"id": id, "model": watch.policy.label, "results": results}


@router.post("/admin/policy", responses=ERRORS)
async def adopt(body: SwapBody, request: Request) -> dict[str, Any]:
    """Judge by another policy from the next request on."""
    service = service_of(request)
    try:
        policy = await asyncio.to_thread(Policy.read, Path(body.path))
        judge = await asyncio.to_thread(judge_of, policy, service.pool, service.settings)
    except UserError as error:
        raise ServiceError(400, str(error), "cannot_load", "path") from None
    service.watch.adopt(policy, judge)
    return {"policy": policy.label}
