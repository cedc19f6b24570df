"""POST /v1/moderations: what the policy's judges say of texts; nothing is kept or blocked."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from foresight.serve.bodies import ModerationBody
from foresight.serve.service import ERRORS, service_of

router = APIRouter()


@router.post("/v1/moderations", responses=ERRORS)
async def moderate(body: ModerationBody, request: Request) -> dict[str, Any]:
    """Of each text, the categories of the policy: how much there is of each, and whether it would
    be flagged."""
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
