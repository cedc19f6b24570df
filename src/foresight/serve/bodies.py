"""Bodies of requests: OpenAI's fields with OpenAI's ranges; what is not offered is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# Strict: a truth value is no number, and "1" is a text.
_BASE = ConfigDict(extra="forbid", strict=True)
_Neutral = Annotated[float, Field(ge=0.0, le=0.0)]
_Nothing = Annotated[list[Any], Field(max_length=0)]
_Text = Annotated[str, Field(max_length=4_000_000)]
_Stop = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
TokenId = Annotated[int, Field(ge=0)]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class TextPart(BaseModel):
    model_config = _BASE
    type: Literal["text"]
    text: _Text


class ImageURL(BaseModel):
    model_config = _BASE
    url: Annotated[str, Field(pattern="^data:image/")]
    """A data: URL; nothing is fetched from the network."""
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(BaseModel):
    model_config = _BASE
    type: Literal["image_url"]
    image_url: ImageURL


class ChatMessage(BaseModel):
    """`developer` is `system`."""

    model_config = _BASE
    role: Literal["system", "developer", "user", "assistant"]
    content: _Text | Annotated[list[TextPart | ImagePart], Field(max_length=256)]
    name: Name | None = None


class StreamOptions(BaseModel):
    model_config = _BASE
    include_usage: bool = False
    include_obfuscation: bool | None = None


class JsonSchema(BaseModel):
    model_config = _BASE
    name: Name = "answer"
    description: _Text | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class AsText(BaseModel):
    model_config = _BASE
    type: Literal["text"]


class AsJson(BaseModel):
    model_config = _BASE
    type: Literal["json_object"]


class AsSchema(BaseModel):
    model_config = _BASE
    type: Literal["json_schema"]
    json_schema: JsonSchema


class Drawing(BaseModel):
    """Fields that chat and completions share."""

    model_config = _BASE

    model: Name
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: Annotated[list[_Stop], Field(max_length=16), BeforeValidator(_listed)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    logit_bias: (
        dict[
            Annotated[str, Field(pattern="^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]
        ]
        | None
    ) = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: _Neutral | None = None
    frequency_penalty: _Neutral | None = None
    user: Name | None = None
    safety_identifier: Name | None = None
    """Whoever uses the client, hashed by it: violations are counted for them."""

    @property
    def subject(self) -> str | None:
        return self.safety_identifier or self.user


class ChatBody(Drawing):
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1024)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: Annotated[AsText | AsJson | AsSchema, Field(discriminator="type")] | None = (
        None
    )
    tools: _Nothing | None = None
    tool_choice: Literal["none", "auto"] | None = None
    modalities: list[Literal["text"]] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None


class CompletionBody(Drawing):
    prompt: (
        _Text
        | Annotated[list[_Text], Field(min_length=1, max_length=1024)]
        | Annotated[list[TokenId], Field(min_length=1)]
        | Annotated[list[Annotated[list[TokenId], Field(min_length=1)]], Field(min_length=1)]
    )
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    best_of: Annotated[int, Field(ge=1, le=128)] | None = None
    suffix: Annotated[str, Field(max_length=0)] | None = None


class InputText(BaseModel):
    model_config = _BASE
    type: Literal["input_text"]
    text: _Text


class InputImage(BaseModel):
    model_config = _BASE
    type: Literal["input_image"]
    image_url: Annotated[str, Field(pattern="^data:image/")]
    detail: Literal["auto", "low", "high", "original"] | None = None


class InputMessage(BaseModel):
    model_config = _BASE
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: _Text | Annotated[list[InputText | InputImage], Field(max_length=256)]


class Predicate(BaseModel):
    """How likely a statement about the input is true."""

    model_config = _BASE
    type: Literal["predicate"]
    instructions: _Text
    name: Name | None = None


class Option(BaseModel):
    model_config = _BASE
    value: Name | bool
    description: _Text | None = None


class Choice(BaseModel):
    model_config = _BASE
    type: Literal["choice"]
    instructions: _Text
    choices: Annotated[list[Option], Field(min_length=2, max_length=255)]
    name: Name | None = None


class Level(BaseModel):
    model_config = _BASE
    label: Name
    description: _Text | None = None


class Rating(BaseModel):
    """Levels in their order, the lowest first."""

    model_config = _BASE
    type: Literal["score"]
    instructions: _Text
    levels: Annotated[list[Level], Field(min_length=2, max_length=255)]
    name: Name | None = None


Question = Annotated[Predicate | Choice | Rating, Field(discriminator="type")]


class DecisionBody(BaseModel):
    model_config = _BASE
    model: Name
    input: _Text | Annotated[list[InputMessage], Field(min_length=1, max_length=1024)]
    questions: Annotated[list[Question], Field(min_length=1, max_length=200)]
    safety_identifier: Name | None = None


class ModerationText(BaseModel):
    model_config = _BASE
    type: Literal["text"]
    text: _Text


class ModerationBody(BaseModel):
    model_config = _BASE
    input: (
        _Text
        | Annotated[list[_Text], Field(min_length=1, max_length=256)]
        | Annotated[list[ModerationText], Field(min_length=1, max_length=256)]
    )
    model: Name | None = None


class TokenizeBody(BaseModel):
    """A text, or messages as they are put to the model."""

    model_config = _BASE
    model: Name
    prompt: _Text | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1024)] | None = None
    add_special_tokens: bool = True
    return_token_strs: bool = False


class DetokenizeBody(BaseModel):
    model_config = _BASE
    model: Name
    tokens: Annotated[list[TokenId], Field(max_length=1_000_000)]


class FeedbackBody(BaseModel):
    """What whoever read an answer says of it."""

    model_config = _BASE
    request_id: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")]
    verdict: Literal["better", "worse", "unsafe"]
    why: Annotated[str, Field(max_length=2000)] = ""


class SwapBody(BaseModel):
    """Path of a run directory, or of a file of a policy."""

    model_config = _BASE
    path: Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]+$")]


class LabelBody(BaseModel):
    """`better`: what should have been answered."""

    model_config = _BASE
    verdict: Name
    better: Annotated[str, Field(max_length=100_000)] = ""
    note: Annotated[str, Field(max_length=2000)] = ""


class LiftBody(BaseModel):
    model_config = _BASE
    subject: Name
    why: Annotated[str, Field(max_length=2000)] = ""
