"""Continue a prompt of text and images, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from foresight.data.shards import Encoded
from foresight.data.tokenizer import EOS, PAD, SPECIAL_TOKENS, Tokenizer
from foresight.document import Image, Text
from foresight.inference.prompt import encode_prompt, to_batch
from foresight.model.decoder import Decoder


@torch.no_grad()
def sample(
    model: Decoder,
    tokenizer: Tokenizer,
    parts: Sequence[Text | Image],
    max_tokens: int,
    temperature: float,
    seed: int,
) -> Iterator[int]:
    """Ids that continue the prompt, until an end mark, `max_tokens` or the end of the context.

    temperature 0 takes the likeliest token; special tokens other than the end mark are
    never drawn. Raises UserError if the prompt does not fit.
    """
    prompt = encode_prompt(parts, tokenizer, model.spec)
    tokens = prompt.tokens
    generator = torch.Generator().manual_seed(seed)
    for _ in range(min(max_tokens, model.spec.shape.context - len(tokens))):
        # The last input is the last token: a pad target stands in for what is to be drawn.
        sequence = np.append(tokens, PAD).astype(np.uint16)
        weights = np.zeros(len(sequence), np.float16)
        batch = to_batch([Encoded(sequence, weights, prompt.patches)])
        logits = model.logits(model.inputs(batch))[-1]
        logits[[index for index in range(len(SPECIAL_TOKENS)) if index != EOS]] = -torch.inf
        if temperature == 0:
            chosen = int(logits.argmax())
        else:
            chances = torch.softmax(logits / temperature, dim=-1)
            chosen = int(torch.multinomial(chances, 1, generator=generator))
        if chosen == EOS:
            return
        tokens = np.append(tokens, chosen).astype(np.uint16)
        yield chosen
