"""The server of the pages on which people judge answers."""

from __future__ import annotations

import json
import re
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any

from foresight.errors import UserError
from foresight.evals.people.desk import Desk
from foresight.evals.people.entry import Entry
from foresight.report.local_server import LOCAL, LocalHandler, local_server
from foresight.report.scripted import scripted_page

LARGEST = 100_000
"""Bytes of what a page may say."""


def serve_people(
    desk: Desk[Any], kind: str, port: int, host: str = LOCAL[0]
) -> tuple[ThreadingHTTPServer, dict[str, str]]:
    """A server, not yet serving, and each person's address: whoever has it is that person.

    `kind`: "prefer" or "grade". `host`: an address of this machine, if people sit at others.
    Raises UserError if the port is taken or the address is none.
    """
    if not re.fullmatch(r"(\d+\.){3}\d+", host) or host == "0.0.0.0":
        raise UserError(f"host {host}: give the IPv4 address at which judges reach this machine")
    people = {desk.token(person): person for person in desk.people}
    html, policy = scripted_page("people.html", kind=kind)
    handler = partial(_Handler, desk, people, html.encode(), policy)
    server = local_server(handler, port, host)
    base = f"http://{host}:{server.server_port}"
    return server, {person: f"{base}/{token}/" for token, person in people.items()}


class _Handler(LocalHandler):
    """Paths are /TOKEN/..., and an unknown token gets nothing at all."""

    def __init__(
        self, desk: Desk[Entry], people: dict[str, str], page: bytes, policy: str, *args: Any
    ) -> None:
        self.desk, self.people, self.page, self.policy = desk, people, page, policy
        super().__init__(*args)

    def get(self) -> None:
        if (asked := self._asked()) is None:
            return
        person, path = asked
        picture = re.fullmatch(r"images/([0-9a-f]{64})\.png", path)
        file = self.desk.picture(picture[1]) if picture else None
        if path == "":
            policy = f"{self.policy}; frame-ancestors 'none'"
            self._answer(200, "text/html", self.page, Content_Security_Policy=policy)
        elif path == "card":
            self._json(self.desk.card(person))
        elif file is not None and file.is_file():
            self._answer(200, "image/png", file.read_bytes())
        else:
            self._answer(404, "text/plain", b"not here")

    def post(self) -> None:
        # Read first: what is left unread would be taken for the next request.
        body = self._body()
        if (asked := self._asked()) is None:
            return
        person, path = asked
        if body is None:
            self._answer(400, "text/plain", b"expected a JSON object")
        elif path == "undo" and isinstance(body.get("done"), int):
            self._json(self.desk.undo(person, body["done"]))
        elif path == "enter":
            try:
                self._json(self.desk.enter(person, body))
            except UserError as error:
                self._answer(400, "text/plain", str(error).encode(errors="replace"))
        else:
            self._answer(404, "text/plain", b"not here")

    def _asked(self) -> tuple[str, str] | None:
        """Who asks for what; None if it was refused."""
        _, _, asked = self.path.partition("?")[0].partition("/")
        token, _, path = asked.partition("/")
        person = self.people.get(token)
        if person is None:
            self._answer(404, "text/plain", b"not here: ask for the address that was printed")
            return None
        return person, path

    def _body(self) -> dict[str, Any] | None:
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

    def _json(self, value: dict[str, Any]) -> None:
        self._answer(200, "application/json", json.dumps(value, allow_nan=False).encode())

    def _answer(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        # The address is a secret: no page that is gone to from here is told it.
        self.send(status, kind, body, Referrer_Policy="no-referrer", **headers)
