"""Models, and texts as they see them: /v1/models, /tokenize, /detokenize, /tokenizer_info."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from foresight.data.tokenizer import BOS, EOS
from foresight.document import Part, Text
from foresight.errors import UserError
from foresight.inference.prompt import encode_prompt, printable
from foresight.posttrain.chat import CHAT_TEMPLATE, render_prompt
from foresight.serve import prompts
from foresight.serve.bodies import DetokenizeBody, SwapBody, TokenizeBody
from foresight.serve.errors import ServiceError
from foresight.serve.pool import Served
from foresight.serve.service import ERRORS, service_of

router = APIRouter()


def _model(served: Served) -> dict[str, Any]:
    return {
        "id": served.name, "object": "model", "created": served.since, "owned_by": "foresight",
        "weights": served.weights, "context": served.about.context,
        "patch": served.about.patch,
        "parameters": served.about.parameters,
    }  # fmt: skip


@router.get("/v1/models", responses=ERRORS)
async def models(request: Request) -> dict[str, Any]:
    """The models that are served."""
    return {"object": "list", "data": [_model(one) for one in service_of(request).pool.all]}


@router.get("/v1/models/{name}", responses=ERRORS)
async def model(name: str, request: Request) -> dict[str, Any]:
    """One of them."""
    return _model(service_of(request).pool.get(name))


@router.post("/tokenize", responses=ERRORS)
async def tokenize(body: TokenizeBody, request: Request) -> dict[str, Any]:
    """Ids of a text, or of messages as they are put to the model."""
    service = service_of(request)
    served = service.pool.get(body.model)
    if (body.prompt is None) == (body.messages is None):
        raise ServiceError(400, "give either prompt or messages", param="prompt")
    parts: tuple[Part, ...] = (Text(body.prompt or ""),)
    try:
        if body.messages is not None:
            parts = render_prompt(prompts.conversation(body.messages, service.settings.limits))
        found = encode_prompt(parts, served.tokenizer, served.about.patch or 1)
    except UserError as error:
        raise ServiceError(400, str(error), "invalid_messages", "messages") from None
    ids = found.ids.tolist()
    if body.messages is None and not body.add_special_tokens:
        ids = ids[1:]
    answer: dict[str, Any] = {
        "count": len(ids), "max_model_len": served.about.context, "tokens": ids
    }  # fmt: skip
    if body.return_token_strs:
        answer["token_strs"] = [printable(one, served.tokenizer) for one in ids]
    return answer


@router.post("/detokenize", responses=ERRORS)
async def detokenize(body: DetokenizeBody, request: Request) -> dict[str, str]:
    """The text of ids, special tokens left out."""
    served = service_of(request).pool.get(body.model)
    tokenizer = served.tokenizer
    if wrong := [one for one in body.tokens if one >= tokenizer.size]:
        raise ServiceError(
            400, f"tokens: {wrong[0]} is none of the {tokenizer.size}", param="tokens"
        )
    return {"prompt": tokenizer.decode(body.tokens)}


@router.get("/tokenizer_info", responses=ERRORS)
async def tokenizer_info(request: Request) -> dict[str, Any]:
    """How each model's texts become tokens."""
    return {
        "models": [
            {
                "id": one.name,
                "vocab_size": one.tokenizer.size,
                "bos_token": printable(BOS, one.tokenizer),
                "eos_token": printable(EOS, one.tokenizer),
                "chat_template": CHAT_TEMPLATE,
            }
            for one in service_of(request).pool.all
            if one.about.tokenizer
        ]
    }


@router.post("/admin/models/{name}", responses=ERRORS)
async def swap(name: str, body: SwapBody, request: Request) -> dict[str, Any]:
    """Serve another run under a name, or a new name; whoever asked before is still answered by
    what was there."""
    try:
        return _model(await service_of(request).pool.load(name, body.path))
    except UserError as error:
        raise ServiceError(400, str(error), "cannot_load", "path") from None
