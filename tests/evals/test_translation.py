"""A task in another language: nothing is lost, nothing is asked twice, nothing stays untranslated
in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight.document import Text
from foresight.errors import UserError
from foresight.evals.item import Item
from foresight.evals.layout import Layout, prompt_text
from foresight.evals.protocols import ChoiceLogprob, FreeResponse
from foresight.evals.reading import read_task
from foresight.evals.runner import run
from foresight.evals.task import Task
from foresight.evals.translation import translate
from foresight.inference.language_model import GenerateRequest
from tests.command import typed
from tests.evals.models import Written, open_items

LAYOUT = Layout(
    instruction="A model answers questions about {category}\n\n",
    question="{question}\n\n{options}Answer:",
    option="{letter}) {choice}\n\n",
)


def task(n: int = 4) -> Task:
    def item(at: int, name: str) -> Item:
        choices = ("True", f"word {at}", "7", "x = 2")
        return Item(
            name, (Text(f"Question {at}?"),), choices, at % 4, "g", 2.0, {"category": "law"}
        )

    few_shot = {"law": tuple(item(at, f"dev/{at}") for at in range(50, 53))}
    return Task("quiz", tuple(item(at, f"q{at}") for at in range(n)), ChoiceLogprob(layout=LAYOUT),
                few_shot)  # fmt: skip


def shout(prompt: str, request: GenerateRequest) -> str:
    """Translates into capitals; braces stay."""
    text = prompt.rpartition("\n\nText:\n")[2].removesuffix("\n\nTranslation:\n")
    return text.upper().replace("{CATEGORY}", "{category}") + "\n\nText: and on it goes"


def test_everything_is_translated_but_answer_letters_and_what_has_no_words(tmp_path: Path) -> None:
    model = Written(shout)
    found = translate(task(), "Capitals", model, tmp_path)
    assert (found.items, found.unchanged) == (4, ())
    new = read_task(str(found.task))
    assert new.name == "quiz-Capitals"
    assert prompt_text(new.protocol.prompt(new.attempt(new.items[1]))).endswith(
        "QUESTION 1?\n\nA) TRUE\n\nB) WORD 1\n\nC) 7\n\nD) X = 2\n\nAnswer:"
    )
    text = prompt_text(new.protocol.prompt(new.attempt(new.items[0])))
    assert text.startswith("A MODEL ANSWERS QUESTIONS ABOUT LAW\n\nQUESTION 50?\n\n")
    assert text.count("Answer: ") == 3
    for one, old in zip(new.items, task().items, strict=True):
        assert (one.id, one.target, one.group, one.weight) == (old.id, old.target, "g", 2.0)
        assert one.meta == {"category": "LAW", "subject": "law", "language": "Capitals"}
    # Each text once, although options stand in every question.
    texts = [one.prompt[0].text for one in model.requests]  # type: ignore[union-attr]
    assert len(texts) == len(set(texts)) == found.texts == 1 + 1 + 7 + 7 + 2
    assert not any("\nText:\n7\n" in one for one in texts)


def test_a_killed_translation_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        translate(task(), "Capitals", Written(shout, stop_after=5), tmp_path)
    assert not (tmp_path / "task.yaml").exists()
    with (tmp_path / "translations.jsonl").open("a") as journal:
        journal.write('{"text": "torn')
    rest, told = Written(shout), []
    found = translate(task(), "Capitals", rest, tmp_path, lambda *now: told.append(now))
    assert rest.asked == found.texts - 5
    assert told[0] == (6, found.texts) and told[-1] == (found.texts, found.texts)
    whole = translate(task(), "Capitals", Written(shout), tmp_path / "whole")
    for name in ("task.yaml", "items.jsonl", "few_shot.jsonl"):
        assert (tmp_path / name).read_bytes() == (whole.task.parent / name).read_bytes()


@pytest.mark.parametrize(
    ("answer", "why"),
    [("", "empty"), ("UEBER", "{category} is not kept")],
)
def test_what_fails_is_named_and_no_task_is_written(answer: str, why: str, tmp_path: Path) -> None:
    def write(prompt: str, request: GenerateRequest) -> str:
        fails = "\nText:\nA model" in prompt or (answer == "" and "\nText:\nTrue" in prompt)
        return answer if fails else shout(prompt, request)

    with pytest.raises(UserError, match="texts are not translated") as told:
        translate(task(), "Capitals", Written(write), tmp_path)
    assert why in str(told.value) and not (tmp_path / "task.yaml").exists()
    missing = tmp_path / "missing.jsonl"
    rows = [json.loads(line) for line in missing.read_text().splitlines()]
    assert rows[0] == {"text": "A model answers questions about {category}", "translation": ""}
    # Filled in by hand and given as a file, it completes what the model did.
    rows[0]["translation"] = "ÜBER {category}"
    for row in rows[1:]:
        row["translation"] = "WAHR"
    missing.write_text("".join(json.dumps(row) + "\n" for row in rows))
    translate(task(), "Capitals", missing, tmp_path)
    new = read_task(str(tmp_path / "task.yaml"))
    assert new.protocol.layout.instruction == "ÜBER {category}\n\n"
    assert missing.exists(), "a user's file is left alone"


def test_cut_answers_are_failures_and_unchanged_ones_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="answer ended by length"):
        translate(task(), "Capitals", Written(shout, finish="length"), tmp_path / "cut")

    def same(prompt: str, request: GenerateRequest) -> str:
        return prompt.rpartition("\n\nText:\n")[2].removesuffix("\n\nTranslation:\n")

    found = translate(task(), "English", Written(same), tmp_path / "same")
    assert len(found.unchanged) == found.texts


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip))
)
def test_files_of_any_texts_are_read_back(
    tmp_path_factory: Any, given_texts: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("t")
    items = tuple(
        Item(f"{at}", (Text(text),), ("a", text), 0) for at, text in enumerate(given_texts)
    ) or (Item("x", (Text("?"),), ("1", "2"), 0),)
    known = given_texts | ({} if "a" in given_texts else {"a": "ah"})
    rows = [json.dumps({"text": k, "translation": v}) for k, v in known.items()]
    (folder / "f.jsonl").write_text("\n".join(rows) + "\n")
    found = translate(Task("t", items, ChoiceLogprob()), "X", folder / "f.jsonl", folder / "out")
    new = read_task(str(found.task))
    for old, one in zip(items, new.items, strict=True):
        assert one.text == known.get(old.text, old.text)
        assert one.choices == tuple(known.get(choice, choice) for choice in old.choices)


def test_what_cannot_be_translated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only tasks that score letters"):
        translate(Task("t", open_items(2), FreeResponse()), "X", Written(), tmp_path / "a")
    text = ChoiceLogprob(layout=Layout(answers="choice"))
    with pytest.raises(UserError, match="only tasks that score letters"):
        translate(Task("t", task().items, text), "X", Written(), tmp_path / "b")
    translate(task(), "X", Written(shout), tmp_path / "c")
    with pytest.raises(UserError, match="its language differs"):
        translate(task(), "Y", Written(shout), tmp_path / "c")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> None:
    name = f"mmlu_language:anatomy@{shared_data / 'evals' / 'mmlu'}"
    out = tmp_path / "out"
    for words, message in (
        ((), "give either --model or --file"),
        (("--file", tmp_path / "no.jsonl"), "no.jsonl: cannot be read"),
    ):
        done = typed("translate", name, "--to", "Capitals", "--out", out, *words)
        assert done.returncode == 2 and message in done.stderr
    monkeypatch.setattr("foresight.inference.open.open_model", lambda name: Written(shout))
    done = typed("translate", name, "--to", "Capitals", "--out", out, "--model", "m", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["items"] == 135 and told["task"] == str(out / "task.yaml")
    new = read_task(told["task"])
    assert len(new.items) == 135 and len(new.shots(new.items[0])) == 3
    assert prompt_text(new.protocol.prompt(new.attempt(new.items[0]))).count("Answer:") == 4
    assert len(run(new, Written(), tmp_path / "run", limit=20)) == 20
    done = typed("translate", name, "--to", "Capitals", "--out", out, "--model", "m")
    assert "135 items" in done.stdout and "came back" not in done.stdout
