"""lm-evaluation-harness and inspect_ai as clients of the service, offline."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from foresight.document import Text
from foresight.export.hugging_face import export_hugging_face
from foresight.inference.checkpoints import load_model
from foresight.inference.engine import Engine
from foresight.inference.language_model import GenerateRequest, Sampling, ScoreRequest
from foresight.posttrain.chat import render_prompt, user
from foresight.serve import completions
from tests.conftest import ROOT
from tests.serve.service import Running

QUESTIONS = [
    ("import os", [" and", ".path", "\n\n"]),
    ("def name", ["(self)", ":", " = 1"]),
    ("class A", ["(B)", ":", " return"]),
    ("for i in", [" range(3)", " self", " 1"]),
]
PEERS = ROOT / ".venv-evals-peers" / "bin"
pytestmark = pytest.mark.skipif(
    not PEERS.exists(), reason="lm-eval and inspect_ai are not installed: make .venv-evals-peers"
)


@pytest.fixture(scope="module")
def engine(run: Path) -> Engine:
    return Engine.load(run)


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "hf"
    model, tokenizer, _ = load_model(run)
    export_hugging_face(model, tokenizer, folder)
    return folder


@pytest.fixture
def harness(service: Running, exported: Path, tmp_path: Path) -> Iterator[Any]:
    """Runs a task through a kind of client; the samples that it logged."""
    rows = [{"text": text, "options": options, "label": 0} for text, options in QUESTIONS]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "test_split": "test", "doc_to_text": "{{text}}", "target_delimiter": "",
    }  # fmt: skip
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    choose = {"task": "choose", "output_type": "multiple_choice", "doc_to_choice": "options",
              "doc_to_target": "label", **common}  # fmt: skip
    write = {"task": "write", "output_type": "generate_until", "doc_to_target": "{{options[0]}}",
             "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 8, "temperature": 0},
             "metric_list": [{"metric": "exact_match"}], **common}  # fmt: skip
    for task in (choose, write):
        (tasks / f"{task['task']}.yaml").write_text(yaml.safe_dump(task))

    def evaluate(kind: str, path: str, task: str, *more: str) -> list[dict[str, Any]]:
        out = tmp_path / f"{kind}-{task}"
        arguments = (
            f"model=tiny,base_url={service.base}{path},num_concurrent=2,max_retries=1,"
            f"tokenizer_backend=huggingface,tokenizer={exported},add_bos_token=True,max_length=96"
        )
        command = [
            PEERS / "lm_eval", "run", "--model", kind, "--model_args", arguments, "--tasks", task,
            "--include_path", tasks, "--log_samples", "--output_path", out, *more,
        ]  # fmt: skip
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path),
                   "OPENAI_API_KEY": "none"}  # fmt: skip
        done = subprocess.run(
            [str(word) for word in command], env=os.environ | offline, capture_output=True,
            text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        [samples] = out.rglob("samples_*.jsonl")
        found = [json.loads(line) for line in samples.read_text().splitlines()]
        return sorted(found, key=lambda one: int(one["doc_id"]))

    yield evaluate


def _differences(samples: list[dict[str, Any]], engine: Engine) -> list[float]:
    asked = [ScoreRequest((Text(text),), tuple(options)) for text, options in QUESTIONS]
    found = []
    for sample, scores in zip(samples, engine.score(asked), strict=True):
        for [[told, greedy]], own in zip(sample["resps"], scores, strict=True):
            found.append(abs(float(told) - own.logprob))
            assert (str(greedy) == "True") == own.greedy
    return found


def test_harness_log_probabilities_are_those_in_process(harness: Any, engine: Engine) -> None:
    samples = harness("local-completions", "/v1/completions", "choose")
    differences = _differences(samples, engine)
    assert len(differences) == 12 and max(differences) < 1e-3, differences


def test_a_broken_echo_is_found_out(
    harness: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the harness ends well with zeros for log-probabilities; the comparison does
    not."""
    told = completions.text_logprobs

    def zeros(tokens: Any, offset: int) -> dict[str, Any]:
        found = told(tokens, offset)
        found["token_logprobs"] = [0.0] * len(tokens)
        found["top_logprobs"] = [{"x": 0.0}] * len(tokens)
        return found

    monkeypatch.setattr(completions, "text_logprobs", zeros)
    samples = harness("local-completions", "/v1/completions", "choose")
    with pytest.raises(AssertionError):
        assert max(_differences(samples, engine)) < 1e-3


def test_harness_generates(harness: Any, engine: Engine) -> None:
    greedy = Sampling(0.0, max_tokens=8, stop=("\n\n",))
    samples = harness("local-completions", "/v1/completions", "write")
    for sample, (text, _) in zip(samples, QUESTIONS, strict=True):
        [[own]] = engine.generate([GenerateRequest((Text(text),), greedy)])
        assert sample["resps"] == [[own.text]]
    samples = harness(
        "local-chat-completions", "/v1/chat/completions", "write", "--apply_chat_template"
    )
    for sample, (text, _) in zip(samples, QUESTIONS, strict=True):
        [[own]] = engine.generate([GenerateRequest(render_prompt(user(text)), greedy)])
        assert sample["resps"] == [[own.text]]


TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import includes

@task
def ask():
    return Task(
        dataset=[Sample(input=text, target="x") for text in {texts}], scorer=includes(),
        config=GenerateConfig(temperature=0, max_tokens=8, logprobs=True, top_logprobs=2),
    )
"""


def test_inspect(service: Running, engine: Engine, tmp_path: Path) -> None:
    texts = [text for text, _ in QUESTIONS]
    (tmp_path / "ask.py").write_text(TASK.format(texts=texts))
    told = {"SERVICE_API_KEY": "none", "SERVICE_BASE_URL": f"{service.base}/v1"}
    done = subprocess.run(
        [str(PEERS / "inspect"), "eval", "ask.py", "--model", "openai-api/service/tiny",
         "--log-dir", "logs", "--log-format", "json", "--display", "plain"],
        cwd=tmp_path, env=os.environ | told, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    [log] = (tmp_path / "logs").glob("*.json")
    found = json.loads(log.read_text())
    assert found["status"] == "success", found.get("error")
    assert len(found["samples"]) == len(texts)
    for sample in found["samples"]:
        prompt = render_prompt(user(sample["input"]))
        drawn = Sampling(0.0, max_tokens=8, logprobs=2)
        [[own]] = engine.generate([GenerateRequest(prompt, drawn)])
        [choice] = sample["output"]["choices"]
        assert choice["message"]["content"] == own.text
        nats = [one["logprob"] for one in choice["logprobs"]["content"]]
        assert nats == pytest.approx([one.logprob for one in own.tokens], abs=1e-4)
