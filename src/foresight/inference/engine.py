"""One engine for evaluations, rollouts and the server: continuous batching over one cache.

A request becomes rows: one per completion, or one for the continuations of a prompt. A row takes a
slot of the cache, is read (in pieces, so that a long prompt does not hold up those that decode),
and then decodes one token a step beside the others, or is scored and done. A prompt that begins
like what some slot holds is copied from there and only its rest is read: few-shot prompts, n
completions, chats that go on. One that begins like a prompt still being read waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foresight.data.tokenizer import EOS, IMG, SPECIAL_TOKENS, Tokenizer
from foresight.document import IM_END
from foresight.errors import UserError
from foresight.inference.cache import Cache, common_length
from foresight.inference.checkpoints import load_model
from foresight.inference.drawing import draw
from foresight.inference.language_model import Completion, GenerateRequest, Score, ScoreRequest
from foresight.inference.network import Network, Segment
from foresight.inference.prompt import Prompt, encode_continuations, encode_prompt, printable
from foresight.inference.rows import (
    Alternatives,
    GenerateRow,
    Piece,
    Row,
    ScoreRow,
    pack_tails,
)
from foresight.model.decoder import Decoder
from foresight.model.parametrisation import compute_dtype

SHARED = 16
"""A common beginning shorter than this is read again rather than copied."""
LOOKAHEAD = 64
"""Waiting rows that are looked at for one that can start."""
TAKEN = np.iinfo(np.int64).max
"""Later than any step: a slot that is taken is never the one that was released first."""
ENDS = (EOS, IM_END)
FORBIDDEN = tuple(token for token in range(len(SPECIAL_TOKENS)) if token not in ENDS)
"""Never drawn: marks of pictures and turns, reserved tokens."""


class Ticket:
    """A request that was handed in; `open`: rows that are not answered yet."""

    def __init__(
        self,
        rows: Sequence[GenerateRow | ScoreRow],
        on_done: Callable[[tuple[Any, ...]], None],
        on_text: Callable[[int, str], None] | None,
    ) -> None:
        self.rows, self.on_done, self.on_text = rows, on_done, on_text
        self.open = len(rows)

    def answers(self) -> tuple[Any, ...]:
        """Completions or scores, when no row is open."""
        found: list[Any] = []
        for row in self.rows:
            answer = row.answer()
            found += answer if isinstance(answer, tuple) else [answer]
        return tuple(found)


class Engine:
    """Answers from a checkpoint; implements `LanguageModel`.

    `batch`: sequences at a time at most; `memory_bytes`: bound of keys and values, which lowers
    `batch` if need be (UserError if not one sequence of the model's context fits);
    `read_tokens`: prompt tokens a step, about; `keep_end`: of a text that is too long for
    itself and what is to follow (of an answer, up to half of the context) the beginning is dropped,
    as lm-evaluation-harness does, instead of a UserError.
    """

    def __init__(
        self,
        model: Decoder,
        tokenizer: Tokenizer,
        name: str,
        *,
        batch: int = 32,
        memory_bytes: int = 2 << 30,
        read_tokens: int = 1024,
        keep_end: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.name, self.tokenizer, self.shape = name, tokenizer, model.spec.shape
        self.network = Network(model, dtype or compute_dtype(model.spec))
        each = self.shape.context * Cache.bytes_per_position(self.shape, self.network.dtype)
        if memory_bytes < each:
            raise UserError(
                f"memory_bytes {memory_bytes:,}: one sequence of {self.shape.context} positions "
                f"needs {each:,}"
            )
        slots = min(batch, memory_bytes // each)
        self.cache = Cache(self.shape, slots, self.network.dtype, self.network.device)
        self.read_tokens, self.keep_end = read_tokens, keep_end
        self._forbidden = torch.tensor(FORBIDDEN, device=self.network.device)
        self._owner: list[GenerateRow | ScoreRow | None] = [None] * slots
        self._released = np.zeros(slots, np.int64)  # step at which a slot was released, or TAKEN
        self._decoding = 0  # slots in front whose rows decode
        self._steps = 0
        self._waiting: deque[GenerateRow | ScoreRow] = deque()
        self._ticket: dict[GenerateRow | ScoreRow, Ticket] = {}

    @classmethod
    def load(cls, run: Path, **settings: Any) -> Engine:
        """The newest checkpoint of a run directory. Raises UserError."""
        return cls(*load_model(run), **settings)

    def submit(
        self,
        request: GenerateRequest | ScoreRequest,
        on_done: Callable[[tuple[Any, ...]], None],
        on_text: Callable[[int, str], None] | None = None,
    ) -> Ticket:
        """Queue a request that `step` will answer. Raises UserError if it never could.

        `on_done(answers)` is called once, `on_text(completion, settled text)` as text comes.
        """
        rows = self._rows(request)
        ticket = Ticket(rows, on_done, on_text)
        self._ticket |= dict.fromkeys(rows, ticket)
        self._waiting += rows
        for row in rows:  # nothing may be asked for: max_tokens 0
            if row.answered:
                self._waiting.remove(row)
                self._close(row)
        return ticket

    def _rows(self, request: GenerateRequest | ScoreRequest) -> list[GenerateRow | ScoreRow]:
        context, patch = self.shape.context, self.shape.patch
        if isinstance(request, ScoreRequest):
            prompt, tails = encode_continuations(
                request.prompt, request.continuations, self.tokenizer, patch
            )
            prompt = self._fit(prompt, max(map(len, tails)))
            groups = pack_tails(len(prompt), tails, context)
            return [ScoreRow(prompt, group, request.top) for group in groups]
        # A prompt that is cut anyway leaves room for the answer, up to half of the context.
        beyond = max(min(request.sampling.max_tokens, context // 2), 1) if self.keep_end else 1
        prompt = self._fit(encode_prompt(request.prompt, self.tokenizer, patch), beyond)
        return [
            GenerateRow(prompt, request.sampling, sample, self.tokenizer, context)
            for sample in range(request.n)
        ]

    def _fit(self, prompt: Prompt, beyond: int) -> Prompt:
        """The prompt, with room for `beyond` tokens of which the last is never read."""
        room = self.shape.context - beyond + 1
        if not len(prompt):
            raise UserError("prompt: no token; ids need at least the begin mark")
        if len(prompt) <= room:
            return prompt
        if not self.keep_end or room < 1:
            raise UserError(
                f"prompt: {len(prompt)} positions and {beyond} to follow do not fit the context "
                f"of {self.shape.context}; shorten the text or use a smaller image"
            )
        return prompt.end(room)

    def cancel(self, ticket: Ticket) -> None:
        """Give up what is open of a request; what was generated so far is its answer."""
        for row in ticket.rows:
            if not row.answered:
                if row.slot is None:
                    self._waiting.remove(row)
                else:
                    self._release(row)
                row.cancel()
                self._close(row)

    def cancel_all(self) -> None:
        """Give up all that is open."""
        for ticket in set(self._ticket.values()):
            self.cancel(ticket)

    @property
    def busy(self) -> bool:
        """Whether a request is open."""
        return bool(self._ticket)

    @torch.no_grad()
    def step(self) -> int:
        """One forward pass: a token for every row that decodes, pieces of those to be read; how
        many tokens were drawn."""
        self._steps += 1
        self._admit()
        decoding = [row for row in self._owner[: self._decoding] if isinstance(row, GenerateRow)]
        pieces = self._pieces()
        if decoding or pieces:
            return self._advance(decoding, pieces, self._forward(decoding, pieces))
        return 0

    # Rows and slots

    def _admit(self) -> None:
        """Give free slots to waiting rows."""
        passed: list[GenerateRow | ScoreRow] = []
        reading = [row for row in self._owner[self._decoding :] if row is not None]
        while self._waiting and len(passed) < LOOKAHEAD:
            slot = int(self._released.argmin())  # the one that was released first
            if self._owner[slot] is not None:
                break
            row = self._waiting.popleft()
            shared = self.cache.common(row.prompt.keys)
            best = int(shared.argmax())
            most = int(shared[best])
            if _is_being_read(row, most, reading):
                passed.append(row)
                continue
            # At least one token is read: its logits are wanted.
            row.done = min(most, len(row.prompt) - 1) if most >= SHARED else 0
            if row.done and self._owner[best] is None:
                slot = best
            self.cache.reserve(row.room)
            self.cache.copy(best, slot, row.done)
            row.slot, self._owner[slot], self._released[slot] = slot, row, TAKEN
            if isinstance(row, GenerateRow) and row.done == len(row.prompt) - 1:
                row.done += 1
                self._promote(row)
            else:
                reading.append(row)
        self._waiting.extendleft(reversed(passed))

    def _release(self, row: GenerateRow | ScoreRow) -> None:
        """Free a row's slot; what it holds stays until it is needed."""
        assert row.slot is not None
        if row.slot < self._decoding:
            self._decoding -= 1
            self._exchange(row.slot, self._decoding)
        self._owner[row.slot] = None
        self._released[row.slot] = self._steps
        row.slot = None

    def _promote(self, row: GenerateRow) -> None:
        """To the front, among those that decode."""
        assert row.slot is not None
        self._exchange(row.slot, self._decoding)
        self._decoding += 1

    def _exchange(self, one: int, other: int) -> None:
        self.cache.swap(one, other)
        self._owner[one], self._owner[other] = self._owner[other], self._owner[one]
        self._released[[one, other]] = self._released[[other, one]]
        for slot in (one, other):
            owner = self._owner[slot]
            if owner is not None:
                owner.slot = slot

    def _close(self, row: GenerateRow | ScoreRow) -> None:
        """Tell a ticket's owner once its last row is answered."""
        ticket = self._ticket.pop(row)
        ticket.open -= 1
        if not ticket.open:
            ticket.on_done(ticket.answers())

    # The forward pass

    def _pieces(self) -> list[Piece]:
        """What is read in this step: `read_tokens` in all, of as many rows as that holds."""
        pieces: list[Piece] = []
        left = self.read_tokens
        for row in self._owner[self._decoding :]:
            if row is not None and left > 0:
                pieces.append(row.piece(left))
                left -= pieces[-1].count
        return pieces

    def _forward(self, decoding: Sequence[GenerateRow], pieces: Sequence[Piece]) -> Tensor:
        """Hidden states of the tokens drawn last and then of the pieces, (N, d)."""
        last = np.array([row.last for row in decoding], np.int64)
        where = self.cache.length[: len(decoding)].copy()
        for row, (position, token) in enumerate(zip(where.tolist(), last, strict=True)):
            self.cache.put(row, position, token[None])
        segments = []
        for piece in pieces:
            slot = piece.row.slot
            assert slot is not None, "only rows in a slot are read"
            end = min(piece.start + piece.count, len(piece.row.prompt))
            self.cache.put(slot, piece.start, piece.row.prompt.keys[piece.start : end])
            segments.append(Segment(slot, piece.start, piece.count, piece.mask))
        ids = np.concatenate([last, *(piece.ids for piece in pieces)])
        positions = np.concatenate([where, *(piece.positions for piece in pieces)])
        patches = np.concatenate([np.zeros((0, 3 * self.shape.patch**2), np.uint8),
                                  *(piece.patches for piece in pieces)])  # fmt: skip
        device = self.network.device
        embedded = self.network.embed(
            torch.from_numpy(ids).to(device),
            torch.from_numpy(np.flatnonzero(ids == IMG)).to(device),
            torch.from_numpy(patches),
        )
        return self.network.hidden(
            embedded, torch.from_numpy(positions).to(device), self.cache, len(decoding), segments
        )

    def _advance(
        self, decoding: Sequence[GenerateRow], pieces: Sequence[Piece], hidden: Tensor
    ) -> int:
        """Draw and score from the hidden states; finish, promote and free rows."""
        drawing, at = list(decoding), list(range(len(decoding)))
        scoring: list[ScoreRow] = []
        asked: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        end = len(decoding)
        for piece in pieces:
            end += piece.count
            row = piece.row
            row.done = min(row.done + piece.count, len(row.prompt))
            if row.done < len(row.prompt):
                continue
            if isinstance(row, ScoreRow):
                scoring.append(row)
                asked.append(end + row.asked()[0])
            else:
                assert isinstance(row, GenerateRow)
                drawing.append(row)
                at.append(end - 1)
        if scoring:
            self._score(scoring, hidden[np.concatenate(asked)])
        if not drawing:
            return 0
        drawn = draw(
            self.network.logits(hidden[at]),
            [row.sampling for row in drawing],
            [row.stream for row in drawing],
            self._forbidden,
            {at: row.guide.allowed() for at, row in enumerate(drawing) if row.guide},
        )
        for row, token in zip(drawing, drawn, strict=True):
            self._push(row, token)
        return len(drawn)

    def _push(self, row: GenerateRow, token: Any) -> None:
        text = row.push(token, ENDS)
        ticket = self._ticket[row]
        if text and ticket.on_text:
            ticket.on_text(row.sample, text)
        if row.slot is None:  # given up by the one that was told
            return
        if row.finish:
            self._release(row)
            self._close(row)
        elif row.slot >= self._decoding:
            self._promote(row)

    def _score(self, rows: Sequence[ScoreRow], hidden: Tensor) -> None:
        """Answer rows from the hidden states that predict their continuations' tokens."""
        wanted = torch.from_numpy(np.concatenate([row.asked()[1] for row in rows]))
        wanted = wanted.to(hidden.device)
        logits = self.network.logits(hidden)
        greedy = (logits.gather(1, wanted[:, None])[:, 0] >= logits.amax(dim=-1)).tolist()
        # One subtraction for the token and its alternatives: clients compare them for equality.
        plain = logits.log_softmax(dim=-1)
        logprobs = plain.gather(1, wanted[:, None])[:, 0].tolist()
        first = 0
        for row in rows:
            part = slice(first, first + sum(map(len, row.tails)))
            row.take(logprobs[part], greedy[part], self._alternatives(plain[part], row.top))
            first = part.stop
            self._release(row)
            self._close(row)

    def _alternatives(self, plain: Tensor, count: int) -> list[Alternatives]:
        """The likeliest tokens at each place of log-probabilities (n, V)."""
        if not count:
            return []
        values, ids = plain.topk(min(count, plain.shape[1]), dim=-1)
        return [
            tuple((token, printable(token, self.tokenizer), nats) for token, nats in pairs)
            for pairs in (
                zip(*row, strict=True) for row in zip(ids.tolist(), values.tolist(), strict=True)
            )
        ]

    # The protocol

    def generate(
        self,
        requests: Sequence[GenerateRequest],
        on_done: Callable[[int, tuple[Completion, ...]], None] | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Completions of each request, in order. Raises UserError before any is begun."""
        return self._answer(requests, on_done)

    def score(
        self,
        requests: Sequence[ScoreRequest],
        on_done: Callable[[int, tuple[Score, ...]], None] | None = None,
    ) -> list[tuple[Score, ...]]:
        """Scores of continuations, per request, in order. Raises UserError before any is begun."""
        return self._answer(requests, on_done)

    def _answer(
        self,
        requests: Sequence[GenerateRequest | ScoreRequest],
        on_done: Callable[[int, tuple[Any, ...]], None] | None,
    ) -> list[tuple[Any, ...]]:
        answers: dict[int, tuple[Any, ...]] = {}

        def note(index: int, found: tuple[Any, ...]) -> None:
            answers[index] = found
            if on_done:
                on_done(index, found)

        tickets: list[Ticket] = []
        try:
            for index, request in enumerate(requests):
                tickets.append(self.submit(request, lambda found, index=index: note(index, found)))  # type: ignore[misc]
            # Neighbours in this order share most of their beginnings.
            self._waiting = deque(sorted(self._waiting, key=lambda row: row.prompt.keys.tolist()))
            while len(answers) < len(requests):
                self.step()
        finally:
            on_done = None
            for ticket in tickets:
                self.cancel(ticket)
        return [answers[index] for index in range(len(requests))]


def _is_being_read(row: Row, shared: int, reading: Sequence[Row]) -> bool:
    """Whether one of `reading` will hold much more of this row's beginning."""
    keys, at = row.prompt.keys, shared + SHARED - 1
    if len(keys) <= at:
        return False
    return any(
        other.done < len(other.prompt) > at
        # One number first: most prompts differ there.
        and other.prompt.keys[at] == keys[at]
        and common_length(other.prompt.keys, keys) > at
        for other in reading
    )
