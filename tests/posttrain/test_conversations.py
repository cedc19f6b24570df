"""Post-training data as people write it: read, refused with clear words, written again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from foresight.document import Image, Text
from foresight.errors import UserError
from foresight.evals.people.collection import Collection
from foresight.evals.people.entry import Row
from foresight.evals.people.preference import export
from foresight.inference.wire import data_url
from foresight.posttrain.chat import Conversation, Message
from foresight.posttrain.conversations import (
    ChatPrompt,
    Demonstration,
    Pair,
    Sample,
    read_demonstrations,
    read_pairs,
    read_prompts,
    row_of,
    write_jsonl,
)
from tests.evals.people.samples import collected, vote

READERS: dict[type[Sample], Callable[[Path], Any]] = {
    Demonstration: read_demonstrations,
    Pair: read_pairs,
    ChatPrompt: read_prompts,
}
PIXELS = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)


def write(folder: Path, *rows: object) -> Path:
    path = folder / "data.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def says(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


HI = [says("user", "Hi")]
DONE = [*HI, says("assistant", "Good day.")]


def test_demonstrations_with_pictures(tmp_path: Path) -> None:
    Pillow.fromarray(PIXELS).save(tmp_path / "figure.png")
    pictures = [
        {"type": "text", "text": "Which is larger?"},
        {"type": "image_url", "image_url": {"url": "figure.png"}},
        {"type": "image_url", "image_url": {"url": data_url(Image(PIXELS[:4]))}},
    ]
    told = [says("system", "Be kind."), says("user", pictures), says("assistant", "The first.")]
    row = {"id": "a", "messages": told, "meta": {"by": "ann"}}
    first, second = read_demonstrations(write(tmp_path, row, {"messages": DONE}))
    assert (first.id, first.meta, second.id) == ("a", {"by": "ann"}, "2")
    assert [one.role for one in first.messages] == ["system", "user", "assistant"]
    text, whole, part = first.messages[1].parts
    assert isinstance(text, Text) and isinstance(whole, Image) and isinstance(part, Image)
    np.testing.assert_array_equal(whole.pixels, PIXELS)
    np.testing.assert_array_equal(part.pixels, PIXELS[:4])
    assert second.messages == (Message.of("user", "Hi"), Message.of("assistant", "Good day."))


def test_the_last_line_needs_no_line_break(tmp_path: Path) -> None:
    path = write(tmp_path, {"messages": DONE})
    path.write_text(path.read_text() + json.dumps({"messages": DONE}))
    assert len(read_demonstrations(path)) == 2


def test_a_ranking_becomes_all_its_pairs(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"id": "r", "prompt": HI, "ranking": ["best", "good", "bad", "worst"]},
        {
            "id": "s",
            "prompt": "Hi",
            "chosen": "yes",
            "rejected": says("assistant", "no")["content"],
        },
    )
    *ranked, single = read_pairs(path)
    assert [(one.chosen, one.rejected, one.gap) for one in ranked] == [
        ("best", "good", 1), ("best", "bad", 2), ("best", "worst", 3), ("good", "bad", 1),
        ("good", "worst", 2), ("bad", "worst", 1),
    ]  # fmt: skip
    assert sum(one.weight for one in ranked) == pytest.approx(1.0)
    assert (single.weight, single.gap) == (1.0, None)
    assert {one.group for one in ranked} == {single.group} and single.group


def test_what_prefer_export_writes_is_read(tmp_path: Path) -> None:
    collection = collected(tmp_path, 4)
    votes: list[Row] = [
        vote(pair.key, "left", sides=(pair.first.model, pair.second.model)).model_copy(
            update={"prompt": pair.prompt.id}
        )
        for pair in collection.pairs()
    ]
    collection.votes.write_text("".join(one.to_line() + "\n" for one in votes))
    export(Collection.read(collection.folder), tmp_path / "pairs.jsonl")
    pairs = read_pairs(tmp_path / "pairs.jsonl")
    assert len(pairs) == 4 and all(one.meta == {"judges": 1} for one in pairs)
    texts = {(one.model, one.output) for one in collection.answers}
    assert all(("alpha", one.chosen) in texts and ("beta", one.rejected) in texts for one in pairs)
    assert sum(isinstance(part, Image) for one in pairs for part in one.prompt[0].parts) == 1
    assert len({one.group for one in pairs}) == 4


def test_prompts(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"prompt": "Hi", "prompt_set": "allowed", "meta": {"category": "x"}},
        {"messages": [says("system", "s"), *DONE, says("user", "And?")]},
    )
    first, second = read_prompts(path)
    assert (first.prompt_set, first.meta) == ("allowed", {"category": "x"})
    assert [one.role for one in second.messages] == ["system", "user", "assistant", "user"]


# Written again, everything is the same.

TEXTS = st.text(min_size=1).filter(lambda text: bool(text.strip()))
PARTS = st.lists(
    TEXTS.map(Text) | st.integers(1, 5).map(lambda n: Image(PIXELS[:n])), min_size=1, max_size=3
).map(tuple)
USER = PARTS.map(lambda parts: Message("user", parts))
META = st.dictionaries(st.text(), st.text() | st.integers() | st.booleans(), max_size=2)
ASSISTANT = TEXTS.map(lambda text: Message.of("assistant", text))


@st.composite
def prompt(draw: Any) -> Conversation:
    system = draw(st.just(()) | TEXTS.map(lambda text: (Message.of("system", text),)))
    turns = draw(st.lists(st.tuples(USER, ASSISTANT), max_size=2))
    return (*system, *(one for both in turns for one in both), draw(USER))


SAMPLES = {
    Demonstration: st.builds(
        Demonstration, st.text(min_size=1),
        st.tuples(prompt(), ASSISTANT).map(lambda both: (*both[0], both[1])), META,
    ),
    Pair: st.builds(
        Pair, st.text(min_size=1), prompt(), TEXTS.map(lambda text: text + "a"),
        TEXTS.map(lambda text: text + "b"), st.floats(1e-3, 10), st.none() | st.integers(1, 9),
        META,
    ),
    ChatPrompt: st.builds(ChatPrompt, st.text(min_size=1), prompt(), st.text(), META),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_round_trip(kind: type[Sample], tmp_path: Path) -> None:
    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(SAMPLES[kind], min_size=1, max_size=3, unique_by=lambda one: one.id))
    def same(samples: list[Any]) -> None:
        path = tmp_path / "data.jsonl"
        write_jsonl(path, samples)
        found = READERS[kind](path)
        # Pictures are written as PNG, which tells every pixel.
        assert [row_of(one) for one in found] == [row_of(one) for one in samples]

    same()


# What is wrong is told with file, line, field, and what would be right.


@pytest.mark.parametrize(
    ("kind", "row", "words"),
    [
        (Demonstration, {"messages": HI}, r"messages\[0\].role: 'user'; expected assistant"),
        (Demonstration, {"messages": [*HI, says("assistant", " \n")]},
         r"messages\[1\].content: ''; expected what the assistant says"),
        (Demonstration, {"messages": []}, "field messages: .*expected a list of"),
        (Demonstration, {}, "field messages: missing"),
        (Demonstration, {"messages": DONE, "tools": []}, r"field tools: \[\]; expected one of"),
        (Demonstration, {"messages": [says("tool", "x"), *DONE]},
         "role: 'tool'; expected one of system, user, assistant"),
        (Demonstration, {"messages": [*HI, says("system", "x"), *DONE]}, "to be the first"),
        (Demonstration, {"messages": [*HI, {"role": "assistant", "content": "x", "weight": 0}]},
         "and no other field"),
        (Demonstration, {"messages": [says("user", 5), *DONE]}, "content: 5; expected a text"),
        (Demonstration, {"messages": [says("user", [{"type": "audio"}]), *DONE]},
         r"content\[0\].*expected"),
        (Demonstration, {"messages": [*HI, says("assistant", [
            {"type": "image_url", "image_url": {"url": data_url(Image(PIXELS))}}])]},
         "pictures in a user's message only"),
        (Demonstration, {"messages": [says("user", [
            {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}]), *DONE]},
         "nothing is fetched"),
        (Demonstration, {"messages": [says("user", [
            {"type": "image_url", "image_url": {"url": "none.png"}}]), *DONE]},
         "none.png: cannot be read"),
        (Demonstration, {"messages": [says("user", [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,!"}}]), *DONE]},
         "image_url.url: .* is no base64"),
        (Demonstration, {"messages": DONE, "id": ""}, "field id: ''; expected a text"),
        (Demonstration, {"messages": DONE, "meta": []}, "field meta"),
        (Pair, {"prompt": HI, "chosen": "a"}, "field rejected: None; expected a text"),
        (Pair, {"prompt": HI, "chosen": "a", "rejected": "a"}, "differs from `chosen`"),
        (Pair, {"prompt": HI, "chosen": "a", "rejected": "b", "weight": 0}, "weight: 0; expected"),
        (Pair, {"prompt": HI, "chosen": "a", "rejected": "b", "gap": 0}, "gap: 0; expected"),
        (Pair, {"prompt": HI, "ranking": ["a"]}, "two or more different texts"),
        (Pair, {"prompt": HI, "ranking": ["a", "a"]}, "two or more different texts"),
        (Pair, {"prompt": HI, "ranking": ["a", "b"], "chosen": "a"}, "no such field beside"),
        (Pair, {"prompt": DONE, "chosen": "a", "rejected": "b"}, r"prompt\[1\].role: 'assistant'"),
        (Pair, {"prompt": HI, "chosen": DONE, "rejected": "b"}, "field chosen: .*one message"),
        (ChatPrompt, {"messages": HI, "prompt": "Hi"}, "either `messages` or `prompt`"),
        (ChatPrompt, {"id": "x"}, "either `messages` or `prompt`"),
        (ChatPrompt, {"prompt": "\ud800"}, "halves of surrogate pairs"),
        (ChatPrompt, {"prompt": "Hi", "prompt_set": 3}, "prompt_set: 3; expected a text"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(
    tmp_path: Path, kind: type[Sample], row: dict[str, Any], words: str
) -> None:
    good = {
        Demonstration: {"messages": DONE},
        Pair: {"prompt": HI, "chosen": "a", "rejected": "b"},
        ChatPrompt: {"prompt": "Hi"},
    }[kind]
    with pytest.raises(UserError, match=words) as told:
        READERS[kind](write(tmp_path, good, row))
    assert "data.jsonl, line 2, field " in str(told.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no lines"):
        read_prompts(write(tmp_path))
    twice = {"id": "x", "prompt": "Hi"}
    with pytest.raises(UserError, match="'x' occurs twice"):
        read_prompts(write(tmp_path, twice, twice))
    with pytest.raises(UserError, match="no such file"):
        read_pairs(tmp_path / "absent.jsonl")
    (tmp_path / "data.jsonl").write_text('{"prompt": "Hi"}\n{')
    with pytest.raises(UserError, match="line 2: not valid JSON"):
        read_prompts(tmp_path / "data.jsonl")
