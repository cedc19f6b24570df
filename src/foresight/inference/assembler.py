"""The text of an answer while it grows: whole characters only, and nothing of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Assembler:
    """Text of tokens as they come. `text` is settled, `stopped` says that a stop string came."""

    def __init__(self, token_bytes: Sequence[bytes], stop: Sequence[str]) -> None:
        self._bytes, self._stop = token_bytes, stop
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._settled: list[str] = []
        self.stopped = False

    @property
    def text(self) -> str:
        return "".join(self._settled)

    def push(self, token: int) -> str:
        """Text that a token settles: all but what may still become a stop string or character."""
        return self._settle(self._decoder.decode(self._bytes[token]), final=False)

    def finish(self) -> str:
        """What was held back, once no token follows."""
        return self._settle(self._decoder.decode(b"", final=True), final=True)

    def _settle(self, new: str, final: bool) -> str:
        if self.stopped:
            return ""
        text = self._pending + new
        found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, text, keep = True, text[: min(found)], 0
        else:
            keep = 0 if final else self._held_back(text)
        settled = text[: len(text) - keep]
        self._pending = text[len(text) - keep :]
        self._settled.append(settled)
        return settled

    def _held_back(self, text: str) -> int:
        """Length of the longest end of `text` with which a stop string begins."""
        longest = 0
        for stop in self._stop:
            for size in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:size]):
                    longest = size
                    break
        return longest
