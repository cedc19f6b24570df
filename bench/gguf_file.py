"""An exported folder as a GGUF file, for servers that read nothing else.

    python bench/gguf_file.py FOLDER FILE

llama.cpp's own converter knows tokenizers by the hashes of those that it has met. Runs where the
package `gguf` is installed, without foresight.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType
from safetensors.numpy import load_file

NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def write(folder: Path, file: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    writer = GGUFWriter(file, config["model_type"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    _tokenizer(writer, folder, config)
    for name, tensor in load_file(folder / "model.safetensors").items():
        paired = config["model_type"] == "llama" and ("q_proj" in name or "k_proj" in name)
        writer.add_tensor(_name(name), _pairs(tensor, config["head_dim"]) if paired else tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tokenizer(writer: GGUFWriter, folder: Path, config: dict[str, object]) -> None:
    read = json.loads((folder / "tokenizer.json").read_text())
    marks = {one["content"]: one["id"] for one in read["added_tokens"]}
    vocabulary = {**read["model"]["vocab"], **marks}
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    kinds = [TokenType.CONTROL if token in marks else TokenType.NORMAL for token in tokens]
    writer.add_token_types(kinds)
    merges = read["model"]["merges"]
    writer.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in merges])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(True)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    if "chat_template" in told:
        writer.add_chat_template(told["chat_template"])


def _name(name: str) -> str:
    parts = name.removesuffix(".weight").split(".")
    if parts[:2] == ["model", "layers"]:
        return f"blk.{parts[2]}.{NAMES['.'.join(parts[3:])]}.weight"
    return f"{NAMES['.'.join(parts)]}.weight"


def _pairs(weight: np.ndarray, head_dim: int) -> np.ndarray:
    """Rows of each head from halves (x0 x1 ... y0 y1 ...) to pairs (x0 y0 x1 y1 ...)."""
    halves = weight.reshape(-1, 2, head_dim // 2, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
