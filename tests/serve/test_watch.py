"""What is watched for: flagged, blocked, held back, counted; and what reviewers make of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sql

from foresight.errors import UserError
from foresight.posttrain.conversations import read_demonstrations, read_prompts
from foresight.posttrain.text_classifier import TextClassifier, TextSettings
from foresight.serve import review
from foresight.serve.audit import EVENTS
from foresight.serve.policy import Policy
from foresight.serve.settings import ServiceSettings
from tests.serve.service import Running, running, until

POLICY = """
name: test
version: 3
sample_rate: 1.0
second_labels: 1.0
hold_back: 8
redact: ["[0-9]{4}"]
strikes: {warn: 2, suspend: 3, hours: 1}
categories:
  - {name: weapons, rules: ["how to arm", "armed"], flag: 0.5, block: 0.9, sides: [input]}
  - {name: rude, rules: [], flag: 0.5, block: 1.0, sides: [input]}
  - {name: leak, rules: ["LEAK"], sides: [output]}
classifier: classifier
"""


@pytest.fixture(scope="module")
def policy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    (folder / "policy.yaml").write_text(POLICY)
    texts = [("you are a fool", ""), ("what a fool you are", ""), ("you fool", ""),
             ("how are you", ""), ("what is this", ""), ("tell me of birds", "")]  # fmt: skip
    labels = ["rude"] * 3 + ["fine"] * 3
    TextClassifier.fit(texts, labels, TextSettings()).save(folder / "classifier")
    return folder / "policy.yaml"


@pytest.fixture
def watched(run: Path, policy_file: Path, tmp_path: Path) -> Iterator[Running]:
    settings = ServiceSettings(
        models={"tiny": str(run)}, policy=policy_file, database=f"sqlite:///{tmp_path}/a.db"
    )
    with running(settings) as found:
        yield found


def ask(service: Running, text: str, **given: Any) -> tuple[int, dict[str, str], Any]:
    body = {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 4}
    return service.ask("POST", "/v1/chat/completions", {**body, **given})


def events(service: Running) -> list[dict[str, Any]]:
    with service.service.watch.audit.engine.connect() as database:
        return [dict(row) for row in database.execute(sql.select(EVENTS)).mappings()]


def test_what_is_fine_is_answered_and_kept(watched: Running) -> None:
    status, told, body = ask(watched, "how are you, 1234?")
    assert status == 200
    [event] = events(watched)
    assert event["request_id"] == told["x-request-id"]
    assert event["action"] == "allow" and event["sampled"] and event["policy"][:7] == "test/3@"
    assert json.loads(event["input"]) == [{"role": "user", "content": "how are you, [redacted]?"}]
    assert json.loads(event["output"]) == [body["choices"][0]["message"]["content"]]
    assert event["tokens"] == body["usage"]["completion_tokens"]


def test_a_rule_blocks(watched: Running) -> None:
    status, _, body = ask(watched, "Tell me HOW TO ARM it")
    assert status == 400 and body["error"]["code"] == "content_filter"
    assert "weapons" in body["error"]["message"]
    [event] = events(watched)
    assert (event["action"], event["category"], event["output"]) == ("block", "weapons", "[]")
    assert watched.service.pool.get("tiny").worker.tokens_drawn == 0


def test_earlier_turns_and_the_system_message_are_judged_too(watched: Running) -> None:
    turns = [{"role": "user", "content": "how to arm it"}, {"role": "assistant", "content": "ok"},
             {"role": "user", "content": "go on"}]  # fmt: skip
    system = [{"role": "system", "content": "say how to arm it"},
              {"role": "user", "content": "go on"}]  # fmt: skip
    for messages in (turns, system):
        status, _, body = ask(watched, "", messages=messages)
        assert (status, body["error"]["code"]) == (400, "content_filter")
    assert ask(watched, "", messages=turns[1:])[0] == 200


def test_what_was_no_question_is_not_on_record(watched: Running) -> None:
    assert ask(watched, "x " * 500)[0] == 400
    assert events(watched) == []


def test_the_classifier_flags_and_lets_through(watched: Running) -> None:
    assert ask(watched, "what a fool you are, fool")[0] == 200
    [event] = events(watched)
    assert (event["action"], event["category"]) == ("flag", "rude")
    assert 0.5 <= json.loads(event["scores"])["input"]["rude"] < 1.0
    text = watched.ask("GET", "/metrics")[2].decode()
    assert 'foresight_judged_total{action="flag",category="rude",side="input"} 1.0' in text


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_is_held_back_until_it_is_judged(
    watched: Running, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is made to leak: not one character of it is told."""
    tokenizer = watched.service.pool.get("tiny").worker.engine.tokenizer
    [letter] = tokenizer.encode("x")
    judge = watched.service.watch.judge
    monkeypatch.setitem(judge._rules, "leak", [__import__("re").compile("x{5}")])
    client = openai.OpenAI(api_key="none", base_url=f"{watched.base}/v1", max_retries=0)
    given: dict[str, Any] = {
        "model": "tiny", "messages": [{"role": "user", "content": "go"}], "max_tokens": 40,
        "logit_bias": {str(letter): 100.0},
    }  # fmt: skip
    if stream:
        chunks = list(client.chat.completions.create(**given, stream=True))
        text = "".join(one.choices[0].delta.content or "" for one in chunks)
        finish = chunks[-1].choices[0].finish_reason
    else:
        whole = client.chat.completions.create(**given).choices[0]
        text, finish = whole.message.content or "", whole.finish_reason
    assert (text, finish) == ("", "content_filter")
    [event] = events(watched)
    assert (event["action"], event["category"]) == ("block", "leak")
    assert "xxxxx" in event["output"], "reviewers see what was held back"
    # The control: without the rule the same model tells it.
    monkeypatch.setitem(judge._rules, "leak", [])
    whole = client.chat.completions.create(**given).choices[0]
    assert whole.message.content == "x" * 40


def test_held_back_is_not_lost(watched: Running) -> None:
    """A stream through the watch says what the whole says."""
    given = {"temperature": 1.0, "seed": 4, "max_tokens": 40, "n": 2}
    _, _, whole = ask(watched, "go", **given)
    client = openai.OpenAI(api_key="none", base_url=f"{watched.base}/v1")
    texts = ["", ""]
    for chunk in client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "go"}], stream=True, **given
    ):  # type: ignore[call-overload]
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [one["message"]["content"] for one in whole["choices"]]


def test_warned_suspended_and_let_in_again(watched: Running) -> None:
    bad, me = "how to arm it", {"safety_identifier": "user-1"}
    told = [ask(watched, bad, **me)[2]["error"] for _ in range(3)]
    assert "more" not in told[0]["message"]
    assert "1 more and this account is suspended" in told[1]["message"]
    assert "suspended until a person" in told[2]["message"]
    status, _, body = ask(watched, "how are you", **me)
    assert status == 403 and body["error"]["code"] == "suspended"
    assert ask(watched, "how are you", safety_identifier="user-2")[0] == 200, "others are not"
    _, _, standing = watched.ask("GET", "/review/standing")
    [one] = standing["suspended"]
    assert "user-1" not in one["subject"], "the log knows a hash"
    assert watched.ask("POST", "/review/lift", {"subject": one["subject"]})[0] == 200
    assert ask(watched, "how are you", **me)[0] == 200
    assert "more" not in ask(watched, bad, **me)[2]["error"]["message"], "the count begins anew"
    assert watched.ask("POST", "/review/lift", {"subject": "nobody"})[0] == 400


def test_moderations(watched: Running) -> None:
    client = openai.OpenAI(api_key="none", base_url=f"{watched.base}/v1")
    fine, bad = client.moderations.create(input=["how are you", "how to arm"]).results
    assert not fine.flagged and bad.flagged
    assert bad.categories.model_dump()["weapons"] is True
    assert fine.category_scores.model_dump()["weapons"] == 0.0
    assert events(watched) == []


def test_review_to_exports(watched: Running, tmp_path: Path) -> None:
    ask(watched, "what a fool you are, fool")
    ask(watched, "how are you")
    ask(watched, "how to arm")
    _, told, _ = ask(watched, "go on")
    feedback = {"request_id": told["x-request-id"], "verdict": "unsafe", "why": "<b>odd</b>"}
    assert watched.ask("POST", "/v1/feedback", feedback)[0] == 200
    _, _, queue = watched.ask("GET", "/review/cases")
    assert queue["verdicts"] == ["fine", "weapons", "rude", "leak"]
    assert [one["action"] for one in queue["cases"]] == ["flag", "allow", "block", "allow"]
    assert queue["cases"][3]["feedback"] == ["unsafe: <b>odd</b>"]
    ids = [one["id"] for one in queue["cases"]]
    for id, verdict, better in zip(
        ids, ("rude", "fine", "weapons", "rude"), ("Let us be kind.", "", "", ""), strict=True
    ):
        body = {"verdict": verdict, "better": better}
        assert watched.ask("POST", f"/review/cases/{id}", body)[0] == 200
    assert watched.ask("POST", f"/review/cases/{ids[0]}", {"verdict": "odd"})[0] == 400
    assert watched.ask("POST", "/review/cases/999", {"verdict": "fine"})[0] == 400
    assert watched.ask("GET", "/review/cases")[2]["cases"] == [], "one labels a case once"
    log, policy = watched.service.watch.audit, watched.service.watch.policy
    assert len(review.queue(log, policy, "another")) == 4, "a second one labels them, too"
    for kind, count in (("sft", 1), ("prompts", 4), ("items", 4), ("classifier", 7)):
        status, _, data = watched.ask("GET", f"/review/export/{kind}")
        lines = data.decode().splitlines() if isinstance(data, bytes) else [json.dumps(data)]
        assert (status, len(lines)) == (200, count), kind
        (tmp_path / f"{kind}.jsonl").write_text("\n".join(lines) + "\n")
    [demonstration] = read_demonstrations(tmp_path / "sft.jsonl")
    assert demonstration.messages[-1].text == "Let us be kind."
    assert demonstration.meta["reviewers"] == ["local"]
    assert {one.prompt_set for one in read_prompts(tmp_path / "prompts.jsonl")} == {
        "rude", "fine", "weapons",
    }  # fmt: skip


def test_standing(watched: Running) -> None:
    """Two flagged, both violations; two allowed, one of them missed: recall 2 of 3."""
    for text in ("how to arm", "you fool, what a fool", "go on", "how are you"):
        ask(watched, text)
    log, policy = watched.service.watch.audit, watched.service.watch.policy
    for case, verdict in zip(
        review.queue(log, policy, "ann"), ("weapons", "rude", "rude", "fine"), strict=True
    ):
        review.label(log, policy, case.id, "ann", verdict, "", "")
    found = review.standing(log, policy.label)
    assert (found.events, found.flagged) == (4, 2)
    assert found.precision.value == 1.0
    assert found.missed.value == 0.5
    assert found.recall.value == pytest.approx(2 / 3)
    assert found.recall.low == pytest.approx(2 / 3), "all are labelled: nothing is uncertain"
    assert found.agreement is None


def test_retention(watched: Running) -> None:
    ask(watched, "how are you")
    log = watched.service.watch.audit
    policy = watched.service.watch.policy.model_copy(update={"retention_days": 1.0})
    assert review.redact_old(log, policy, time.time()) == 0
    assert review.redact_old(log, policy, time.time() + 90_000) == 1
    [event] = events(watched)
    assert event["input"] == "[]" and event["redacted_at"] and event["request_id"]
    assert review.queue(log, policy, "ann") == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("categories: [{name: fine}]", "categories.0"),
        ("categories: [{name: a, rules: ['(']}]", "no regular expression"),
        ("categories: [{name: a, flag: 0.9, block: 0.1}]", "below flag"),
        ("categories: [{name: a}, {name: a}]", "two have one name"),
        ("colour: 1", "field colour"),
        ("- 1", r"field \(all\)"),
        ("{", "YAML"),
    ],
)
def test_a_policy_that_is_none(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=named):
        Policy.read(path)


def test_recall_covers() -> None:
    """Intervals of recall hold the truth as often as they say, on simulated traffic."""
    import numpy as np

    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        violation = rng.random(4000) < 0.05
        flagged = np.where(violation, rng.random(4000) < 0.8, rng.random(4000) < 0.02)
        sampled = ~flagged & (rng.random(4000) < 0.2)
        truth = (violation & flagged).sum() / violation.sum()
        _, _, recall = review._shares(
            list(violation[flagged].astype(float)), list(violation[sampled].astype(float)),
            int(flagged.sum()), int((~flagged).sum()),
        )  # fmt: skip
        assert recall.low is not None and recall.high is not None
        held += recall.low <= truth <= recall.high
    assert 0.92 <= held / 300 <= 0.985, held


def test_what_a_policy_names_must_be_there(run: Path, tmp_path: Path) -> None:
    from foresight.serve.app import build

    (tmp_path / "p.yaml").write_text("judge: nobody")
    settings = ServiceSettings(models={"tiny": str(run)}, policy=tmp_path / "p.yaml")
    with pytest.raises(UserError, match="not among the models"):
        build(settings)


def test_the_model_judges(run: Path, tmp_path: Path) -> None:
    """A category that is asked of the model itself, through decisions."""
    (tmp_path / "p.yaml").write_text(
        "judge: tiny\ncategories: [{name: odd, asks: It is odd., flag: 0.0, block: 1.0}]"
    )
    settings = ServiceSettings(
        models={"tiny": str(run)}, policy=tmp_path / "p.yaml", database=f"sqlite:///{tmp_path}/a.db"
    )
    with running(settings) as found:
        assert ask(found, "hi")[0] == 200
        until(lambda: len(events(found)) == 1)
        scores = json.loads(events(found)[0]["scores"])
        body = {"model": "tiny", "input": "user: hi\n",
                "questions": [{"type": "predicate", "instructions": "It is odd."}]}  # fmt: skip
        _, _, told = found.ask("POST", "/v1/decisions", body)
        assert scores["input"]["odd"] == pytest.approx(told["answers"][0]["probability"], abs=1e-6)
        assert events(found)[0]["action"] == "flag"
