"""Tiny decoders of several architectures, made from their configurations: no download, and no dropout."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import nn

from recbole_tslrec.llm.adapters import base_model
from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.prompt import Prompt

HIDDEN_SIZE, ITEM_SIZE = 32, 4
_SIZE = {"hidden_size": HIDDEN_SIZE, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_WORDS = {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
_NO_DROPOUT = {"attention_dropout": 0.0, "hidden_dropout": 0.0}

# name of the architecture -> settings beside the size; all of them attend as prefix_row needs it
SERVED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Llama": ("Llama", {}),
    "Llama, grouped queries": ("Llama", {"num_key_value_heads": 2}),
    "Qwen2": ("Qwen2", {"num_key_value_heads": 2}),
    "Qwen3": ("Qwen3", {"num_key_value_heads": 2, "head_dim": 8}),
    "GPT-NeoX": ("GPTNeoX", _NO_DROPOUT),
    "Mistral": ("Mistral", {"num_key_value_heads": 2, "head_dim": 8}),
    "OPT": ("OPT", {"ffn_dim": 48, "dropout": 0.0, "word_embed_proj_dim": HIDDEN_SIZE}),
    "GPT-2": ("GPT2", {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}),
    "Phi": ("Phi", {}),
}


def tiny_decoder(architecture: str, seed: int = 0, attention: str | None = None, **settings: Any) -> Any:
    """A decoder of a transformers architecture (``Llama`` is ``LlamaConfig`` and ``LlamaModel``), two layers of 32.

    Weights are larger than a fresh model's, so that attention is far from uniform.
    """
    config = getattr(transformers, f"{architecture}Config")(**{**_SIZE, **_WORDS, **settings})
    torch.manual_seed(seed)
    decoder = transformers.AutoModel.from_config(config, attn_implementation=attention).eval()
    for weight in decoder.parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, std=0.2)
    return decoder


def encoder_of(llm: nn.Module, instruction: int = 3, response: int = 2) -> PromptEncoder:
    """An encoder of stage-0 rows of :data:`ITEM_SIZE` numbers, with text parts of so many tokens."""
    torch.manual_seed(0)
    prompt = Prompt(torch.arange(instruction), torch.arange(response) + 10)
    return PromptEncoder(llm, prompt, ITEM_SIZE, item_norm=2.0).eval()


@contextmanager
def plain_attention(llm: nn.Module) -> Iterator[Any]:
    """The transformers model with torch's own attention, one sequence a row."""
    model = base_model(llm)
    before = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    yield llm
    model.set_attn_implementation(before)
