"""Samples logged by lm-evaluation-harness (`--log_samples`) as records.

Format: EleutherAI lm-evaluation-harness 0.4, `loggers/evaluation_tracker.py`: a file
`samples_TASK_DATE.jsonl` per task with a line per document and filter, beside
`results_DATE.json`, which names the model and the tasks' settings.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foresight.errors import UserError
from foresight.evals.files import read_rows
from foresight.evals.record import Reason, Record, record_key
from foresight.runs import read_json, sha256_json

INVALID = "[invalid]"
"""What the harness's regex filters give where they find nothing."""
_NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl(\.gz)?")
_NO_FILTER = "none"


@dataclass(frozen=True)
class LoggedRun:
    """What one filter made of one task: a score per document.

    `metric`: the one that the records' scores are. `stated`: its mean in the results file beside,
    None where there is none.
    """

    path: Path
    task: str
    filter: str
    metric: str
    records: tuple[Record, ...]
    stated: float | None

    @property
    def mean(self) -> float:
        scores = [record.score for record in self.records if record.score is not None]
        return math.fsum(scores) / len(scores) if scores else 0.0

    def summary(self) -> dict[str, Any]:
        """For people; `agrees`: samples and results file say the same, as far as both do."""
        return {
            "file": str(self.path),
            "task": self.task,
            "filter": self.filter,
            "metric": self.metric,
            "records": len(self.records),
            "mean": self.mean,
            "stated": self.stated,
            "agrees": self.stated is None or math.isclose(self.mean, self.stated, abs_tol=1e-6),
        }


@dataclass(frozen=True)
class _Source:
    """A samples file, and what the results file beside it says of it."""

    path: Path
    task: str
    model: str
    delimiter: str
    results: dict[str, float]

    @classmethod
    def of(cls, path: Path) -> _Source:
        named = _NAME.fullmatch(path.name)
        if named is None:
            return cls(
                path, path.name.split(".")[0].removeprefix("samples_"), _folder(path), " ", {}
            )
        task, beside = named["task"], path.with_name(f"results_{named['date']}.json")
        if not beside.exists():
            return cls(path, task, _folder(path), " ", {})
        said = read_json(beside)
        model = said.get("model_name") or said.get("config", {}).get("model")
        if not isinstance(model, str):
            raise UserError(f"{beside}, field model_name: {model!r}; expected the model's name")
        delimiter = said.get("configs", {}).get(task, {}).get("target_delimiter", " ")
        return cls(path, task, model, delimiter, said.get("results", {}).get(task, {}))


def _folder(path: Path) -> str:
    """The harness names a folder after the model, with `__` for a slash."""
    return path.resolve().parent.name.replace("__", "/")


def read_samples(path: Path, metric: str | None = None) -> list[LoggedRun]:
    """One run per filter of a samples file, in the order of the file.

    `metric`: which of the logged metrics is the score; default: the first that lies in [0, 1].
    An item's id is the document's own (`id`, `task_id`) where it has a unique one, else its
    `doc_id`. Log-probabilities are those of the options in nats; `answer` is the option that the
    metric chooses (by log-probability; per character or byte for acc_norm and acc_bytes; less the
    unconditional one for acc_mutual_info). An answer that a filter could not find is
    `invalid_format`. Raises UserError naming file, line and field; so also if every
    log-probability is 0, as from an endpoint that does not echo them: such scores are chance.
    """
    source = _Source.of(path)
    by_filter: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for where, sample in read_rows(path):
        by_filter.setdefault(str(sample.get("filter", _NO_FILTER)), []).append((where, sample))
    if not by_filter:
        raise UserError(f"{path}: no samples")
    return [_run(source, name, samples, metric) for name, samples in by_filter.items()]


def _run(
    source: _Source, name: str, samples: list[tuple[str, dict[str, Any]]], metric: str | None
) -> LoggedRun:
    chosen = metric or _first_metric(*samples[0])
    lines: dict[int, str] = {}
    for where, sample in samples:
        number = _field(where, sample, "doc_id", int)
        if number in lines:
            raise UserError(f"{where}, field doc_id: {number} stands already in {lines[number]}")
        lines[number] = where
    ids = [_own_id(sample) for _, sample in samples]
    unique = None not in ids and len(set(ids)) == len(ids)
    task = source.task if name == _NO_FILTER else f"{source.task}:{name}"
    records = tuple(
        _record(source, task, chosen, where, sample, (unique and own) or str(sample["doc_id"]))
        for (where, sample), own in zip(samples, ids, strict=True)
    )
    scored = [value for record in records for value in record.choice_logprobs]
    if scored and not any(scored):
        raise UserError(
            f"{source.path}: every log-probability is 0.0: the endpoint did not echo the prompt's "
            f"log-probabilities, and the scores are chance; run it again with one that does"
        )
    stated = source.results.get(f"{chosen},{name}")
    return LoggedRun(source.path, task, name, chosen, records, stated)


def _own_id(sample: dict[str, Any]) -> str | None:
    doc = sample.get("doc")
    found = (doc.get("id"), doc.get("task_id")) if isinstance(doc, dict) else ()
    return next((str(value) for value in found if isinstance(value, str | int)), None)


def _first_metric(where: str, sample: dict[str, Any]) -> str:
    names = _field(where, sample, "metrics", list)
    for name in names:
        if _in_unit_interval(sample.get(name)):
            return str(name)
    raise UserError(
        f"{where}, field metrics: none of {', '.join(map(str, names))} is a score in [0, 1]"
    )


def _in_unit_interval(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _field(where: str, sample: dict[str, Any], name: str, kind: type) -> Any:
    value = sample.get(name)
    if not isinstance(value, kind):
        found = "missing" if name not in sample else repr(value)[:80]
        raise UserError(f"{where}, field {name}: {found}; expected {kind.__name__}")
    return value


def _record(
    source: _Source, task: str, metric: str, where: str, sample: dict[str, Any], item: str
) -> Record:
    score = sample.get(metric)
    if not _in_unit_interval(score):
        raise UserError(f"{where}, field {metric}: {score!r}; expected a score in [0, 1]")
    requests = _requests(where, sample)
    filtered = _field(where, sample, "filtered_resps", list)
    if len(filtered) != len(requests):
        raise UserError(
            f"{where}, field filtered_resps: {len(filtered)} for {len(requests)} arguments"
        )
    read = _choice if all(map(_is_logprob, filtered)) else _generation
    fields = read(where, sample, requests, metric, source.delimiter)
    hashes = {key: sample[key] for key in ("doc_hash", "prompt_hash") if key in sample}
    identity = sha256_json(["lm-eval", task, metric, hashes or sample.get("doc")])
    details = {
        "doc_id": sample["doc_id"],
        "doc": sample.get("doc"),
        **hashes,
        "metrics": {name: sample.get(name) for name in sample.get("metrics", [metric])},
        **fields.pop("details"),
    }
    if fields["reason"] is Reason.NO_RESPONSE:
        score = None
    return Record(
        key=record_key(identity, item, 0, source.model),
        task=task,
        item=item,
        sample=0,
        model=source.model,
        group="",
        weight=1.0,
        score=None if score is None else float(score),
        details=details,
        **fields,
    )


def _requests(where: str, sample: dict[str, Any]) -> list[tuple[str, Any]]:
    """Pairs of context, and continuation or settings."""
    raw = sample.get("arguments")
    if isinstance(raw, dict):
        # Numbered keys, which no sort may put in the order 0, 1, 10, 2.
        raw = [
            [one.get(f"arg_{j}") for j in range(len(one))]
            for one in (raw.get(f"gen_args_{i}") for i in range(len(raw)))
            if isinstance(one, dict)
        ]
    if not isinstance(raw, list) or not raw or any(not one for one in raw):
        raise UserError(f"{where}, field arguments: expected gen_args_0, gen_args_1, ...")
    # A chat prompt is logged as a list of messages: kept as JSON.
    return [
        (
            one[0] if isinstance(one[0], str) else json.dumps(one[0], ensure_ascii=False),
            one[1] if len(one) > 1 else "",
        )
        for one in raw
    ]


def _is_logprob(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and str(value[1]) in ("True", "False")


def _choice(
    where: str,
    sample: dict[str, Any],
    requests: list[tuple[str, Any]],
    metric: str,
    delimiter: str,
) -> dict[str, Any]:
    try:
        logprobs = [float(value) for value, _ in sample["filtered_resps"]]
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}, field filtered_resps: {error}; expected nats") from None
    if any(map(math.isnan, logprobs)):
        raise UserError(f"{where}, field filtered_resps: a log-probability is nan")
    details: dict[str, Any] = {}
    half = len(requests) // 2
    if half and len(requests) == 2 * half and all(not context for context, _ in requests[half:]):
        # Of acc_mutual_info: the options once more, without the question.
        details["unconditional_logprobs"] = logprobs[half:]
        logprobs, requests = logprobs[:half], requests[:half]
    prompt, texts = requests[0][0], [str(text).removeprefix(delimiter) for _, text in requests]
    if len(texts) > 1 and len(set(texts)) == 1:
        # Options in the middle of the text (Winogrande): the beginnings are what differs, and
        # the target that is logged is the common end.
        prompt, texts = str(requests[0][1]), [context for context, _ in requests]
    best = _best(logprobs, texts, metric, details)
    greedy = [str(flag) == "True" for _, flag in sample["filtered_resps"]]
    answer = texts[best] if len(texts) > 1 or greedy[0] else None
    return {
        "prompt": prompt,
        "output": "",
        "answer": answer,
        "target": _target(sample, texts, best, metric),
        "reason": Reason.OK,
        "choices": tuple(texts),
        "choice_logprobs": tuple(logprobs),
        "details": details,
    }


def _best(
    logprobs: Sequence[float], texts: Sequence[str], metric: str, details: dict[str, Any]
) -> int:
    values = list(logprobs)
    if metric == "acc_norm":
        values = [v / (len(text) or 1) for v, text in zip(values, texts, strict=True)]
    elif metric == "acc_bytes":
        values = [v / (len(text.encode()) or 1) for v, text in zip(values, texts, strict=True)]
    elif metric == "acc_mutual_info" and "unconditional_logprobs" in details:
        free = details["unconditional_logprobs"]
        values = [v - u for v, u in zip(values, free, strict=True)]
    return values.index(max(values))


def _target(sample: dict[str, Any], texts: Sequence[str], best: int, metric: str) -> Any:
    """The index of the right option. The log holds it as text: "1" may be an index or an option;
    the score then tells which."""
    text = str(sample.get("target", "")).strip()
    found = [index for index, option in enumerate(texts) if option.strip() == text]
    if text.isdigit() and int(text) < len(texts):
        found.insert(0, int(text))
    right = float(sample[metric]) == 1.0
    if not found:
        return best if right else _list(text)
    return next((index for index in found if (index == best) == right), found[0])


def _list(text: str) -> Any:
    """Several right options are logged as "[0, 2]"."""
    try:
        value = json.loads(text) if text.startswith("[") else text
    except json.JSONDecodeError:
        return text
    return value


def _generation(
    where: str,
    sample: dict[str, Any],
    requests: list[tuple[str, Any]],
    metric: str,
    delimiter: str,
) -> dict[str, Any]:
    raw = _field(where, sample, "resps", list)
    outputs = raw[0] if raw and isinstance(raw[0], list) else raw
    answers = sample["filtered_resps"][0]
    answer = answers[0] if isinstance(answers, list) and answers else answers
    details: dict[str, Any] = {"generation": requests[0][1]}
    if len(outputs) > 1:
        details["outputs"] = outputs
    output = outputs[0] if outputs else None
    reason = Reason.OK
    if not isinstance(output, str):
        reason = Reason.NO_RESPONSE
    elif answer in (INVALID, []):
        reason = Reason.INVALID_FORMAT
    return {
        "prompt": requests[0][0],
        "output": output if isinstance(output, str) else "",
        "answer": str(answer) if reason is Reason.OK else None,
        "target": _list(str(sample.get("target", ""))),
        "reason": reason,
        "details": details,
    }
