"""The server of the pages on which people judge answers."""

from __future__ import annotations

import re
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any

from foresight.errors import UserError
from foresight.evals.people.desk import Desk
from foresight.evals.people.entry import Entry
from foresight.report.local_server import LOCAL, TokenHandler, local_server
from foresight.report.scripted import scripted_page


def serve_people(
    desk: Desk[Any], kind: str, port: int, host: str = LOCAL[0]
) -> tuple[ThreadingHTTPServer, dict[str, str]]:
    """A server, not yet serving, and each person's address: whoever has it is that person.

    `kind`: "prefer" or "grade". `host`: an address of this machine, if people sit at others.
    Raises UserError if the port is taken or the address is none.
    """
    people = {desk.token(person): person for person in desk.people}
    html, policy = scripted_page("people.html", kind=kind)
    handler = partial(_Handler, desk, people, html.encode(), policy)
    server = local_server(handler, port, host)
    base = f"http://{host}:{server.server_port}"
    return server, {person: f"{base}/{token}/" for token, person in people.items()}


class _Handler(TokenHandler):
    """A desk's pages."""

    def __init__(
        self, desk: Desk[Entry], people: dict[str, str], page: bytes, policy: str, *args: Any
    ) -> None:
        self.desk, self.page, self.policy = desk, page, policy
        super().__init__(people, *args)

    def get(self) -> None:
        if (asked := self.asked()) is None:
            return
        person, path = asked
        picture = re.fullmatch(r"images/([0-9a-f]{64})\.png", path)
        file = self.desk.picture(picture[1]) if picture else None
        if path == "":
            policy = f"{self.policy}; frame-ancestors 'none'"
            self.answer(200, "text/html", self.page, Content_Security_Policy=policy)
        elif path == "card":
            self.json(self.desk.card(person))
        elif file is not None and file.is_file():
            self.answer(200, "image/png", file.read_bytes())
        else:
            self.answer(404, "text/plain", b"not here")

    def post(self) -> None:
        # Read first: what is left unread would be taken for the next request.
        body = self.body()
        if (asked := self.asked()) is None:
            return
        person, path = asked
        if body is None:
            self.answer(400, "text/plain", b"expected a JSON object")
        elif path == "undo" and isinstance(body.get("done"), int):
            self.json(self.desk.undo(person, body["done"]))
        elif path == "enter":
            try:
                self.json(self.desk.enter(person, body))
            except UserError as error:
                self.answer(400, "text/plain", str(error).encode(errors="replace"))
        else:
            self.answer(404, "text/plain", b"not here")
