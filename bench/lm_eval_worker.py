"""lm-evaluation-harness in a process of its own, for `choice_parity.py`; runs in the peers' venv.

    python lm_eval_worker.py HF_FOLDER TASK_FOLDER TASK OUT THREADS BATCH...

Loads the model once per batch size. For every line on standard input, a batch size, it evaluates
the task and prints one line of JSON: `seconds` of the whole evaluation, `model_seconds` inside the
model's `loglikelihood`, and the `file` of samples.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager


class TimedHFLM(HFLM):
    """Counts the seconds spent in the model."""

    seconds = 0.0

    def loglikelihood(self, *args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        try:
            return super().loglikelihood(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - begun


def main() -> None:
    folder, tasks, task, out, threads, *batches = sys.argv[1:]
    torch.set_num_threads(int(threads))
    models = {
        batch: TimedHFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=int(batch))
        for batch in batches
    }
    manager = TaskManager(include_path=tasks)
    print(json.dumps({"ready": True}), flush=True)
    for number, line in enumerate(sys.stdin):
        model = models[line.strip()]
        model.seconds, begun = 0.0, time.perf_counter()
        found = simple_evaluate(
            model=model, tasks=[task], task_manager=manager, log_samples=True, bootstrap_iters=0
        )
        seconds = time.perf_counter() - begun
        target = Path(out) / str(number)
        # Without model arguments the tracker has no name for the folder's model.
        tracker = EvaluationTracker(output_path=str(target))
        tracker.general_config_tracker.model_name_sanitized = "model"
        samples = found.pop("samples")
        tracker.save_results_aggregated(results=found, samples=samples)
        tracker.save_results_samples(task_name=task, samples=samples[task])
        (file,) = target.rglob("samples_*.jsonl")
        told = {"seconds": seconds, "model_seconds": model.seconds, "file": str(file)}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
