"""A GGUF file of a Llama, as llama.cpp's converter writes it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from numpy.typing import NDArray
from safetensors.numpy import load_file


def write_gguf(folder: Path, path: Path, architecture: str = "llama", quantized: bool = False, parts: int = 1) -> Path:
    """The model and the byte-level tokenizer of ``folder`` in one file; its matrices in 8 bits on request."""
    gguf = pytest.importorskip("gguf")
    config = transformers.AutoConfig.from_pretrained(folder)
    words = transformers.AutoTokenizer.from_pretrained(folder).get_vocab()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(words, key=words.__getitem__))
    writer.add_token_scores([0.0] * len(words))
    writer.add_bos_token_id(0)
    if parts > 1:
        writer.add_uint16("split.count", parts)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in load_file(folder / "model.safetensors").items():
        module, kind = name.rsplit(".", 1)
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        weight = _interleaved(weight, heads.get(module.rsplit(".", 1)[-1]))
        place: Any = f"{names.get_name(module)}.{kind}"
        if quantized and weight.ndim == 2 and weight.shape[1] % 32 == 0:
            writer.add_tensor(place, gguf.quantize(weight, gguf.GGMLQuantizationType.Q8_0), raw_dtype=8)
        else:
            writer.add_tensor(place, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _interleaved(weight: NDArray[np.float32], heads: int | None) -> NDArray[np.float32]:
    """Rotary pairs as neighbours, as llama.cpp has them, rather than half a head apart."""
    if heads is None:
        return weight
    split = weight.reshape(heads, 2, len(weight) // heads // 2, -1)
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(weight.shape))
