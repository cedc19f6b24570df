"""A model as a Hugging Face folder: Llama, or Qwen3 where queries and keys are normalised.

What is ours alone is folded into the weights, so that transformers, vLLM and llama.cpp's converter
read it as it is:

| ours                                              | there                                 |
|---------------------------------------------------|---------------------------------------|
| residual multiplier of the branches               | in `o_proj` and `down_proj`           |
| logit multiplier                                  | in `lm_head`                          |
| RoPE on neighbouring rows (2i, 2i + 1) of a head  | rows i and i + head_dim / 2           |
| attention scale 1.2 / sqrt(head_dim) (`qk_norm`)  | gain 1.2 of `q_norm`                  |
| RMS norms without gains                           | gains of one, epsilon 1e-5            |

Text only: these architectures have no patches among the tokens, and the three image matrices are
left out. Weights are float32, as they are trained.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from foresight import __version__
from foresight.data.tokenizer import BOS, EOS, PAD, SPECIAL_TOKENS, Tokenizer
from foresight.document import IM_END
from foresight.errors import UserError
from foresight.model.decoder import Decoder
from foresight.recipe import RunSpec
from foresight.runs import write_atomic, write_json

_MARKS = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
_ATTENTION_GAIN = 1.2
"""Of `Decoder.attention` with `qk_norm`."""


def export_hugging_face(
    model: Decoder, tokenizer: Tokenizer, directory: Path, chat_template: str = ""
) -> None:
    """Write `directory` whole or not at all: config.json, generation_config.json,
    model.safetensors, tokenizer.json, tokenizer_config.json.

    `chat_template`: of a model that was trained on turns, which ends at the mark of a turn too. It
    stands in tokenizer_config.json, which every version of transformers and llama.cpp's converter
    read; a chat_template.jinja only newer ones do.
    Raises UserError if it exists already or cannot be written.
    """
    if directory.exists():
        raise UserError(f"{directory}: exists already; name a new directory")
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    try:
        write_json(temporary / "config.json", config(model.spec))
        ends = {"eos_token_id": [EOS, IM_END]} if chat_template else {}
        write_json(temporary / "generation_config.json", {"do_sample": True, **_MARKS, **ends})
        # transformers refuses weights that do not name their framework.
        write_atomic(temporary / "model.safetensors", save(tensors(model), {"format": "pt"}))
        write_json(temporary / "tokenizer.json", tokenizer_json(tokenizer))
        write_json(
            temporary / "tokenizer_config.json", _tokenizer_config(model.spec, chat_template)
        )
        os.rename(temporary, directory)
    except OSError as error:
        raise UserError(f"{directory}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def config(spec: RunSpec) -> dict[str, Any]:
    """`config.json`; `foresight` names the run that it came from."""
    s = spec.shape
    kind = "qwen3" if spec.qk_norm else "llama"
    return {
        "architectures": ["Qwen3ForCausalLM" if spec.qk_norm else "LlamaForCausalLM"],
        "model_type": kind,
        "vocab_size": s.vocab,
        "hidden_size": s.width,
        "intermediate_size": s.ffn,
        "num_hidden_layers": s.depth,
        "num_attention_heads": s.heads,
        "num_key_value_heads": s.heads,
        "head_dim": s.head_dim,
        "max_position_embeddings": s.context,
        "rope_theta": spec.rope_theta,
        # The same for transformers 5; other readers know the line above.
        "rope_parameters": {"rope_type": "default", "rope_theta": spec.rope_theta},
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "foresight": {"version": __version__, "spec_sha256": spec.sha256},
        **_MARKS,
        **({} if spec.qk_norm else {"mlp_bias": False}),
    }


@torch.no_grad()
def tensors(model: Decoder) -> dict[str, Tensor]:
    """Weights by their names there, (fan_out, fan_in) float32, multipliers folded in."""
    spec, s = model.spec, model.spec.shape
    by_name = {
        "model.embed_tokens": model.weight("embed_tokens"),
        "model.norm": torch.ones(s.width),
        "lm_head": model.weight("lm_head") * model.multipliers.logits,
    }
    for layer in range(s.depth):
        ours, theirs = f"layers.{layer}.", f"model.layers.{layer}."
        for name in ("q_proj", "k_proj"):
            rows = _halves(model.weight(ours + name), s.head_dim)
            by_name[f"{theirs}self_attn.{name}"] = rows
        by_name[theirs + "self_attn.v_proj"] = model.weight(ours + "v_proj")
        by_name[theirs + "mlp.gate_proj"] = model.weight(ours + "gate_proj")
        by_name[theirs + "mlp.up_proj"] = model.weight(ours + "up_proj")
        for branch, name in (("self_attn", "o_proj"), ("mlp", "down_proj")):
            folded = model.weight(ours + name) * model.multipliers.residual
            by_name[f"{theirs}{branch}.{name}"] = folded
        for name in ("input_layernorm", "post_attention_layernorm"):
            by_name[theirs + name] = torch.ones(s.width)
        if spec.qk_norm:
            by_name[theirs + "self_attn.q_norm"] = torch.full((s.head_dim,), _ATTENTION_GAIN)
            by_name[theirs + "self_attn.k_norm"] = torch.ones(s.head_dim)
    return {
        f"{name}.weight": tensor.detach().float().cpu().contiguous()
        for name, tensor in by_name.items()
    }


def _halves(weight: Tensor, head_dim: int) -> Tensor:
    """Rows of each head from pairs (x0 y0 x1 y1 ...) to halves (x0 x1 ... y0 y1 ...)."""
    pairs = weight.view(-1, head_dim // 2, 2, weight.shape[1])
    return pairs.transpose(1, 2).reshape(weight.shape)


def tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
    """Ours, with the begin mark that every prompt of ours has."""
    made: dict[str, Any] = json.loads(tokenizer.fast.to_str())
    mark, text = {"id": SPECIAL_TOKENS[BOS], "type_id": 0}, {"id": "A", "type_id": 0}
    second = {"id": "B", "type_id": 0}
    made["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": mark}, {"Sequence": text}],
        "pair": [{"SpecialToken": mark}, {"Sequence": text}, {"Sequence": second}],
        "special_tokens": {
            mark["id"]: {"id": mark["id"], "ids": [BOS], "tokens": [mark["id"]]},
        },
    }
    return made


def _tokenizer_config(spec: RunSpec, chat_template: str) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL_TOKENS[BOS],
        "eos_token": SPECIAL_TOKENS[EOS],
        "pad_token": SPECIAL_TOKENS[PAD],
        "model_max_length": spec.shape.context,
        "clean_up_tokenization_spaces": False,
        **({"chat_template": chat_template} if chat_template else {}),
    }
