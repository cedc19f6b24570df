"""The server of the page on which an expert puts prompts to a model and judges its answers."""

from __future__ import annotations

from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from foresight.evals.people.desk import secret, token
from foresight.posttrain.red_team import SEVEREST, VERDICTS, Exercise
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
    handler = partial(_Handler, exercise, people, html.encode(), policy)
    server = local_server(handler, port, host)
    return server, f"http://{host}:{server.server_port}/{next(iter(people))}/"


class _Handler(TokenHandler):
    """GET `state`; POST `ask` {id, prompt, follows} and `judge` {id, ...}: what they answer is on
    disk."""

    def __init__(self, exercise: Exercise, *args: Any) -> None:
        self.exercise = exercise
        super().__init__(*args)

    def tell(self, person: str, path: str) -> dict[str, Any] | None:
        if path != "state":
            return None
        entries = [one.to_json() for one in self.exercise.entries]
        categories = self.exercise.settings.categories
        return {"expert": person, "categories": categories, "entries": entries}

    def take(self, person: str, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        if path == "ask":
            texts = (str(body.get(name, "")) for name in ("id", "prompt", "follows"))
            return self.exercise.ask(*texts).to_json()
        if path == "judge":
            return self.exercise.judge(str(body.pop("id", "")), body).to_json()
        return None
