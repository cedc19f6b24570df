"""Every command that the README shows works on a finished experiment."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command import foresight

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _commands() -> list[list[str]]:
    shown = re.findall(r"`((?:make|foresight) [^`]*)`", README)
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL):
        shown += [line for line in block.splitlines() if line.strip()]
    return [shlex.split(command.replace(".venv/bin/", "")) for command in shown]


@pytest.fixture(scope="module")
def workplace(spine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `runs/demo` is a finished experiment of the tiny recipe."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(spine, folder / "runs" / "demo")
    return folder


def test_the_two_commands_are_there() -> None:
    assert ["make", "demo"] in _commands() and ["foresight", "verify"] in _commands()


@pytest.mark.parametrize("command", _commands(), ids=" ".join)
def test_a_shown_command_works(command: list[str], workplace: Path, spine_recipe: Path) -> None:
    if command[0] == "make":
        done = subprocess.run(
            ["make", "--dry-run", *command[1:]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert command[1:] != ["demo"] or ".venv/bin/foresight demo" in done.stdout
        return
    arguments = command[1:]
    if arguments[0] in ("demo", "corpus", "ladder"):
        # The same command on the finished experiment: hours shrink to seconds.
        arguments = [arguments[0], "runs/demo", "--recipe", str(spine_recipe)]
    target = next((workplace / "runs" / "demo" / "targets").iterdir()).relative_to(workplace)
    arguments = [str(target) if "/targets/" in word else word for word in arguments]
    done = foresight(*arguments, cwd=workplace)
    # 1: a forecast of the tiny experiment may well miss; that is an answer, not a failure.
    assert done.returncode in ((0, 1) if arguments[0] in ("demo", "verify") else (0,)), done.stderr


def test_the_picture_is_in_the_repository() -> None:
    for path in re.findall(r"!\[[^]]*\]\(([^)]*)\)", README):
        assert (ROOT / path).stat().st_size > 10_000
