"""What the LLM stage costs, from the LLM's configuration and the lengths of the prompts, before anything is loaded."""

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recbole_tslrec.compute import distributed
from recbole_tslrec.compute.memory import free_memory
from recbole_tslrec.llm.loading import count_parameters
from recbole_tslrec.llm.quantization import BITSANDBYTES, bytes_per_weight, method_of
from recbole_tslrec.llm.settings import LLMSettings
from recbole_tslrec.sft.settings import FineTuningSettings

MOST_TOKENS = {"cpu": 2048, "cuda": 16384}  # cpu: more is not faster, measured; cuda: not measured yet
_FEWEST_TOKENS = 512  # below this, computing activations twice costs less than small matrix products
_SHARE_OF_PEAK = 0.5  # of the measured speed of a matrix product that training is taken to reach
_SHARE_OF_MEMORY = 0.7  # of the free memory that activations may take; the rest is for what lives only for moments
# Measured on Llama with LoRA on all linear layers: bytes that a layer keeps for the backward pass, per token and unit
# of hidden size, by the bytes of a number; the feed-forward network keeps 4 numbers per unit of its width.
_BYTES_PER_HIDDEN = {8: 78, 4: 39, 2: 31}


@dataclass(frozen=True)
class Decoder:
    """The numbers of a decoder that decide its cost.

    Attributes:
        layers: layers of attention and feed-forward network.
        hidden_size: H.
        intermediate_size: width of the feed-forward network.
        attention_size: heads times the size of a head.
        weights: without the token embeddings.
        embedding_weights: weights of the token embeddings.
    """

    layers: int
    hidden_size: int
    intermediate_size: int
    attention_size: int
    weights: int
    embedding_weights: int

    @classmethod
    def of(cls, llm_config: Any) -> "Decoder":
        """The numbers of a transformers configuration."""
        hidden = llm_config.hidden_size
        heads = _largest(getattr(llm_config, "num_attention_heads", 0))  # state-space models have none
        head_size = getattr(llm_config, "head_dim", None) or hidden // max(heads, 1)
        embedding = llm_config.vocab_size * hidden
        return cls(
            layers=llm_config.num_hidden_layers,
            hidden_size=hidden,
            intermediate_size=_largest(getattr(llm_config, "intermediate_size", None) or 4 * hidden),
            attention_size=heads * head_size,
            weights=max(count_parameters(llm_config) - embedding, 1),
            embedding_weights=embedding,
        )

    def activation_bytes(self, itemsize: int, lora_rank: int, checkpointed: bool = False) -> float:
        """What training keeps of one token for the backward pass."""
        layer = _BYTES_PER_HIDDEN[itemsize] * self.hidden_size + itemsize * (4 * self.intermediate_size + 7 * lora_rank)
        if checkpointed:  # the input of each layer, and all of the one that is computed anew
            return self.layers * itemsize * self.hidden_size + layer
        return self.layers * layer

    def flops(self, work: "Work", per_weight: int) -> float:
        """Floating-point operations.

        Args:
            work: what goes through the LLM.
            per_weight: operations a token and weight; 2 is a forward pass alone, more is training.
        """
        passes = 1 if per_weight == 2 else 3  # attention's backward pass costs two forward ones
        attention = passes * 4 * self.attention_size * self.layers * work.seen_keys
        return per_weight * self.weights * work.tokens + attention


@dataclass(frozen=True)
class Work:
    """What goes through the LLM.

    Attributes:
        examples: prompts.
        tokens: that are computed.
        seen_keys: how many tokens each of them attends to, summed up.
    """

    examples: int
    tokens: int
    seen_keys: int


def prefix_row_work(prefix: int, segments: NDArray[np.int64], rows: int) -> Work:
    """Prompts whose common prefix is computed once a row.

    Args:
        prefix: tokens of d_inst.
        segments: tokens of each prompt behind it.
        rows: micro-batches.
    """
    own = segments.astype(np.int64)
    seen = int((own * prefix + own * (own + 1) // 2).sum()) + rows * prefix * (prefix + 1) // 2
    return Work(len(own), int(own.sum()) + rows * prefix, seen)


def separate_work(prefix: int, segments: NDArray[np.int64]) -> Work:
    """Prompts that are computed each for itself, without pads."""
    whole = segments.astype(np.int64) + prefix
    return Work(len(whole), int(whole.sum()), int((whole * (whole + 1) // 2).sum()))


def instance_segments(
    history_lengths: NDArray[np.int64], max_items: int, response: int, tokens_per_item: float = 1
) -> NDArray[np.int64]:
    """Tokens behind the prefix of an instance-level method: one prompt for each interaction but a user's first.

    Args:
        history_lengths: interactions of each user.
        max_items: most recent items in a prompt.
        response: tokens of d_res.
        tokens_per_item: on average, with the texts of items.
    """
    places = [np.arange(1, length) for length in history_lengths.tolist()]
    items = np.minimum(np.concatenate([np.empty(0, dtype=np.int64), *places]), max_items)
    segments: NDArray[np.int64] = (items * tokens_per_item).round().astype(np.int64) + response
    return segments


@dataclass(frozen=True)
class MemoryPlan:
    """How a micro-batch fits into memory.

    Attributes:
        fixed_bytes: weights, gradients and the optimizer's state.
        bytes_per_token: activations.
        tokens_per_batch: budget of a micro-batch.
        checkpoint_activations: whether activations are computed twice rather than kept.
    """

    fixed_bytes: int
    bytes_per_token: float
    tokens_per_batch: int
    checkpoint_activations: bool


def plan_memory(
    settings: FineTuningSettings, llm_config: Any, longest_prompt: int, trains_llm: bool = False, head_weights: int = 0
) -> MemoryPlan:
    """Choose the micro-batch: ``sft_tokens_per_batch``, or what fits.

    Args:
        settings: the settings of the fine-tuning.
        llm_config: the configuration of transformers.
        longest_prompt: tokens.
        trains_llm: whether the whole LLM is trained, as ``scratch`` always is.
        head_weights: weights of a head that is trained in full.
    """
    decoder, itemsize = Decoder.of(llm_config), settings.llm.dtype.itemsize
    trained = trained_weights(settings, decoder, trains_llm) + head_weights
    each = bytes_per_weight(settings.llm, llm_config)
    # peft puts what bitsandbytes does not quantise, above all the embeddings, into float32
    by_bitsandbytes = settings.llm.llm_quantization != "none" or method_of(llm_config) == BITSANDBYTES
    weights = decoder.weights * each + decoder.embedding_weights * (4 if by_bitsandbytes else each)
    fixed = int(weights + 16 * trained)  # weight, gradient and two moments in float32
    device = torch.device(settings.llm.device)
    sharing = distributed.process_count() if device.type == "cpu" else 1  # a GPU belongs to one process
    room = max(0.0, free_memory(device) / sharing - fixed) * _SHARE_OF_MEMORY
    most = MOST_TOKENS["cpu" if device.type == "cpu" else "cuda"]
    wanted = settings.sft_tokens_per_batch
    rank = settings.lora.lora_rank
    for checkpointed in (False, True):
        per_token = decoder.activation_bytes(itemsize, rank, checkpointed)
        fits = int(room / per_token)
        if fits >= (wanted or max(_FEWEST_TOKENS, longest_prompt)):
            break
    tokens = int(wanted or max(longest_prompt, min(fits, most)))
    return MemoryPlan(fixed, per_token, tokens, checkpointed)


def tokens_together(settings: FineTuningSettings, device: torch.device) -> int:
    """Tokens that go through an LLM at once where nothing is trained: what is set, or what a device is fast with."""
    return int(settings.sft_tokens_per_batch or MOST_TOKENS["cpu" if device.type == "cpu" else "cuda"])


def _largest(size: int | Sequence[int]) -> int:
    """A size, which some architectures give for each layer."""
    return max(size) if isinstance(size, Sequence) else size


def trained_weights(settings: FineTuningSettings, decoder: Decoder, trains_llm: bool = False) -> int:
    """About how many weights are trained: LoRA on all linear layers, or an LLM as a whole."""
    if settings.llm.is_scratch or trains_llm:
        return decoder.weights + decoder.embedding_weights
    hidden, inner, rank = decoder.hidden_size, decoder.intermediate_size, settings.lora.lora_rank
    attention = 4 * (hidden + decoder.attention_size)
    return int(decoder.layers * rank * (attention + 3 * (hidden + inner)))


def flops_per_weight(settings: LLMSettings, trains_llm: bool = False) -> int:
    """Operations a token and weight in training: forward 2, backward 2 to the activations, and 2 to trained weights."""
    return 6 if settings.is_scratch or trains_llm else 4


@functools.cache
def matmul_speed(device: torch.device | str, dtype: torch.dtype, seconds: float = 0.3) -> float:
    """Floating-point operations a second of a large matrix product on a device, measured once in a process."""
    device = torch.device(device)
    size = 1024 if device.type == "cpu" else 8192
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, spent = float("inf"), 0.0
    while spent < seconds:
        started = time.perf_counter()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken = time.perf_counter() - started
        best, spent = min(best, taken), spent + taken
    return 2 * size**3 / best


def estimated_seconds(flops: float, speed: float) -> float:
    """How long training takes at half the speed of a matrix product."""
    return flops / (speed * _SHARE_OF_PEAK)
