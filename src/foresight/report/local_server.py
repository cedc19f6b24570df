"""A small HTTP server for the browsers of this machine."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from foresight.errors import UserError

LOCAL = ("127.0.0.1", "localhost")


def local_server(
    handler: Callable[..., BaseHTTPRequestHandler], port: int, host: str = LOCAL[0]
) -> ThreadingHTTPServer:
    """Bound, not yet serving; port 0 takes any that is free. Raises UserError if the port is taken
    or the address is not this machine's."""
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
