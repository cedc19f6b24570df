"""Records as a log of inspect_ai, which `inspect view` opens.

Format: inspect_ai `log/_log.py` (`EvalLog`, version 2), as one JSON file or as `.eval`: a zip of
`header.json`, `summaries.json` and a file per sample, the form for large logs.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foresight import __version__
from foresight.errors import UserError
from foresight.evals.layout import LETTERS, PICTURE
from foresight.evals.record import Reason, Record
from foresight.evals.summary import summarise
from foresight.runs import sha256_json, write_atomic

VERSION = 2
SCORER = "foresight"
THIN = 1000
"""Characters of each text that the list of samples shows."""
_REASONS = {
    Reason.OK: None,
    Reason.INVALID_FORMAT: "invalid_response_format",
    Reason.UNGRADED: "grader_failed",
}
"""Ours that have another name there, or none; the others are spelt alike."""

Json = dict[str, Any]


def write_logs(
    records: Sequence[Record],
    to: Path,
    created: datetime,
    pictures: Path | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write one log per (task, model) and return the files.

    `to`: a `.json` or `.eval` file, if the records are of one task and model; else a folder, which
    gets `.eval` files. `created`: when the records were made; the same records and time give the
    same bytes. `pictures`: folder of `SHA-256.png`, put into the prompts that name them.
    `metadata`: of the tasks' settings, JSON values. Raises UserError if there is nothing to write
    or `to` does not fit.
    """
    if not records:
        raise UserError("no records to export")
    runs: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        runs.setdefault((record.task, record.model), []).append(record)
    single = to.suffix in (".json", ".eval")
    if single and len(runs) > 1:
        raise UserError(
            f"{to}: the records are of {len(runs)} tasks and models, a log is of one; name a folder"
        )
    written = []
    for run in runs.values():
        log = inspect_log(run, created, pictures, metadata)
        path = to if single else to / _file_name(log["eval"])
        write_atomic(path, _zipped(log) if path.suffix == ".eval" else _json(log))
        written.append(path)
    return written


def inspect_log(
    records: Sequence[Record],
    created: datetime,
    pictures: Path | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Json:
    """The log of records of one task and model, as the JSON object of an `EvalLog`.

    A record's `item` is the sample's id, its `sample` + 1 the epoch. Options are lettered, as
    inspect's own multiple-choice scorer has them. What has no score there is NaN with a reason,
    which inspect's metrics leave out; an unanswered question is also an error of its sample.
    Where nothing was generated (options were scored) the assistant's message is the option chosen.
    """
    first, when = records[0], created.astimezone(UTC).isoformat(timespec="seconds")
    identity = sha256_json([first.task, first.model, when, [record.key for record in records]])
    items = list(dict.fromkeys(record.item for record in records))
    samples = [_sample(record, identity, pictures) for record in records]
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            "eval_id": identity[:22],
            "run_id": identity[22:44],
            "created": when,
            "task": first.task,
            # Of the run, not of the task: the viewer hides all but one log with the same.
            "task_id": identity[-22:],
            "dataset": {
                "name": first.task, "samples": len(items), "sample_ids": items, "shuffled": False,
            },
            "model": first.model,
            "config": {"epochs": max(record.sample for record in records) + 1},
            "packages": {"foresight": __version__},
            "metadata": dict(metadata or {}),
            "scorers": [{"name": SCORER, "options": {}, "metrics": [{"name": "mean"}]}],
        },
        "plan": {"name": "plan", "steps": []},
        "results": _results(records),
        "stats": {
            "started_at": when,
            "completed_at": when,
            "model_usage": {first.model: _usage(records)},
        },
        "samples": samples,
    }  # fmt: skip


def _results(records: Sequence[Record]) -> Json:
    found = summarise(records)
    metrics: Json = {}
    if found.score is not None:
        metrics["mean"] = {"name": "mean", "value": found.score.mean}
        if found.score.se is not None:
            metrics["stderr"] = {"name": "stderr", "value": found.score.se}
    score = {
        "name": SCORER,
        "scorer": SCORER,
        "scored_samples": found.records - found.unscored,
        "unscored_samples": found.unscored,
        "metrics": metrics,
        "metadata": {"reasons": found.reasons},
    }
    answered = sum(record.reason is not Reason.NO_RESPONSE for record in records)
    return {"total_samples": len(records), "completed_samples": answered, "scores": [score]}


def _usage(records: Sequence[Record]) -> Json:
    tokens = sum(record.tokens for record in records)
    return {"input_tokens": 0, "output_tokens": tokens, "total_tokens": tokens}


def _sample(record: Record, identity: str, pictures: Path | None) -> Json:
    name = sha256_json([identity, record.key])[:22]
    said = record.output or record.answer or ""
    content = _content(record.prompt, pictures)
    messages: list[Json] = [
        {"id": f"{name}-q", "role": "user", "source": "input", "content": content}
    ]
    output: Json = {"model": record.model, "choices": [], "usage": _usage([record])}
    if record.reason is not Reason.NO_RESPONSE:
        answer = {
            "id": f"{name}-a", "role": "assistant", "source": "generate", "content": said,
            "model": record.model,
        }  # fmt: skip
        messages.append(answer)
        output["choices"] = [{"message": answer, "stop_reason": "stop"}]
        output["completion"] = said
    sample: Json = {
        "id": record.item,
        "epoch": record.sample + 1,
        "input": record.prompt if isinstance(content, str) else messages[:1],
        "choices": list(record.choices) or None,
        "target": _target(record),
        "messages": messages,
        "output": output,
        "scores": {SCORER: _score(record)},
        "metadata": {
            "key": record.key,
            "group": record.group,
            "weight": record.weight,
            "choice_logprobs": list(record.choice_logprobs),
            **record.details,
        },
        "model_usage": {record.model: _usage([record])},
        "uuid": name,
    }
    if record.reason is Reason.NO_RESPONSE:
        message = str(record.details.get("error") or "no response")
        sample["error"] = {"message": message, "traceback": message, "traceback_ansi": message}
    return sample


def _content(prompt: str, pictures: Path | None) -> str | list[Json]:
    """The prompt; as a list of texts and pictures where it names pictures that are there."""
    if pictures is None:
        return prompt
    content: list[Json] = []
    end = 0
    for found in PICTURE.finditer(prompt):
        file = pictures / f"{found[1]}.png"
        if not file.is_file():
            continue
        content.append({"type": "text", "text": prompt[end : found.start()]})
        data = base64.b64encode(file.read_bytes()).decode()
        content.append({"type": "image", "image": f"data:image/png;base64,{data}"})
        end = found.end()
    if not content:
        return prompt
    return [part for part in [*content, {"type": "text", "text": prompt[end:]}]
            if part.get("text") != ""]  # fmt: skip


def _target(record: Record) -> str | list[str]:
    target = record.target
    if isinstance(target, int) and target < len(record.choices):
        return _letter(target)
    if isinstance(target, list | tuple):
        return [part if isinstance(part, str) else _json(part) for part in target]
    return target if isinstance(target, str) else _json(target)


def _letter(index: int) -> str:
    return LETTERS[index] if index < len(LETTERS) else str(index + 1)


def _score(record: Record) -> Json:
    answer = record.answer
    if record.choice_logprobs and answer in record.choices:
        answer = _letter(record.choices.index(answer))
    lines = [f"{record.reason.value}: {record.answer}"]
    for index, (text, value) in enumerate(
        zip(record.choices, record.choice_logprobs, strict=False)
    ):
        lines.append(f"{_letter(index)}) {text}: {value:.4f} nats")
    return {
        "value": math.nan if record.score is None else record.score,
        "answer": answer,
        "explanation": "\n".join(lines),
        "reason": _REASONS.get(record.reason, record.reason.value),
        "metadata": {"reason": record.reason.value},
    }


def _file_name(spec: Json) -> str:
    # Underscores part a log's name into date, task and id.
    task = re.sub(r"[^A-Za-z0-9.-]+", "-", spec["task"])
    return f"{spec['created'].replace(':', '-')}_{task}_{spec['eval_id']}.eval"


def _json(value: Any) -> str:
    # NaN and infinities stand as such, as inspect writes and reads them.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _zipped(log: Json) -> bytes:
    """The `.eval` form. Members have a fixed date, so that equal logs are equal bytes."""
    header = {key: value for key, value in log.items() if key != "samples"}
    start = {key: log[key] for key in ("version", "eval", "plan")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in _members(log["samples"], start, header):
            archive.writestr(zipfile.ZipInfo(name), _json(value), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _members(samples: Sequence[Json], start: Json, header: Json) -> Iterator[tuple[str, Any]]:
    yield "_journal/start.json", start
    for sample in samples:
        yield f"samples/{sample['id']}_epoch_{sample['epoch']}.json", sample
    yield "summaries.json", [_summary(sample) for sample in samples]
    yield "header.json", header


def _summary(sample: Json) -> Json:
    """What the list of samples shows; long texts are cut."""
    names = ("id", "epoch", "choices", "model_usage", "uuid")
    shown = sample["input"]
    if not isinstance(shown, str):
        shown = "".join(part.get("text", "[image]") for part in shown[0]["content"])
    error = sample.get("error")
    return {
        **{name: sample[name] for name in names},
        "input": shown[:THIN],
        "target": sample["target"],
        "metadata": {"group": sample["metadata"]["group"]},
        "scores": {
            name: {**score, "explanation": score["explanation"][:THIN]}
            for name, score in sample["scores"].items()
        },
        "error": error["message"][:THIN] if error else None,
        "completed": True,
        "message_count": len(sample["messages"]),
    }
