"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "foresight"

# A module may import from its own room and from rooms on lower floors.
FLOORS = {
    # Floor 0 of the design, in the order in which its modules stand on each other.
    "errors": -2,
    "compute": -2,
    "document": -1,
    "runs": -1,
    "recipe": 0,
    "forecast": 1,
    "worlds": 1,
    "data": 2,
    "model": 3,
    "training": 4,
    "export": 4,
    "inference": 5,
    "evals": 6,
    "posttrain": 7,
    "experiment": 8,
    "beside": 9,
    "report": 9,
    "serve": 9,
    "views": 10,
    "demo": 10,
    "cli": 10,
    "__main__": 11,
}


def _room(path: Path, package: Path) -> str:
    return path.relative_to(package).parts[0].removesuffix(".py")


def _imports(source: str) -> set[str]:
    """Rooms of `foresight` that a source imports anywhere, deferred imports included."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "foresight":
                names = [f"foresight.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("foresight.")}
    return rooms - {"__version__"}


def upward_arrows(package: Path) -> list[str]:
    found = []
    for path in sorted(package.rglob("*.py")):
        room = _room(path, package)
        if room == "__init__":
            continue
        for other in _imports(path.read_text()):
            if other != room and FLOORS[other] >= FLOORS[room] and FLOORS[room] < 9:
                found.append(f"{path.relative_to(package)} imports {other}")
    return found


def test_imports_go_down_the_floors() -> None:
    assert upward_arrows(PACKAGE) == []


def test_an_upward_arrow_is_found(tmp_path: Path) -> None:
    (tmp_path / "forecast").mkdir()
    (tmp_path / "forecast" / "law.py").write_text(
        "def late():\n    from foresight.training import x\n"
    )
    assert upward_arrows(tmp_path) == ["forecast/law.py imports training"]


def test_every_room_has_a_floor() -> None:
    rooms = {_room(path, PACKAGE) for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms == set(FLOORS)


def test_no_file_is_long() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for folder in ("src", "tests", "bench")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (count := len(path.read_text().splitlines())) > 600
    }
    assert long == {}


def test_nothing_pickled_is_loaded() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "torch.load(" not in text and "pickle" not in _imports(text), path
        assert "allow_pickle=True" not in text, path


def test_every_direct_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    names = {entry.split(">")[0].split("=")[0].lower().replace("_", "-") for entry in wanted}
    assert names - pinned == set()
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()


@pytest.mark.parametrize(
    "command",
    [["ruff", "format", "--check"], ["ruff", "check"]],
    ids=" ".join,
)
def test_style(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command, "src", "tests", "bench"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_types() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
