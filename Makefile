# Every target works on a fresh clone with Python 3.11+, make and a package index.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: env demo test lint bench bench-forecast bench-scores bench-capability bench-plans \
	bench-generation bench-evals bench-suites bench-choice bench-viewer bench-sandbox bench-api \
	bench-contamination bench-calibration bench-posttraining bench-serving conformance \
	.venv-evals-peers learn-priors clean

# The venv with the `foresight` command and nothing else.
env: .venv/.foresight
.venv/.foresight: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "foresight needs Python 3.11 or newer; make PYTHON=python3.12"'
	$(PYTHON) -m venv .venv
	$(PIP) torch setuptools
	$(PIP) --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.foresight
	$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

.venv/.peers: .venv/.dev
	$(PIP) --no-build-isolation --editable '.[dev,hf]'
# litgpt pins older releases of libraries that it does not need for its model.
	$(PIP) --no-deps litgpt lightning lightning-utilities torchmetrics pytorch-lightning \
		jsonargparse psutil typeshed-client docstring-parser
	@touch $@

# The package is a baseline of the benchmark alone, which says so where it does not install.
.venv/.forecast-peers: .venv/.dev
	-$(PIP) chinchilla
	@touch $@

# lm-evaluation-harness and inspect_ai, to hold ours against: a venv of their own, for they need
# other releases than constraints.txt has.
.venv-evals-peers: .venv-evals-peers/.ready
.venv-evals-peers/.ready: bench/evals_peers.txt
	$(PYTHON) -m venv .venv-evals-peers
	.venv-evals-peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Ladder, registered predictions, targets, verification, report: runs/demo/report/index.html.
demo: env
	$(BIN)/foresight demo

test: .venv/.dev
	$(BIN)/python -m pytest --numprocesses logical --dist loadfile

lint: .venv/.dev
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy

# Training speed beside transformers and litgpt, same shapes, in one interleaved run.
bench: .venv/.peers
	$(BIN)/python bench/training_speed.py

# The forecaster on public ladders beside the usual fits (reads ../shared/data/scaling).
bench-forecast: .venv/.forecast-peers
	$(BIN)/python bench/forecast.py
	$(BIN)/python bench/forecast_simulated.py --draws 300 --plain 100 --faulty 50 --processes 2
	$(BIN)/python bench/forecast_speed.py

# Promised against realised intervals of designed ladders; alarms of the watch on simulated runs.
bench-plans: .venv/.dev
	$(BIN)/python bench/planning.py
	$(BIN)/python bench/watch.py

# Tokens per second beside transformers' generate, on the same exported weights.
bench-generation: .venv/.peers
	$(BIN)/python bench/generation.py

# What the framework costs per sample, beside a model that costs nothing.
bench-evals: .venv/.dev
	$(BIN)/python bench/evals.py

# Multiple choice beside lm-evaluation-harness, on the demo's exported target (reads
# ../shared/data/evals).
TARGET := runs/demo/targets/c5.1e+12
bench-choice: .venv/.peers .venv-evals-peers/.ready
	test -d runs/exported || $(BIN)/foresight export $(TARGET) --to runs/exported
	$(BIN)/python bench/choice_parity.py ../shared/data/evals/mmlu --hf runs/exported --run $(TARGET)

# Requests per second through APIModel, and what one costs here.
bench-api: .venv/.dev
	$(BIN)/python bench/api_model.py

# The priors of the forecaster from the same tables; writes bench/forecast_priors.json.
learn-priors: .venv/.dev
	$(BIN)/python bench/forecast_priors.py

# Trends (false alarms, power), accuracies and loss-to-loss maps on public tables.
bench-scores: .venv/.dev
	$(BIN)/python bench/trend.py
	$(BIN)/python bench/accuracy.py
	$(BIN)/python bench/transfer.py

# Coverage of pass-rate forecasts on simulated families whose truth is known.
bench-capability: .venv/.dev
	$(BIN)/python bench/capability.py

# Every public set that is there, put to the demo's largest run (reads ../shared/data/evals).
bench-suites: .venv/.dev
	$(BIN)/python bench/benchmarks.py runs/demo/targets/c5.1e+12

# The viewer of evaluation records on 200,000 of them (--browser scrolls in Chromium too).
bench-viewer: .venv/.dev
	$(BIN)/python bench/viewer.py

# Coverage of calibration errors and temperatures on simulated models whose truth is known.
bench-calibration: .venv/.dev
	$(BIN)/python bench/calibration.py

# The sandbox beside a process per sample, on HumanEval (reads ../shared/data/evals).
bench-sandbox: .venv/.dev
	$(BIN)/python bench/sandbox.py
	$(BIN)/python bench/sandbox.py --holding torch

# The contamination scan over a gigabyte that it makes, with planted items (reads
# ../shared/data/evals), beside a plain rolling hash.
bench-contamination: .venv/.dev
	$(BIN)/python bench/contamination.py

# The trained refusal grader against XSTest's human labels (reads ../shared/data/posttraining).
bench-refusals: .venv/.dev
	$(BIN)/python bench/refusal_grader.py

# PPO, GRPO, RLOO and DPO beside the closed form of what they optimise; then Ledger world: a base
# model, SFT, a reward model, rules, PPO (an hour together).
bench-posttraining: .venv/.dev
	$(BIN)/python bench/ppo_closed_form.py
	$(BIN)/foresight corpus runs/ledger --recipe ledger
	$(BIN)/foresight train runs/ledger
	$(BIN)/python bench/ledger.py runs/ledger/targets/c4.0e+12 --seeds 0 1 2 3 4
	$(BIN)/python bench/ledger.py runs/ledger/targets/c4.0e+12 --seeds 0 1 2 3 4 --pictured --name pictured
	$(BIN)/python bench/posttraining_scale.py

# The service against schemathesis (every route, many requests), lm-evaluation-harness, inspect_ai
# and the openai package; twenty kills of trainer and service.
conformance: .venv/.dev .venv-evals-peers/.ready
	FORESIGHT_FUZZ=800 FORESIGHT_KILLS=20 $(BIN)/python -m pytest tests/serve \
		tests/training/test_trainer.py

# The service beside its engine alone, then five minutes of load; the loop from incident to policy.
bench-serving: .venv/.dev
	$(BIN)/python bench/serving.py
	$(BIN)/foresight corpus runs/ledger --recipe ledger
	$(BIN)/foresight train runs/ledger
	$(BIN)/python bench/ledger.py runs/ledger/targets/c4.0e+12
	$(BIN)/python bench/improvement.py runs/ledger/posttrain-0/sft --seeds 0 1 2

clean:
	rm -rf .venv .venv-evals-peers runs
