"""An exercise: what is on disk, that it can be drawn again, and what it becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from foresight.data.corpus import Corpus
from foresight.errors import UserError
from foresight.evals.layout import prompt_text
from foresight.evals.reading import read_items
from foresight.inference.api_model import APIModel
from foresight.inference.engine import Engine
from foresight.inference.language_model import GenerateRequest
from foresight.model.decoder import Decoder
from foresight.posttrain.conversations import read_demonstrations, read_prompts
from foresight.posttrain.red_team import (
    PROMPT_SETS,
    VERDICTS,
    Exercise,
    Settings,
    read_exercise,
    replay,
)
from foresight.recipe import Recipe
from tests.command import typed
from tests.evals.models import Written, unit

SAID = {"category": "privacy", "severity": 3, "verdict": "harmful", "note": "why", "ideal": "No."}


def answer(prompt: str, request: GenerateRequest) -> str:
    return f"so {unit(prompt + str(request.sampling.seed)):.12f}"


def begun(folder: Path, **settings: Any) -> Exercise:
    return Exercise(folder, Written(answer, name="m"), Settings(**settings), "ann")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "exercise"


def test_everything_is_on_disk_before_it_is_told(folder: Path) -> None:
    with begun(folder, system="Be kind.") as exercise:
        first = exercise.ask("a", " How?\n")
        assert read_exercise(folder)[2] == [first]
        second = exercise.ask("b", "And why?", follows="a")
        judged = exercise.judge("a", SAID)
        assert read_exercise(folder)[2] == [judged, second]
        assert [one.content for one in second.asked.turns] == [
            " How?\n", first.asked.answer, "And why?"
        ]  # fmt: skip
        exercise.judge("a", SAID | {"verdict": "fine", "severity": 0})
    name, settings, entries = read_exercise(folder)
    assert (name, settings.system) == ("m", "Be kind.")
    judgements = [one.judged for one in entries]
    assert judgements[0] and judgements[0].verdict == "fine" and judgements[1] is None
    assert [one.asked.expert for one in entries] == ["ann", "ann"]
    assert len((folder / "entries.jsonl").read_text().splitlines()) == 4


def test_what_is_asked_twice_is_drawn_once(folder: Path) -> None:
    with begun(folder) as exercise:
        first = exercise.ask("a", "How?")
        assert exercise.ask("a", "How?") is first
        with pytest.raises(UserError, match="asked something else"):
            exercise.ask("a", "Why?")
        other = exercise.ask("b", "How?")
        assert other.asked.seed != first.asked.seed and other.asked.answer != first.asked.answer
    with begun(folder) as again:
        assert again.ask("a", "How?").asked == first.asked
        assert len(again.entries) == 2


def test_it_goes_on_with_the_same_model_and_settings_alone(folder: Path) -> None:
    begun(folder).ask("a", "How?")
    with pytest.raises(UserError, match="settings are"):
        begun(folder, temperature=0.1)
    with pytest.raises(UserError, match="model are m"):
        Exercise(folder, Written(name="n"), Settings())
    with (folder / "entries.jsonl").open("a") as stream:
        stream.write('{"kind": "answer", "id": "b", "to')  # a killed writer
    with begun(folder) as exercise:
        assert [one.asked.id for one in exercise.entries] == ["a"]
        exercise.ask("b", "Why?")
    assert len(read_exercise(folder)[2]) == 2


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"verdict": "bad"}, "field verdict: 'bad'; expected one of harmful, fine, refused well"),
        ({"verdict": None}, "field verdict"),
        ({"category": "x"}, "field category: 'x'; expected one of"),
        ({"severity": 5}, "field severity"),
        ({"severity": "high"}, "field severity"),
        ({"note": 7}, "field note"),
    ],
)
def test_nonsense_is_told_and_nothing_is_written(
    folder: Path, said: dict[str, Any], words: str
) -> None:
    with begun(folder) as exercise:
        exercise.ask("a", "How?")
        with pytest.raises(UserError, match=words):
            exercise.judge("a", SAID | said)
        with pytest.raises(UserError, match="no such answer"):
            exercise.judge("b", SAID)
        with pytest.raises(UserError, match="field prompt: empty"):
            exercise.ask("c", " \n")
        with pytest.raises(UserError, match="no such answer"):
            exercise.ask("c", "x", follows="z")
        with pytest.raises(UserError, match="field id"):
            exercise.ask("../c", "x")
        assert exercise.ask("d", "\ud800").asked.turns[0].content == "?"
        judged = exercise.judge("d", SAID | {"ideal": "\ud800"}).judged
        assert judged and judged.ideal == "?"
    assert len((folder / "entries.jsonl").read_text().splitlines()) == 3


@pytest.fixture(scope="module")
def decoder(recipe: Recipe) -> Decoder:
    model = Decoder(recipe.at(1e10, seed=1))
    with torch.no_grad():  # the head starts at zero: give it something to say
        model.weight("lm_head").normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    return model


def test_a_replay_is_equal_bit_for_bit(folder: Path, corpus: Corpus, decoder: Decoder) -> None:
    def engine() -> Engine:
        return Engine(decoder, corpus.tokenizer, "tiny")

    settings = Settings(system="Be kind.", temperature=0.9, top_p=0.95, max_tokens=12, seed=4)
    for prompt in ("import os", "What is it?", "import sys"):  # taken up twice
        with Exercise(folder, engine(), settings) as exercise:
            number = len(exercise.entries)
            exercise.ask(f"q{number}", prompt)
            exercise.ask(f"r{number}", "And?", follows=f"q{number}")
    found = replay(folder, engine())
    assert len(found) == 6 and all(one.same for one in found)
    assert len({one.answer for one in found}) == 6 and all(one.answer for one in found)
    with torch.no_grad():
        decoder.weight("lm_head").mul_(-1)
        assert not any(one.same for one in replay(folder, engine()))
        decoder.weight("lm_head").mul_(-1)


def test_an_endpoint_takes_one_message(folder: Path) -> None:
    with Exercise(folder, APIModel("m", "http://127.0.0.1:9/v1"), Settings(system="s")) as exercise:
        with pytest.raises(UserError, match="one user's message"):
            exercise.ask("a", "Hi")
        assert exercise.entries == []


# The commands.


@pytest.fixture
def played(folder: Path) -> Path:
    """Four answers, one of a conversation; each verdict once, one with the expert's answer."""
    with begun(folder, system="Be kind.") as exercise:
        for at, verdict in enumerate(VERDICTS):
            exercise.ask(f"q{at}", f"Question {at}?", follows="q2" if at == 3 else "")
            ideal = f"Answer {at}." if at in (0, 3) else ""
            exercise.judge(f"q{at}", SAID | {"verdict": verdict, "ideal": ideal})
        exercise.ask("open", "Not judged?")
    return folder


def exported(played: Path, to: str) -> tuple[Path, dict[str, Any]]:
    out = played.parent / f"{to}.jsonl"
    done = typed("redteam", "export", played, "--to", to, out, "--json")
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


def test_exports_are_read_by_their_readers(played: Path) -> None:
    out, value = exported(played, "sft")
    shown = read_demonstrations(out)
    assert (value["written"], value["left_out"], len(shown)) == (2, 3, 2)
    assert [one.role for one in shown[1].messages] == [
        "system", "user", "assistant", "user", "assistant"
    ]  # fmt: skip
    assert shown[1].messages[-1].text == "Answer 3." and shown[1].meta["expert"] == "ann"
    out, value = exported(played, "prompts")
    asked = read_prompts(out)
    assert [one.prompt_set for one in asked] == [PROMPT_SETS[one] for one in VERDICTS]
    assert [one.messages[0].role for one in asked] == ["system"] * 4
    out, value = exported(played, "items")
    items = read_items(out)
    assert [(one.id, one.text) for one in items] == [
        (f"q{at}", f"Question {at}?") for at in (0, 1, 2)
    ]
    assert value["left_out"] == 2 and items[0].meta["prompt_set"] == "disallowed"


def test_nothing_to_export_is_told(folder: Path) -> None:
    begun(folder).ask("a", "How?")
    done = typed("redteam", "export", folder, "--to", "sft", folder / "x.jsonl")
    assert done.returncode == 2 and "nothing to write as sft" in done.stderr
    done = typed("redteam", "export", folder.parent, "--to", "sft", folder / "x.jsonl")
    assert done.returncode == 2 and "no exercise" in done.stderr


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_model(name: str, keep_end: bool = False) -> Written:
        wrong = "wrong " if name == "other" else ""
        return Written(lambda prompt, request: wrong + answer(prompt, request), name=name)

    monkeypatch.setattr("foresight.inference.open.open_model", open_model)


def test_replay_as_it_is_typed(played: Path, named: None, tmp_path: Path) -> None:
    same = json.loads(typed("redteam", "replay", played, "m", "--json").stdout)
    assert same["changed"] == 0 and len(same["entries"]) == 5
    done = typed("redteam", "replay", played, "other", "--out", tmp_path / "rows.jsonl")
    assert "other: 5 of 5 answers changed" in done.stdout
    assert "then (harmful, severity 3): so" in done.stdout
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 5


def test_the_terminal(folder: Path, named: None, monkeypatch: pytest.MonkeyPatch) -> None:
    typed_lines = iter(["How?", "9", "1", "4", "6", "a note", "No.", "   ", "Why?"])

    def line(*_: object, **__: object) -> str:
        try:
            return next(typed_lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("rich.console.input", line, raising=False)
    monkeypatch.setattr("builtins.input", line)
    done = typed("redteam", "m", "--out", folder, "--expert", "ben", "--terminal")
    assert done.returncode == 0, done.stderr
    _, _, [first, second] = read_exercise(folder)
    assert first.judged and second.judged is None, "an answer is kept without its judgement"
    said = first.judged
    assert (said.verdict, said.severity, said.category) == ("harmful", 4, "privacy")
    assert (said.note, said.ideal, said.expert) == ("a note", "No.", "ben")


def test_own_categories(folder: Path, named: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: (_ for _ in ()).throw(EOFError))
    file = folder.parent / "categories.txt"
    file.write_text("one\n\n two \none\n")
    words = ("redteam", "m", "--out", folder, "--terminal", "--categories", file)
    assert typed(*words).returncode == 0
    assert read_exercise(folder)[1].categories == ("one", "two")
    file.write_text("\n")
    assert "no category" in typed(*words).stderr


def test_the_system_message_is_asked_and_recorded(folder: Path) -> None:
    model = Written(answer, name="m")
    with Exercise(folder, model, Settings(system="Be kind.")) as exercise:
        exercise.ask("a", "Hi")
    [request] = model.requests
    assert isinstance(request, GenerateRequest)
    text = prompt_text(request.prompt)  # type: ignore[arg-type]
    assert text.startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>")
