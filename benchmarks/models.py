"""The language models and networks that are measured: random weights, since speed does not depend on them."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, LlamaConfig

from recbole_tslrec.compute.random_state import isolated_random_state
from recbole_tslrec.llm.adapters import base_model
from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.layout import choose_layout
from recbole_tslrec.llm.prompt import Prompt
from recbole_tslrec.llm.settings import PREFIX_ROW
from recbole_tslrec.reconstruction.loss import PreferenceObjective
from recbole_tslrec.sft.examples import Examples
from recbole_tslrec.sft.network import PromptNetwork
from recbole_tslrec.sft.prompt_lengths import random_examples
from recbole_tslrec.sft.task import HeadObjective

# what Llama's tokenizer makes of the default prompt_instruction and prompt_response, BOS included
INSTRUCTION_TOKENS, RESPONSE_TOKENS = 23, 2
EMBEDDING_SIZE = 64  # d of stage 0
GROUP_COUNT = 32  # K
OBJECTIVE = PreferenceObjective(GROUP_COUNT)  # what TSLRec's LLM is fine-tuned for
SEED = 2020


@dataclass(frozen=True)
class LLMSize:
    """The size of a Llama.

    Attributes:
        hidden_size: H.
        layers: of attention and feed-forward network.
        heads: of attention.
        intermediate_size: width of the feed-forward network.
        vocabulary: tokens.
        lora_rank: r of the adapters on all linear layers.
    """

    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    vocabulary: int = 32000
    lora_rank: int = 16

    def config(self) -> Any:
        """The configuration for transformers."""
        return LlamaConfig(
            hidden_size=self.hidden_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate_size,
            vocab_size=self.vocabulary,
            max_position_embeddings=4096,
            use_cache=False,
        )


SMALL = LLMSize(384, 6, 6, 1024)
TINY = LLMSize(32, 2, 2, 64, vocabulary=100, lora_rank=4)
LLAMA2_7B = LLMSize(4096, 32, 32, 11008)
LLAMA2_13B = LLMSize(5120, 40, 40, 13824)


def build_llm(
    size: LLMSize,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    causal_lm: bool = False,
    attention: str | None = None,
) -> nn.Module:
    """A frozen decoder with LoRA adapters, made on the device in its type: nothing passes through CPU memory.

    Args:
        size: of the decoder.
        device: where it is made.
        dtype: of the frozen weights; adapters are float32, as peft makes them.
        causal_lm: with a language-model head.
        attention: transformers' name; ``None`` lets it choose.
    """
    kind = AutoModelForCausalLM if causal_lm else AutoModel
    with torch.device(device):
        llm = kind.from_config(size.config(), dtype=dtype, attn_implementation=attention).requires_grad_(False)
        lora = LoraConfig(r=size.lora_rank, lora_alpha=2 * size.lora_rank, target_modules="all-linear", bias="none")
        adapted = get_peft_model(llm, lora)
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:  # peft begins with zeros, with which an adapter's error would not show
                nn.init.normal_(weight, std=0.02)
    return adapted


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Give a network the weights of another one whose LLM may differ by the language-model head."""
    weights = {name.replace(".model.model.", ".model."): weight for name, weight in source.state_dict().items()}
    own = target.state_dict()
    for name, weight in own.items():
        plain = name.replace(".model.model.", ".model.")
        if plain in weights:
            weight.copy_(weights[plain])


def prompt(size: LLMSize) -> Prompt:
    """Random tokens of the default prompt's length."""
    generator = torch.Generator().manual_seed(SEED)
    tokens = torch.randint(size.vocabulary, (INSTRUCTION_TOKENS + RESPONSE_TOKENS,), generator=generator)
    return Prompt(tokens[:INSTRUCTION_TOKENS], tokens[INSTRUCTION_TOKENS:])


def item_embeddings(items: int) -> Tensor:
    """Random stage-0 rows, [N + 1, d]; row 0 is the pad."""
    table = torch.randn(items + 1, EMBEDDING_SIZE, generator=torch.Generator().manual_seed(SEED))
    table[0] = 0
    return table


def build_network(
    llm: nn.Module,
    size: LLMSize,
    items: int,
    device: torch.device,
    layout: str = PREFIX_ROW,
    kernel: str | None = None,
    encoder_class: type[PromptEncoder] = PromptEncoder,
    objective: HeadObjective = OBJECTIVE,
) -> PromptNetwork:
    """The network of TSLRec over an LLM, or a rival's that differs in its encoder or in what it predicts.

    Args:
        llm: of :func:`build_llm`.
        size: of the LLM.
        items: N.
        device: of the LLM.
        layout: of the prompts in memory, for the package's own encoder.
        kernel: of the attention over a prefix row; ``None`` takes the device's default.
        encoder_class: how prompts are made and read.
        objective: what is predicted from a hidden state.

    Raises:
        RuntimeError: the LLM cannot take the layout.
    """
    with isolated_random_state(SEED):
        encoder = encoder_class(llm, prompt(size), EMBEDDING_SIZE, EMBEDDING_SIZE**0.5)
        network = PromptNetwork(encoder, objective.head(encoder.hidden_size), item_embeddings(items)).to(device)
    if encoder_class is PromptEncoder:
        set_layout(encoder, layout, kernel)
    return network


def set_layout(encoder: PromptEncoder, layout: str, kernel: str | None = None) -> None:
    """Lay prompts out in another way, and have the package check that the LLM can take it.

    Raises:
        RuntimeError: it cannot, and why.
    """
    encoder.kernel = kernel or encoder.kernel
    base_model(encoder.llm).set_attn_implementation("sdpa")  # what padded prompts go through
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        chosen = choose_layout(encoder, layout)
    finally:
        logging.getLogger().removeHandler(handler)
    if chosen != layout or (kernel is not None and encoder.kernel != kernel):
        raise RuntimeError(f"kernel {encoder.kernel}: " + "; ".join(said))


def make_examples(item_counts: NDArray[np.int64], items: int, batch_size: int) -> Examples:
    """Users with histories of the given lengths, of random items, and random targets.

    Args:
        item_counts: length of each user's history.
        items: N.
        batch_size: users a step.
    """
    targets = np.random.default_rng(SEED).dirichlet(np.ones(GROUP_COUNT), len(item_counts))
    return random_examples(item_counts, items, torch.from_numpy(targets).float(), batch_size, SEED)
