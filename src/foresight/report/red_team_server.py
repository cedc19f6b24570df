"""The server of the page on which an expert puts prompts to a model and judges its answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.evals.people.desk import secret, token
from foresight.posttrain.red_team import SEVEREST, VERDICTS, Entry, Exercise
from foresight.report.local_server import LOCAL, TokenHandler, local_server
from foresight.report.scripted import scripted_page


def serve_red_team(
    exercise: Exercise, folder: Path, port: int, host: str = LOCAL[0]
) -> tuple[ThreadingHTTPServer, str]:
    """A server, not yet serving, and the expert's address, the same after a restart.

    Raises UserError if the port is taken or the address is none.
    """
    html, policy = scripted_page("red_team.html", verdicts=VERDICTS, severest=SEVEREST)
    people = {token(secret(folder), exercise.expert): exercise.expert}
    handler = partial(_Handler, exercise, html.encode(), policy, people)
    server = local_server(handler, port, host)
    return server, f"http://{host}:{server.server_port}/{next(iter(people))}/"


class _Handler(TokenHandler):
    """GET the page and `state`; POST `ask` {id, prompt, follows} and `judge` {id, ...}: what they
    answer is on disk."""

    def __init__(
        self, exercise: Exercise, page: bytes, policy: str, people: dict[str, str], *args: Any
    ) -> None:
        self.exercise, self.page, self.policy = exercise, page, policy
        super().__init__(people, *args)

    def get(self) -> None:
        if (asked := self.asked()) is None:
            return
        person, path = asked
        if path == "":
            policy = f"{self.policy}; frame-ancestors 'none'"
            self.answer(200, "text/html", self.page, Content_Security_Policy=policy)
        elif path == "state":
            entries = [one.to_json() for one in self.exercise.entries]
            categories = self.exercise.settings.categories
            self.json({"expert": person, "categories": categories, "entries": entries})
        else:
            self.answer(404, "text/plain", b"not here")

    def post(self) -> None:
        # Read first: what is left unread would be taken for the next request.
        body = self.body()
        if (asked := self.asked()) is None:
            return
        if body is None:
            self.answer(400, "text/plain", b"expected a JSON object")
        elif asked[1] == "ask":
            texts = (str(body.get(name, "")) for name in ("id", "prompt", "follows"))
            self._told(partial(self.exercise.ask, *texts))
        elif asked[1] == "judge":
            self._told(partial(self.exercise.judge, str(body.pop("id", "")), body))
        else:
            self.answer(404, "text/plain", b"not here")

    def _told(self, act: Callable[[], Entry]) -> None:
        try:
            self.json(act().to_json())
        except UserError as error:
            self.answer(400, "text/plain", str(error).encode(errors="replace"))
