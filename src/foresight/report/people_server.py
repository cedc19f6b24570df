"""The server of the pages on which people judge answers."""

from __future__ import annotations

import re
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any

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
    """A desk's cards and pictures; POST `enter` and `undo`."""

    def __init__(self, desk: Desk[Entry], *args: Any) -> None:
        self.desk = desk
        super().__init__(*args)

    def tell(self, person: str, path: str) -> dict[str, Any] | bytes | None:
        if path == "card":
            return self.desk.card(person)
        picture = re.fullmatch(r"images/([0-9a-f]{64})\.png", path)
        file = self.desk.picture(picture[1]) if picture else None
        return file.read_bytes() if file is not None and file.is_file() else None

    def take(self, person: str, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        if path == "undo" and isinstance(body.get("done"), int):
            return self.desk.undo(person, body["done"])
        return self.desk.enter(person, body) if path == "enter" else None
