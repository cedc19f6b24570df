"""A small HTTP server for the browsers of this machine."""

from __future__ import annotations

import json
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from foresight.errors import UserError

LOCAL = ("127.0.0.1", "localhost")
LARGEST = 100_000
"""Bytes of what a page may say."""


def local_server(
    handler: Callable[..., BaseHTTPRequestHandler], port: int, host: str = LOCAL[0]
) -> ThreadingHTTPServer:
    """Bound, not yet serving; port 0 takes any that is free. Raises UserError if the port is taken
    or the address is not this machine's."""
    if not re.fullmatch(r"(\d+\.){3}\d+", host) or host == "0.0.0.0":
        raise UserError(f"host {host}: give the IPv4 address at which judges reach this machine")
    try:
        return _Server((host, port), handler)
    except OSError as error:
        told = f"port {port} of {host}: {error.strerror}; --port 0 takes any that is free"
        raise UserError(told) from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that calls its question off closes the connection: that is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class LocalHandler(BaseHTTPRequestHandler, ABC):
    """What answers have in common."""

    protocol_version = "HTTP/1.1"
    # Many small answers on one connection: without it each waits for the last one's receipt.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        if self._asked_here():
            self.get()

    def do_POST(self) -> None:
        if self._asked_here():
            self.post()

    @abstractmethod
    def get(self) -> None:
        """Answer a GET."""

    def post(self) -> None:
        """Answer a POST."""
        self.close_connection = True
        self.send(405, "text/plain", b"GET only")

    def _asked_here(self) -> bool:
        """Whether the address is this server's own; else it is refused. Another site's name that
        was pointed here (DNS rebinding) must not read anything."""
        try:
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        except ValueError:
            host = None
        own, _ = self.connection.getsockname()
        if host in (LOCAL if own in LOCAL else (own,)):
            return True
        # The body, if there is one, is not read: nothing may follow it.
        self.close_connection = True
        self.send(403, "text/plain", f"ask for {own}".encode())
        return False

    def send(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        """A whole answer; further headers are named with _ for -."""
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal belongs to the command."""


class TokenHandler(LocalHandler):
    """A page at /TOKEN/ and what it asks for below; an unknown token gets nothing at all. `people`:
    names by token; `page` and `policy`: its HTML and content security policy."""

    def __init__(self, people: Mapping[str, str], page: bytes, policy: str, *args: Any) -> None:
        self.people, self.page, self.policy = people, page, policy
        super().__init__(*args)

    @abstractmethod
    def tell(self, person: str, path: str) -> dict[str, Any] | bytes | None:
        """What is asked for: an object, a PNG, or None: there is no such thing."""

    @abstractmethod
    def take(self, person: str, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """What is said to what was sent; None: there is no such thing. May raise UserError."""

    def get(self) -> None:
        if (asked := self.asked()) is None:
            return
        if asked[1] == "":
            policy = f"{self.policy}; frame-ancestors 'none'"
            self.answer(200, "text/html", self.page, Content_Security_Policy=policy)
        elif isinstance(found := self.tell(*asked), bytes):
            self.answer(200, "image/png", found)
        else:
            self.json(found)

    def post(self) -> None:
        # Read first: what is left unread would be taken for the next request.
        body = self.body()
        if (asked := self.asked()) is None:
            return
        if body is None:
            self.answer(400, "text/plain", b"expected a JSON object")
            return
        try:
            self.json(self.take(*asked, body))
        except UserError as error:
            self.answer(400, "text/plain", str(error).encode(errors="replace"))

    def asked(self) -> tuple[str, str] | None:
        """Who asks for what; None if it was refused."""
        _, _, asked = self.path.partition("?")[0].partition("/")
        token, _, path = asked.partition("/")
        person = self.people.get(token)
        if person is None:
            self.answer(404, "text/plain", b"not here: ask for the address that was printed")
            return None
        return person, path

    def body(self) -> dict[str, Any] | None:
        """The JSON object of a request. Another site's page cannot send one: that takes a content
        type for which its browser asks first, and is not answered."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,6}", length) or int(length) > LARGEST:
            self.close_connection = True
            return None
        raw = self.rfile.read(int(length))
        if self.headers.get_content_type() != "application/json":
            return None
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def json(self, value: dict[str, Any] | None) -> None:
        if value is None:
            self.answer(404, "text/plain", b"not here")
        else:
            self.answer(200, "application/json", json.dumps(value, allow_nan=False).encode())

    def answer(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        # The address is a secret: no page that is gone to from here is told it.
        self.send(status, kind, body, Referrer_Policy="no-referrer", **headers)
