"""The network that is fine-tuned: frozen item embeddings, the encoder of Eq. 1 and the head of a task."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from recbole_tslrec.compute.random_state import isolated_random_state
from recbole_tslrec.llm.adapters import add_adapters
from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.item_text import ItemText
from recbole_tslrec.llm.layout import choose_layout
from recbole_tslrec.llm.loading import load_llm
from recbole_tslrec.llm.prompt import Prompt
from recbole_tslrec.llm.segment_encoder import SegmentEncoder
from recbole_tslrec.sft.settings import FineTuningSettings


class SegmentNetwork(nn.Module):
    """What is fine-tuned around an encoder of prompts that share their beginning.

    Args:
        encoder: the encoder.
    """

    llm_path: ClassVar[str] = "encoder.llm"
    own_layers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, encoder: SegmentEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def layout(self) -> str:
        """How prompts lie in memory."""
        return self.encoder.layout

    @property
    def shared_tokens(self) -> int:
        """Tokens of the instruction."""
        return len(self.encoder.instruction)

    @property
    def closing_tokens(self) -> int:
        """Tokens with which all prompts end, and which their examples do not count."""
        return 0

    def checkpoint_activations(self) -> None:
        """For training in little memory: compute each layer's activations a second time rather than keep them."""
        self.encoder.checkpoint_activations()

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained: LoRA adapters (or a scratch LLM), and the layers around the LLM."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}


class PromptNetwork(SegmentNetwork):
    """From item ids to a hidden state and a task's scores.

    Args:
        encoder: the encoder of Eq. 1.
        head: hidden states [B, H] -> scores [B, ...].
        item_embeddings: the frozen rows, [N + 1, d]; row 0 is the pad.
        item_text: the words of the same N + 1 rows, where the prompt has it.
    """

    encoder: PromptEncoder
    item_embeddings: Tensor
    own_layers: ClassVar[Mapping[str, str]] = {"linear_proj": "encoder.linear_proj", "head": "head"}

    def __init__(
        self, encoder: PromptEncoder, head: nn.Module, item_embeddings: Tensor, item_text: ItemText | None = None
    ) -> None:
        super().__init__(encoder)
        self.item_text = item_text
        self.head = head
        self.register_buffer("item_embeddings", item_embeddings, persistent=False)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> tuple[Tensor, Tensor]:
        """Item ids [B, L], pads behind, and their number [B] -> hidden states [B, H] and scores [B, ...]."""
        is_item = torch.arange(item_seq.shape[1], device=item_seq.device) < item_seq_len.unsqueeze(1)  # [B, L]
        items = item_seq[is_item]
        text = None if self.item_text is None else self.item_text.rows(items)
        hidden = self.encoder(self.item_embeddings[items], item_seq_len, text)
        return hidden, self.head(hidden)

    @property
    def closing_tokens(self) -> int:
        """Tokens of d_res."""
        return len(self.encoder.response)


def build_network(
    settings: FineTuningSettings,
    prompt: Prompt,
    head: Callable[[int], nn.Module],
    item_embeddings: Tensor,
    item_text: ItemText | None = None,
    max_items: int = 1,
    takes_vectors: bool = True,
) -> PromptNetwork:
    """The untrained network: the LLM with fresh adapters (scratch: without), projection and head.

    Args:
        settings: the settings of the LLM and its adapters.
        prompt: the text parts.
        head: makes the head for a width H.
        item_embeddings: the frozen rows, [N + 1, d]; row 0 is the pad.
        item_text: the words of the same rows, if the prompt has words.
        max_items: the most items of a prompt; a layout has to take so many.
        takes_vectors: whether an item's place holds its vector.

    Raises:
        LLMError: the LLM cannot be loaded.
    """
    llm = load_llm(settings.llm)
    if not settings.llm.is_scratch:
        llm = add_adapters(llm, settings.lora, settings.llm.seed)
    item_norm = float(item_embeddings[1:].square().sum(dim=1).mean().sqrt())
    with isolated_random_state(settings.llm.seed):
        encoder = PromptEncoder(llm, prompt, item_embeddings.shape[1], item_norm)
        text = None if item_text is None else item_text.to(settings.llm.device)
        network = PromptNetwork(encoder, head(encoder.hidden_size), item_embeddings, text)
    network = network.to(settings.llm.device)
    tokens = max_items * (1 if item_text is None else 1 + item_text.longest)
    choose_layout(encoder, settings.sft_layout, len(encoder.instruction) + tokens + len(encoder.response))
    encoder.takes_vectors = takes_vectors  # only now: the layouts are compared by gradients of vectors
    return network
