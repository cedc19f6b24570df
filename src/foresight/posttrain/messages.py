"""Messages as OpenAI writes them, read with an error that says where and what would be right."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.posttrain.chat import ROLES, Conversation, Message, Role

DATA_URL = "data:"
_WHENCE = ("a data: URL or a file", "a data: URL")


@dataclass(frozen=True)
class MessageReader:
    """`where`: "FILE, line N", or what else holds the messages; `folder`: what pictures' paths are
    relative to, None where none may be read."""

    where: str
    folder: Path | None

    def fail(self, name: str, got: object, expected: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(f"{self.where}, field {name}: {got!r:.120}; expected {expected}")

    def text(self, name: str, value: object) -> str:
        """The value, if it is a text that a file can hold."""
        if not isinstance(value, str):
            self.fail(name, value, "a text")
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(name, value, "text without halves of surrogate pairs")
        return value

    def messages(self, name: str, rows: object) -> Conversation:
        """One or more messages, a system message first or nowhere."""
        if not isinstance(rows, list) or not rows:
            self.fail(name, rows, 'a list of {"role", "content"}')
        found = tuple(self.message(f"{name}[{at}]", one) for at, one in enumerate(rows))
        for at, one in enumerate(found[1:], start=1):
            if one.role == "system":
                self.fail(f"{name}[{at}].role", "system", "the system message to be the first")
        return found

    def message(self, name: str, value: object) -> Message:
        """One turn."""
        if not isinstance(value, dict) or set(value) != {"role", "content"}:
            self.fail(name, value, '{"role", "content"} and no other field')
        role: Role = value["role"]
        if role not in ROLES:
            self.fail(f"{name}.role", role, f"one of {', '.join(ROLES)}")
        content = value["content"]
        if isinstance(content, str):
            return Message(role, (Text(self.text(f"{name}.content", content)),))
        if not isinstance(content, list):
            self.fail(f"{name}.content", content, "a text, or a list of parts")
        parts = [self._part(f"{name}.content[{at}]", one) for at, one in enumerate(content)]
        if role != "user" and any(isinstance(one, Image) for one in parts):
            self.fail(f"{name}.content", role, "pictures in a user's message only")
        return Message(role, tuple(parts))

    def _part(self, name: str, value: object) -> Text | Image:
        match value:
            case {"type": "text", "text": text, **rest} if not rest:
                return Text(self.text(f"{name}.text", text))
            case {"type": "image_url", "image_url": {"url": str(url)}, **rest} if not rest:
                return self.picture(f"{name}.image_url.url", url)
        self.fail(name, value, '{"type": "text", "text"} or '
                  '{"type": "image_url", "image_url": {"url"}}')  # fmt: skip

    def picture(self, name: str, url: str) -> Image:
        """Of a data: URL, or of a file where files may be read."""
        where = f"{self.where}, field {name}"
        if not url.startswith(DATA_URL):
            if "://" in url or self.folder is None:
                raise UserError(f"{where}: {url!r:.120}; expected "
                                f"{_WHENCE[self.folder is None]}; nothing is fetched from the "
                                "network")  # fmt: skip
            try:
                return Image.from_file(self.folder / url)
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
        head, _, data = url.partition(",")
        try:
            raw = base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise UserError(f"{where}: {head!r:.60} is no base64 ({error})") from None
        return Image.from_bytes(raw, where)
