"""The one dial: `Recipe.at(compute_flops)` derives every hyper-parameter of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from foresight.compute import Shape
from foresight.errors import UserError
from foresight.runs import sha256_json, sha256_text, write_atomic

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Parametrisation = Literal["complete", "standard"]
MatrixOptimizer = Literal["muon", "adamw"]
Precision = Literal["fp32", "bf16"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Source = Literal["code", "programs", "functions", "bets", "flags", "library", "ledger", "pictures"]


class CorpusSettings(_Section):
    """Where the documents come from and how they become ids."""

    code: str = "stdlib"
    """Real text: `stdlib` (source of the running interpreter), `installed` (that and every
    package found on the machine), or the path of a folder, JSONL or Parquet file."""
    mixture: dict[Source, Positive] = {"code": 0.6, "programs": 0.2, "pictures": 0.2}
    """Share of each source among predicted positions."""
    vocab_size: Annotated[int, Field(ge=320, le=65536, multiple_of=64)] = 512
    """Ids of the byte-level BPE, 64 reserved ones included."""
    generated_documents: Annotated[int, Field(ge=1)] = 20_000
    """Documents of the generated source with the largest share; of the others in proportion."""
    validation_tokens: Annotated[int, Field(ge=1024)] = 65_536
    """Predicted positions of the held-out set of the real text; generated sources use a quarter."""


class ArchitectureSettings(_Section):
    """What is the same at every rung, and how depth follows width."""

    depth: Annotated[int, Field(ge=1)] = 2
    """Number of blocks at the base width and below."""
    depth_exponent: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Blocks = depth * (width / base_width)^depth_exponent above the base width; 0: constant."""
    head_dim: Annotated[int, Field(ge=4, multiple_of=2)] = 16
    """Width of a head, constant; widths are multiples of it."""
    ffn_ratio: Positive = 3.0
    """Inner width of the SwiGLU feed-forward over the model width."""
    context: Annotated[int, Field(ge=8)] = 128
    """Positions per row."""
    patch: Annotated[int, Field(ge=1)] = 8
    """Side of an image patch in pixels."""
    qk_norm: bool = False
    """RMS-normalise queries and keys per head (exports to Qwen3 instead of Llama)."""
    rope_theta: Positive = 10_000.0
    """Base of the rotary frequencies."""


class OptimizerSettings(_Section):
    """Peak values at the base width, depth, batch and horizon; the scale rules do the rest."""

    matrix: MatrixOptimizer = "muon"
    """Optimiser of the hidden matrices; embeddings and head always use AdamW."""
    matrix_lr: Positive = 0.0625
    """Peak learning rate of the hidden matrices and the patch projection at the base shape."""
    embedding_lr: Positive = 0.08
    """Peak learning rate of the token embedding."""
    head_lr: Positive = 0.08
    """Peak learning rate of the output head."""
    decay_timescale: Annotated[float, Field(ge=0)] = 0.22
    """Weight-decay averaging time as a share of the run (Wang & Aitchison 2024); 0: no decay."""
    momentum: Share = 0.95
    """Nesterov momentum of Muon."""
    beta1: Share = 0.9
    """First AdamW average."""
    beta2_steps: Positive = 40.0
    """1 - beta2 = beta2_steps / steps, kept between 1e-4 and 0.05: a fixed share of the run."""
    epsilon: Positive = 1e-10
    """AdamW epsilon at the base shape."""
    warmup_share: Share = 0.02
    """Linear warm-up as a share of the run (at least 20 steps); then linear to zero."""
    clip: Positive = 1.0
    """Largest global gradient norm."""


class ScaleSettings(_Section):
    """How size, data and batch follow compute."""

    parametrisation: Parametrisation = "complete"
    """`complete`: width, depth, batch and horizon transfer; `standard`: the negative control."""
    tokens_per_param: Positive = 20.0
    """Positions per active parameter (blocks and head)."""
    precision: Precision = "fp32"
    """Of the matrix products; weights, residual stream, norms, softmax and loss stay fp32."""
    base_width: Annotated[int, Field(ge=4)] = 64
    """Width at which the optimiser settings above hold as written."""
    base_depth: Annotated[int, Field(ge=1)] = 2
    """Depth at which they hold."""
    batch_coefficient: Positive = 0.58
    """Batch in tokens = coefficient * tokens^exponent (Step Law, Li et al. 2025)."""
    batch_exponent: Annotated[float, Field(ge=0, le=1)] = 0.571
    base_tokens: Positive = 1e6
    """Horizon at which the learning rates hold as written."""
    horizon_exponent: Annotated[float, Field(ge=-1, le=1)] = -0.3
    """Learning rate ~ sqrt(batch) * tokens^exponent away from the base horizon."""


class LadderSettings(_Section):
    """The runs that are fitted and the ones that are predicted, in FLOPs."""

    rungs: list[Positive] = Field(min_length=1)
    """Compute of each rung."""
    seeds: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    """Runs per rung with different seeds, in the order of `rungs`."""
    targets: list[Positive] = Field(min_length=1)
    """Compute of each predicted run."""
    trained_targets: Annotated[int, Field(ge=0)]
    """How many of the targets, in order, `demo` trains itself."""
    metric: str = "bits_per_byte/code"
    """What is predicted: a path into `result.json`."""
    suites: list[Literal["programs", "pictures", "inverse"]] = []
    """Suites of problems put to the first run of every rung, whose weights are kept: pass rates of
    `programs` and `pictures` are predicted for the largest trained target, `inverse` is watched
    for a fall."""


class TransferSettings(_Section):
    """The sweep that shows whether the learning rate transfers over width."""

    widths: tuple[Annotated[int, Field(ge=4)], Annotated[int, Field(ge=4)]] = (32, 128)
    """The two widths, multiples of `head_dim`."""
    steps: Annotated[int, Field(ge=50)] = 150
    rows: Annotated[int, Field(ge=1)] = 4
    """Rows per step."""


class RunSpec(_Section):
    """One run with nothing left to derive; its hash names it."""

    shape: Shape
    qk_norm: bool
    rope_theta: float
    parametrisation: Parametrisation
    precision: Precision
    base_width: int
    base_depth: int
    matrix: MatrixOptimizer
    matrix_lr: float
    embedding_lr: float
    head_lr: float
    weight_decay: float
    momentum: float
    beta1: float
    beta2: float
    epsilon: float
    clip: float
    warmup_steps: int
    steps: int
    batch_rows: int
    mixture: dict[str, float]
    seed: int

    @property
    def batch_tokens(self) -> int:
        return self.batch_rows * self.shape.context

    @property
    def tokens(self) -> int:
        """Positions processed, padding included."""
        return self.steps * self.batch_tokens

    @property
    def sha256(self) -> str:
        return sha256_json(self.model_dump())


class Recipe(_Section):
    """Everything that is decided before a run, as a function of compute alone."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    seed: Annotated[int, Field(ge=0)] = 0
    """Which repetition of the experiment: every run's seed is counted from 1000 * seed."""
    corpus: CorpusSettings = CorpusSettings()
    architecture: ArchitectureSettings = ArchitectureSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    scale: ScaleSettings = ScaleSettings()
    ladder: LadderSettings
    transfer: TransferSettings = TransferSettings()
    posttrained: Literal["ledger"] | None = None
    """Recipe of the base model that `demo` makes and post-trains in DIR/ledger."""

    @property
    def text(self) -> str:
        """The recipe as YAML, every field written out: what `save` writes and `sha256` hashes."""
        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False))

    @property
    def sha256(self) -> str:
        return sha256_text(self.text)

    def shape(self, width: int) -> Shape:
        """The shape of this family at a width."""
        a = self.architecture
        growth = max(1.0, width / self.scale.base_width) ** a.depth_exponent
        return Shape(
            width=width,
            depth=max(a.depth, round(a.depth * growth)),
            head_dim=a.head_dim,
            ffn=round(a.ffn_ratio * width),
            vocab=self.corpus.vocab_size,
            context=a.context,
            patch=a.patch,
        )

    def at(self, compute_flops: float, seed: int = 0, width: int | None = None) -> RunSpec:
        """Resolve a run of `compute_flops` training FLOPs.

        The width is the one whose compute-optimal horizon (tokens_per_param) spends this
        compute most nearly; `width` overrides it (for sweeps). Raises UserError when the
        compute is too small for the family.
        """
        if not (math.isfinite(compute_flops) and compute_flops > 0):
            raise UserError(f"compute {compute_flops} FLOPs: must be a positive number")
        shape = self.shape(width) if width else self._shape_for(compute_flops)
        tokens = compute_flops / shape.flops_per_token()
        s, o = self.scale, self.optimizer
        batch = s.batch_coefficient * tokens**s.batch_exponent
        rows = max(1, round(batch / shape.context))
        steps = round(tokens / (rows * shape.context))
        if steps < 50:
            raise UserError(
                f"compute {compute_flops:.3g} FLOPs buys {steps} steps at width {shape.width}: "
                f"fewer than 50 is no training run; use more compute or a smaller family"
            )
        base_batch = s.batch_coefficient * s.base_tokens**s.batch_exponent
        drift = math.sqrt(rows * shape.context / base_batch)
        drift *= (tokens / s.base_tokens) ** s.horizon_exponent
        if s.parametrisation == "standard":
            drift = 1.0
        matrix_lr = o.matrix_lr * drift
        decay = 1 / (o.decay_timescale * matrix_lr * steps) if o.decay_timescale else 0.0
        return RunSpec(
            shape=shape,
            qk_norm=self.architecture.qk_norm,
            rope_theta=self.architecture.rope_theta,
            parametrisation=s.parametrisation,
            precision=s.precision,
            base_width=s.base_width,
            base_depth=s.base_depth,
            matrix=o.matrix,
            matrix_lr=matrix_lr,
            embedding_lr=o.embedding_lr * drift,
            head_lr=o.head_lr * drift,
            weight_decay=decay,
            momentum=o.momentum,
            beta1=o.beta1,
            beta2=1 - min(max(o.beta2_steps / steps, 1e-4), 0.05),
            epsilon=o.epsilon,
            clip=o.clip,
            warmup_steps=min(max(20, round(o.warmup_share * steps)), steps // 2),
            steps=steps,
            batch_rows=rows,
            mixture={str(key): value for key, value in self.corpus.mixture.items()},
            seed=seed,
        )

    def _shape_for(self, compute_flops: float) -> Shape:
        best: tuple[float, Shape] | None = None
        width = self.architecture.head_dim
        while True:
            shape = self.shape(width)
            tokens = compute_flops / shape.flops_per_token()
            miss = abs(math.log(tokens / (self.scale.tokens_per_param * shape.active_params)))
            if best and miss > best[0]:
                return best[1]
            best = (miss, shape)
            width += self.architecture.head_dim

    @classmethod
    def named(cls, name: str) -> Recipe:
        """A recipe that ships with the package, or a YAML file. Raises UserError listing both."""
        shipped = {
            path.stem: path for path in sorted((Path(__file__).parent / "recipes").glob("*.yaml"))
        }
        if name in shipped:
            return cls.load(shipped[name])
        if not Path(name).exists():
            raise UserError(f"recipe '{name}': no such file, and none of {', '.join(shipped)}")
        return cls.load(Path(name))

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a YAML recipe. Raises UserError naming file, field and what would be right."""
        try:
            raw = yaml.safe_load(path.read_text())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not valid YAML ({error})") from None
        if not isinstance(raw, dict):
            raise UserError(f"{path}: a recipe is a mapping of fields, found {type(raw).__name__}")
        try:
            recipe = cls.model_validate(raw)
        except ValidationError as error:
            raise UserError(f"{path}: " + "; ".join(_complaints(error))) from None
        contradictions = list(_contradictions(recipe))
        if contradictions:
            raise UserError(f"{path}: " + "; ".join(contradictions))
        return recipe

    def save(self, path: Path) -> None:
        write_atomic(path, self.text)


def _contradictions(recipe: Recipe) -> Iterator[str]:
    """What no field alone can be blamed for, found before anything is spent."""
    ladder, head = recipe.ladder, recipe.architecture.head_dim
    if len(ladder.rungs) != len(ladder.seeds):
        yield (
            f"ladder.seeds has {len(ladder.seeds)} entries for {len(ladder.rungs)} rungs; "
            f"give one count per rung"
        )
    for field in ("rungs", "targets"):
        names = [f"{compute:.1e}" for compute in getattr(ladder, field)]
        if len(set(names)) < len(names):
            yield f"ladder.{field}: two are equal to two digits, and runs are named by those"
    if ladder.trained_targets > len(ladder.targets):
        of = len(ladder.targets)
        yield f"ladder.trained_targets is {ladder.trained_targets} of {of} targets"
    known = [f"bits_per_byte/{source}" for source in recipe.corpus.mixture]
    known += [f"losses/{source}" for source in (*recipe.corpus.mixture, "mix")]
    if ladder.metric not in known:
        yield f"ladder.metric is {ladder.metric!r}; this mixture has {', '.join(known)}"
    if any(width % head for width in recipe.transfer.widths):
        yield f"transfer.widths {recipe.transfer.widths} must be multiples of head_dim {head}"


def _complaints(error: ValidationError) -> list[str]:
    return [_complaint(item) for item in error.errors()]


def _complaint(item: Any) -> str:
    field = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        return f"field '{field}': {item['msg']}, got {item['input']!r}"
    return f"field '{field}' is not a recipe field; {_neighbours(item['loc'])}"


def _neighbours(location: tuple[Any, ...]) -> str:
    """The fields that do exist where an unknown one was found."""
    model: Any = Recipe
    for part in location[:-1]:
        model = model.model_fields[part].annotation
    return "known fields: " + ", ".join(model.model_fields)
