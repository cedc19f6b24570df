"""The disclosure card: architecture, size, data, compute, energy, every hyper-parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foresight.recipe import RunSpec
from foresight.report.blocks import Block, Fold, Note, Section, Table
from foresight.report.evidence import Corpus, Evidence, RunFacts
from foresight.report.words import (
    MISSING,
    NONE,
    TIMES,
    count,
    duration,
    flops,
    moment,
    number,
    percent,
    plural,
    setting,
    short,
)

WATTS_PER_CORE = 10.0
"""Assumed power of one busy CPU core with its share of memory, board and power supply.

Data-centre CPUs of 2020-2025 are rated at 4-9 W per core under full load; memory, board,
conversion and cooling add something like a half. Nothing is measured.
"""
FLOPS_RULE = (
    "FLOPs are those of the matrix products of one forward and one backward pass (6 per weight and "
    "position in linear maps, the output head included and the embedding look-up not; attention "
    "over the whole context square), as counted by foresight.compute."
)
SPLIT_RULE = (
    "Real text is split by whole top-level package, then de-duplicated inside each side and across "
    "the split, so that no held-out document repeats a training one; generated documents are held "
    "out by their own seeds and compositions."
)


def disclosure(evidence: Evidence) -> Section:
    """Everything about every run of the experiment."""
    blocks: list[Block] = [_ladder(evidence)]
    blocks += [_target(evidence, target) for target in evidence.targets]
    blocks += _data(evidence)
    blocks.append(_hyperparameters(evidence))
    blocks.append(_hashes(evidence))
    if evidence.seconds:
        rows = [[phase, duration(seconds)] for phase, seconds in evidence.seconds.items()]
        rows.append(["all", duration(sum(evidence.seconds.values()))])
        table = Table("Wall time of the whole experiment", ["phase", "wall time"], rows)
        blocks.append(Fold("Wall time by phase", [table]))
    return Section("disclosure", "Disclosure card", blocks)


def energy_kwh(facts: RunFacts) -> float | None:
    """Estimated energy of a finished CPU run in kWh; None where it cannot be estimated."""
    device = (facts.manifest or {}).get("device")
    seconds = facts.metric("seconds")
    if seconds is None or not isinstance(device, Mapping) or device.get("kind") != "cpu":
        return None
    threads = device.get("threads")
    if isinstance(threads, bool) or not isinstance(threads, int):
        return None
    return seconds * threads * WATTS_PER_CORE / 3.6e6


def _energy(runs: Sequence[RunFacts]) -> str:
    known = [kwh for kwh in map(energy_kwh, runs) if kwh is not None]
    if not known:
        return "no estimate: needs a finished CPU run"
    left_out = "" if len(known) == len(runs) else f", {len(known)} of {len(runs)} runs"
    return (
        f"about {number(1000 * sum(known), 3)} Wh{left_out} (an estimate: seconds {TIMES} threads "
        f"{TIMES} an assumed {WATTS_PER_CORE:g} W per busy core, not measured)"
    )


def _ladder(evidence: Evidence) -> Fold:
    runs = evidence.rungs
    done = evidence.finished_rungs
    results = [run.result for run in done if run.result]
    spent = [run.metric("seconds") for run in done]
    rows = [
        ["runs", f"{len(runs)} planned, {len(done)} finished"],
        ["compute of a run", f"{flops(min(r.compute_flops for r in runs))} to "
                             f"{flops(max(r.compute_flops for r in runs))}"],
        ["compute of all finished runs", flops(sum(r.compute_flops for r in done))],
        ["tokens of all finished runs", count(sum(int(r.get("tokens", 0)) for r in results))],
        ["seeds", ", ".join(sorted({str(r.get("seed", MISSING)) for r in results}, key=_natural))
                  or "none yet"],
        ["hardware", _together([_hardware(run) for run in done])],
        ["training time, summed over runs", duration(sum(s for s in spent if s is not None))],
        ["energy", _energy(done)],
        ["how FLOPs are counted", FLOPS_RULE],
    ]  # fmt: skip
    return Fold("The ladder as a whole", [Table("The ladder", ["field", "value"], rows)], True)


def _target(evidence: Evidence, target: RunFacts) -> Fold:
    state = "trained" if target.result else "not trained"
    title = f"Target {target.name}: {flops(target.compute_flops)}, {state}"
    rows = [*_size(target), *_spending(target), *_optimiser(target.spec)]
    rows.append(["tokenizer", _tokenizer(evidence)])
    mixture = target.spec.mixture if target.spec else {}
    rows.append(["data", ", ".join(sorted(mixture)) or MISSING])
    rows += [["hash of " + name, short(value)] for name, value in _run_hashes(target).items()]
    versions = (target.manifest or {}).get("versions")
    rows.append(["versions", _pairs(versions)])
    return Fold(title, [Table(f"Target {target.name}", ["field", "value"], rows)],
                bool(target.result))  # fmt: skip


def _size(target: RunFacts) -> list[list[str]]:
    spec = target.spec
    if spec is None:
        return [["architecture", MISSING]]
    shape = spec.shape
    return [
        ["architecture", f"decoder, pre-RMSNorm, rotary positions (base "
                         f"{setting(spec.rope_theta)}), SwiGLU, no biases, untied head, query-key "
                         f"norm: {'yes' if spec.qk_norm else 'no'}"],
        ["images", f"patches of {shape.patch} {TIMES} {shape.patch} pixels among the text, through "
                   f"a linear layer and a two-layer MLP"],
        ["width, blocks, heads", f"{shape.width}, {shape.depth}, {shape.heads} of "
                                  f"{shape.head_dim}"],
        ["feed-forward width", count(shape.ffn)],
        ["vocabulary, context", f"{shape.vocab:,} ids, {shape.context:,} positions"],
        ["parameters", f"{shape.params:,} in all, {shape.active_params:,} active at every "
                       f"position"],
    ]  # fmt: skip


def _spending(target: RunFacts) -> list[list[str]]:
    spec, result = target.spec, target.result or {}
    seconds = target.metric("seconds")
    planned = "" if target.result else " (planned)"
    return [
        ["tokens", (count(spec.tokens) + planned) if spec else MISSING],
        ["steps", count(spec.steps) if spec else MISSING],
        ["batch", f"{spec.batch_tokens:,} tokens" if spec else MISSING],
        ["compute", flops(target.compute_flops) + planned],
        ["how FLOPs are counted", FLOPS_RULE],
        ["hardware", _hardware(target)],
        ["training time", duration(seconds) if seconds is not None else "not finished"],
        ["energy", _energy([target])],
        ["seed", number(result.get("seed", spec.seed if spec else None))],
        ["started", moment((target.manifest or {}).get("created_utc", "not started"))],
    ]


def _optimiser(spec: RunSpec | None) -> list[list[str]]:
    if spec is None:
        return [["optimiser", MISSING]]
    return [
        ["optimiser", f"{spec.matrix} for hidden matrices, AdamW for embeddings and head; "
                      f"gradient norm clipped at {setting(spec.clip)}; warm-up "
                      f"{plural(spec.warmup_steps, 'step')}, then linear to zero"],
        ["learning rates", f"matrices {setting(spec.matrix_lr)}, embeddings "
                           f"{setting(spec.embedding_lr)}, head {setting(spec.head_lr)}"],
        ["weight decay, momentum", f"{setting(spec.weight_decay)}, {setting(spec.momentum)}"],
        ["AdamW β₁, β₂, ε", f"{setting(spec.beta1)}, {setting(spec.beta2)}, "
                            f"{setting(spec.epsilon)}"],
        ["parametrisation", f"{spec.parametrisation}, base width {spec.base_width}, base depth "
                            f"{spec.base_depth}"],
    ]  # fmt: skip


def _hardware(facts: RunFacts) -> str:
    device = (facts.manifest or {}).get("device")
    if not isinstance(device, Mapping):
        return MISSING if facts.manifest else "not started"
    return _pairs(device)


def _pairs(value: Any) -> str:
    if not isinstance(value, Mapping):
        return MISSING
    return ", ".join(f"{key} {value[key]}" for key in sorted(value))


def _together(values: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(values)) or MISSING


def _natural(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdigit() else (1 << 62, text)


def _tokenizer(evidence: Evidence) -> str:
    corpus = evidence.corpus or Corpus()
    size, digest = corpus.settings.get("vocab_size"), corpus.files.get("tokenizer.json")
    return f"byte-level BPE, {count(size)} ids, SHA-256 {short(digest)}"


def _data(evidence: Evidence) -> list[Block]:
    corpus = evidence.corpus
    if corpus is None:
        return [Note("No corpus manifest: the data of this experiment cannot be shown.", "open")]
    rows = []
    mixture = {str(key): value for key, value in evidence.recipe.corpus.mixture.items()}
    total = sum(mixture.values())
    for name, splits in corpus.sources.items():
        for split, numbers in splits.items():
            share = mixture.get(name)
            weight = percent(share / total) if share and split == "train" else NONE
            cells = [count(numbers.get(k)) for k in ("documents", "bytes", "tokens", "patches")]
            rows.append([f"{name}, {split}", *cells, weight])
    columns = ["source, split", "documents", "bytes of text", "tokens", "image patches", "share"]
    notes: list[Block] = [
        Table("Data", columns, rows),
        Note(f"{SPLIT_RULE} {_removed(corpus)} Real text: {evidence.recipe.corpus.code}."),
        Note(f"Tokenizer: {_tokenizer(evidence)}, trained on the training side only."),
    ]
    return [Fold("Data and tokenizer", notes, True)]


def _removed(corpus: Corpus) -> str:
    counts = corpus.deduplication.get("counts")
    if not isinstance(counts, Mapping):
        return "De-duplication counts are not recorded."
    if not counts:
        return "De-duplication removed nothing."
    removed = ", ".join(f"{value} ({key})" for key, value in sorted(counts.items()))
    return (
        f"De-duplication removed documents by side, kind and the side of what they repeat: "
        f"{removed}; {count(corpus.deduplication.get('bytes_removed'))} bytes in all."
    )


def _hyperparameters(evidence: Evidence) -> Fold:
    """One column per distinct compute: nothing is tuned per run, and here it can be seen."""
    columns: dict[str, RunSpec] = {}
    for facts in (*evidence.rungs, *evidence.targets):
        name = facts.name.partition("-s")[0]
        if facts.spec is not None:
            columns.setdefault(name if facts in evidence.rungs else f"target {name}", facts.spec)
    flat = {name: _flat(spec.model_dump()) for name, spec in columns.items()}
    fields = dict.fromkeys(key for one in flat.values() for key in one if key != "seed")
    rows = [[key, *(one.get(key, NONE) for one in flat.values())] for key in fields]
    text = "Every hyper-parameter of every run, derived from its compute by the recipe"
    if not columns:
        return Fold(text, [Note("No run has been planned in files yet.", "open")])
    return Fold(text, [Table("Run specifications (seeds apart)", ["field", *columns], rows)])


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, one in value.items():
        if isinstance(one, Mapping):
            found |= _flat(one, f"{prefix}{key}.")
        else:
            found[prefix + key] = setting(one)
    return found


def _run_hashes(facts: RunFacts) -> dict[str, str]:
    hashes = (facts.manifest or {}).get("hashes")
    found = {str(k): str(v) for k, v in hashes.items()} if isinstance(hashes, Mapping) else {}
    for key in ("checkpoint_sha256", "metrics_sha256"):
        if facts.result and facts.result.get(key):
            found[key.removesuffix("_sha256")] = str(facts.result[key])
    return found


def _hashes(evidence: Evidence) -> Fold:
    runs = (*evidence.rungs, *evidence.targets)
    rows = [
        [facts.path, *(_run_hashes(facts).get(key, MISSING) for key in ("spec", "metrics", "code")),
         _pairs((facts.manifest or {}).get("versions"))]
        for facts in runs
    ]  # fmt: skip
    first = [
        ["recipe", evidence.recipe.sha256],
        *([f"registration {claim.name}", claim.sha256] for claim in evidence.claims),
    ]
    files = evidence.corpus.files if evidence.corpus else {}
    first += [[f"corpus/{name}", digest] for name, digest in sorted(files.items())]
    return Fold(
        "Hashes and versions",
        [
            Table("SHA-256 of inputs", ["file", "SHA-256"], first),
            Table("Runs", ["run", "spec", "metrics", "code", "versions"], rows),
        ],
    )
