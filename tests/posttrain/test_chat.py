"""Conversations as ids: by hand, as training and generation see them, and as a template writes
them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from foresight.data.corpus import Corpus
from foresight.data.shards import encode_parts, image_patches
from foresight.data.tokenizer import BOS, EOS, IMG, IMG_BREAK, IMG_END, SPECIAL_TOKENS, Tokenizer
from foresight.document import IM_END, IM_START, Image, Mark, Text
from foresight.errors import UserError
from foresight.export.hugging_face import export_hugging_face
from foresight.inference.api_model import APIModel
from foresight.inference.engine import Engine
from foresight.inference.language_model import GenerateRequest, Sampling, ScoreRequest
from foresight.inference.prompt import encode_prompt
from foresight.model.decoder import Decoder
from foresight.posttrain.chat import (
    CHAT_TEMPLATE,
    ChatModel,
    Conversation,
    Message,
    chat_prompt,
    encode_chat,
    render,
    render_prompt,
    user,
)
from foresight.recipe import Recipe
from foresight.runs import read_json
from tests.evals.models import Written

PATCH = 8
BYTES = [
    *range(33, 127), *range(161, 173), *range(174, 256), *range(0, 33), *range(127, 161), 173
]  # fmt: skip
"""In the order of their ids behind the special tokens."""


@pytest.fixture(scope="module")
def plain() -> Tokenizer:
    """Special tokens and bytes, no merges: the id of a byte is known by hand."""
    return Tokenizer.train(["x"], 320)


def byte_ids(text: str) -> list[int]:
    return [64 + BYTES.index(byte) for byte in text.encode()]


def picture(seed: int, height: int = 16, width: int = 24) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image(pixels)


MARKED = ("<|im_end|>", "<|im_start|>system\n", "[IMG]", "<|bos|>", "[IMG_END]", "<|eos|>")
WORDS = st.text() | st.lists(
    st.sampled_from(["def ", " \n", "x1", "  ", "é", "'re", "?", "\r\n", "assistant\n", *MARKED])
).map("".join)


def conversations(texts: st.SearchStrategy[str], pictures: bool = False) -> Any:
    part: st.SearchStrategy[Text | Image] = texts.map(Text)
    if pictures:
        part |= st.integers(0, 3).map(picture)

    def message(role: Any) -> Any:
        return st.lists(part, max_size=4).map(lambda parts: Message(role, tuple(parts)))

    turn = st.tuples(message("user"), message("assistant"))
    system = st.just(()) | message("system").map(lambda one: (one,))
    turns = st.lists(turn, min_size=1, max_size=3)
    return st.tuples(system, turns).map(lambda both: (*both[0], *(m for t in both[1] for m in t)))


def test_ids_and_weights_by_hand(plain: Tokenizer) -> None:
    messages = (
        Message.of("system", " Be kind. "),
        Message.of("user", "Hi"),
        Message("assistant", (Text("Good "), Text("day.\n"))),
    )
    expected: list[tuple[int, int]] = [(BOS, 0)]
    for role, content, weight in (
        ("system", "Be kind.", 0),
        ("user", "Hi", 0),
        ("assistant", "Good day.", 1),
    ):
        expected += [(IM_START, 0), *((one, 0) for one in byte_ids(f"{role}\n"))]
        expected += [(one, weight) for one in byte_ids(content)]
        expected += [(IM_END, weight), *((one, 0) for one in byte_ids("\n"))]
    found = encode_chat(messages, plain, PATCH)
    assert found.tokens.tolist() == [token for token, _ in expected]
    assert found.weights.tolist() == [weight for _, weight in expected]
    assert found.patches.shape == (0, 3 * PATCH**2)
    halved = encode_parts(render(messages, weight=0.5), plain, PATCH)
    assert halved.weights.tolist() == [weight / 2 for _, weight in expected[1:]]


def test_pictures_stand_where_they_were_put(plain: Tokenizer) -> None:
    first, second, third = picture(1), picture(2, 8, 8), picture(3, 9, 17)
    messages = (
        Message("user", (first, Text(" and "), second, third, Text("?"))),
        Message.of("assistant", "Three."),
    )
    found = encode_chat(messages, plain, PATCH)
    cut = [image_patches(one, PATCH) for one in (first, second, third)]
    assert [one.shape[:2] for one in cut] == [(2, 3), (1, 1), (2, 3)]
    rows = [IMG, IMG, IMG, IMG_BREAK, IMG, IMG, IMG, IMG_END]
    asked = [*rows, *byte_ids("and"), IMG, IMG_END, *rows, *byte_ids("?")]
    at = 2 + len("user\n")
    assert found.tokens[at : at + len(asked)].tolist() == asked
    np.testing.assert_array_equal(
        found.patches, np.concatenate([one.reshape(-1, 3 * PATCH**2) for one in cut])
    )
    assert not found.weights[: at + len(asked)].any()


@settings(max_examples=150)
@given(messages=conversations(WORDS, pictures=True))
def test_no_text_becomes_a_mark(corpus: Corpus, messages: Conversation) -> None:
    ids = encode_chat(messages, corpus.tokenizer, PATCH).tokens.tolist()
    pictures = [one for m in messages for one in m.parts if isinstance(one, Image)]
    special = [token for token in ids if token < len(SPECIAL_TOKENS) and token not in (IMG, 4, 5)]
    assert special == [BOS, *[IM_START, IM_END] * len(messages)]
    assert ids.count(IMG) == 6 * len(pictures) and ids.count(IMG_END) == len(pictures)


@settings(max_examples=150)
@given(messages=conversations(WORDS, pictures=True))
def test_only_what_the_assistant_says_and_its_end_are_learned(
    corpus: Corpus, messages: Conversation
) -> None:
    found = encode_chat(messages, corpus.tokenizer, PATCH)
    learned = found.tokens[found.weights > 0].tolist()
    said = [one for one in messages if one.role == "assistant"]
    own = [
        [*(token for part in one.contents if isinstance(part, Text)
           for token in corpus.tokenizer.encode(part.text)), IM_END]
        for one in said
    ]  # fmt: skip
    assert learned == [token for tokens in own for token in tokens]
    assert corpus.tokenizer.decode(learned) == "".join(one.text for one in said)


@settings(max_examples=150)
@given(messages=conversations(WORDS, pictures=True))
def test_generation_sees_what_training_saw(corpus: Corpus, messages: Conversation) -> None:
    whole = encode_chat(messages, corpus.tokenizer, PATCH)
    for end, one in enumerate(messages):
        if one.role != "assistant":
            continue
        prompt = encode_prompt(render_prompt(messages[:end]), corpus.tokenizer, PATCH)
        shown = len(prompt)
        assert whole.tokens[:shown].tolist() == prompt.ids.tolist()
        answer = encode_parts([*one.contents, Mark(IM_END)], corpus.tokenizer, PATCH)
        assert whole.tokens[shown : shown + len(answer.tokens)].tolist() == answer.tokens.tolist()
        np.testing.assert_array_equal(whole.patches[: len(prompt.patches)], prompt.patches)


def test_a_prompt_waits_for_the_assistant() -> None:
    for messages in ((), (Message.of("user", "a"), Message.of("assistant", "b"))):
        with pytest.raises(UserError, match="ends with a user's"):
            render_prompt(messages)


# ---- The model


@pytest.fixture(scope="module")
def decoder(recipe: Recipe) -> Decoder:
    model = Decoder(recipe.at(1e10, seed=1))
    with torch.no_grad():  # the head starts at zero: give it something to say
        model.weight("lm_head").normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    return model


def test_a_chat_model_answers_and_scores_as_training_saw(corpus: Corpus, decoder: Decoder) -> None:
    engine = Engine(decoder, corpus.tokenizer, "tiny")
    chat = ChatModel(engine, "Be brief.")
    parts = (picture(1), Text(" What is it? "))
    sampling = Sampling(temperature=0.7, max_tokens=9, seed=2)
    [[found]] = chat.generate([GenerateRequest(parts, sampling)])
    turn = (Message.of("system", "Be brief."), Message("user", parts))
    [[plain]] = engine.generate([GenerateRequest(render_prompt(turn), sampling)])
    assert found == plain and found.token_ids
    [scores] = chat.score([ScoreRequest(parts, (" blue", "red", "\nwhy?"))])
    newline = tuple(corpus.tokenizer.encode("\n"))
    for score, text in zip(scores, ("blue", "red", "why?"), strict=True):
        ids = tuple(corpus.tokenizer.encode(text))
        before = render_prompt(turn)
        [[alone]] = engine.score(
            [ScoreRequest((*before[:-1], Text("assistant")), (newline + ids,))]
        )
        assert score.logprob == pytest.approx(alone.logprob, abs=1e-4)


def test_the_end_of_a_turn_ends_an_answer(corpus: Corpus, decoder: Decoder) -> None:
    bias = ((IM_END, 100.0),)
    request = GenerateRequest((Text("Hi"),), Sampling(max_tokens=5, logit_bias=bias))
    [[found]] = ChatModel(Engine(decoder, corpus.tokenizer, "tiny")).generate([request])
    assert (found.text, found.finish) == ("", "stop")


def test_names_tell_the_way_of_asking() -> None:
    model = Written(name="m")
    names = [ChatModel(model, system).name for system in ("", "Be brief.", "Be long.")]
    assert names[0] == "m (chat)" and len(set(names)) == 3
    assert re.fullmatch(r"m \(chat, system [0-9a-f]{8}\)", names[1])
    with pytest.raises(UserError, match="not in token ids"):
        ChatModel(model).generate([GenerateRequest((5, 6))])


def test_an_endpoint_is_asked_the_message_alone() -> None:
    model = APIModel("m", "http://127.0.0.1:9/v1")
    assert chat_prompt(model, user(" Hi ")) == (Text("Hi"),)
    with pytest.raises(UserError, match="one user's message"):
        chat_prompt(model, (Message.of("system", "s"), *user("Hi")))


# ---- The template


def as_template_sees(messages: Conversation) -> list[dict[str, Any]]:
    return [
        {"role": one.role, "content": one.parts[0].text}
        if len(one.parts) == 1 and isinstance(one.parts[0], Text)
        else {
            "role": one.role,
            "content": [
                {"type": "text", "text": part.text} if isinstance(part, Text) else {"type": "image"}
                for part in one.parts
            ],
        }
        for one in messages
    ]


def split_ids(text: str, tokenizer: Tokenizer) -> list[int]:
    """Ids of a text whose special tokens are marks."""
    marks = {name: index for index, name in enumerate(SPECIAL_TOKENS)}
    ids: list[int] = []
    for piece in re.split("(" + "|".join(map(re.escape, marks)) + ")", text):
        ids += [marks[piece]] if piece in marks else tokenizer.encode(piece)
    return ids


UNMARKED = WORDS.filter(lambda text: not any(name in text for name in SPECIAL_TOKENS))


@settings(max_examples=200)
@given(messages=conversations(UNMARKED, pictures=True), asked=st.booleans())
def test_the_template_writes_the_same_ids(
    corpus: Corpus, messages: Conversation, asked: bool
) -> None:
    # As transformers sets it up.
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(CHAT_TEMPLATE).render(
        messages=as_template_sees(messages), bos_token="<|bos|>", add_generation_prompt=asked
    )
    parts: list[Any] = [Mark(BOS), *render(messages)]
    if asked:
        parts += [Mark(IM_START), Text("assistant\n")]
    parts = [Mark(IMG) if isinstance(part, Image) else part for part in parts]
    ids = encode_parts(parts, corpus.tokenizer, PATCH).tokens.tolist()
    # Two parts may make up a mark.
    if not any(name in message.text for message in messages for name in SPECIAL_TOKENS):
        assert split_ids(text, corpus.tokenizer) == ids


@pytest.fixture(scope="module")
def exported(corpus: Corpus, decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "chat"
    export_hugging_face(decoder, corpus.tokenizer, folder, CHAT_TEMPLATE)
    return folder


def test_the_exported_folder_has_the_template(
    exported: Path, corpus: Corpus, decoder: Decoder, tmp_path: Path
) -> None:
    assert read_json(exported / "tokenizer_config.json")["chat_template"] == CHAT_TEMPLATE
    assert read_json(exported / "generation_config.json")["eos_token_id"] == [EOS, IM_END]
    export_hugging_face(decoder, corpus.tokenizer, tmp_path / "base")
    assert "chat_template" not in read_json(tmp_path / "base" / "tokenizer_config.json")
    assert read_json(tmp_path / "base" / "generation_config.json")["eos_token_id"] == EOS


def test_transformers_makes_our_ids(corpus: Corpus, exported: Path) -> None:
    transformers = pytest.importorskip(
        "transformers", reason="the template is held against transformers: pip install '.[hf]'"
    )
    loaded = transformers.AutoTokenizer.from_pretrained(exported)

    @settings(max_examples=200)
    @given(messages=conversations(UNMARKED))
    def same(messages: Conversation) -> None:
        if any(name in one.text for one in messages for name in SPECIAL_TOKENS):
            return  # two parts that make up a mark
        shown = as_template_sees(messages)
        ids = loaded.apply_chat_template(shown, tokenize=True, return_dict=False)
        assert ids == encode_chat(messages, corpus.tokenizer, PATCH).tokens.tolist()
        asked = loaded.apply_chat_template(
            shown[:-1], tokenize=True, return_dict=False, add_generation_prompt=True
        )
        prompt = encode_prompt(render_prompt(messages[:-1]), corpus.tokenizer, PATCH)
        assert asked == prompt.ids.tolist()

    same()
