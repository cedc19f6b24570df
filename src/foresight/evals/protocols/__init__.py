"""Ways of putting an item to a model, one file each."""

from foresight.evals.protocols.choice_generate import ChoiceGenerate
from foresight.evals.protocols.choice_logprob import ChoiceLogprob
from foresight.evals.protocols.cloze import Cloze
from foresight.evals.protocols.code import Code
from foresight.evals.protocols.free_response import FreeResponse
from foresight.evals.protocols.protocol import Answer, Attempt, Emit, Protocol

PROTOCOLS: dict[str, type[Protocol]] = {
    "choice_logprob": ChoiceLogprob,
    "choice_generate": ChoiceGenerate,
    "cloze": Cloze,
    "free_response": FreeResponse,
    "code": Code,
}

__all__ = [
    "PROTOCOLS", "Answer", "Attempt", "ChoiceGenerate", "ChoiceLogprob", "Cloze", "Code", "Emit",
    "FreeResponse", "Protocol",
]  # fmt: skip
