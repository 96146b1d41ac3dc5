"""Eq. 2 and Eq. 3: the predicted preference distribution and its loss."""

from typing import Any

import torch
from torch import Tensor, nn

from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.layout import choose_layout
from recbole_tslrec.llm.loading import SCRATCH, add_adapters, load_llm, load_tokenizer
from recbole_tslrec.llm.prompt import Prompt, build_prompt
from recbole_tslrec.random_stream import own_random_stream

ITEM_SEQ, ITEM_SEQ_LEN, PREFERENCE_TARGET = "item_seq", "item_seq_len", "preference_target"


def reconstruction_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Eq. 3 for each user: the squared error summed over the groups.

    The loss of a batch is the mean over its users (our choice), so that the learning rate does not depend on their
    number.

    Args:
        predicted: g-hat, [B, K].
        target: g-bar, [B, K].

    Returns:
        [B].
    """
    return (target - predicted).square().sum(dim=1)


class ReconstructionNetwork(nn.Module):
    """The frozen item embeddings e_v, the encoder of Eq. 1 and the head W_gp, b_gp of Eq. 2.

    Args:
        encoder: of Eq. 1.
        group_count: K.
        item_embeddings: the stage-0 rows, [N + 1, d]; row 0 is the pad.
    """

    item_embeddings: Tensor

    def __init__(self, encoder: PromptEncoder, group_count: int, item_embeddings: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.hidden_size, group_count)
        self.register_buffer("item_embeddings", item_embeddings, persistent=False)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> tuple[Tensor, Tensor]:
        """Item ids [B, L], pads behind, and their number [B] -> h^u [B, H] and g-hat^u [B, K]."""
        is_item = torch.arange(item_seq.shape[1], device=item_seq.device) < item_seq_len.unsqueeze(1)  # [B, L]
        hidden = self.encoder(self.item_embeddings[item_seq[is_item]], item_seq_len)
        return hidden, self.predict_distribution(hidden)

    def predict_distribution(self, hidden: Tensor) -> Tensor:
        """Eq. 2: h [B, H] -> g-hat = softmax(W_gp h + b_gp) [B, K], in full precision under autocast too."""
        with torch.autocast(hidden.device.type, enabled=False):
            return torch.softmax(self.head(hidden), dim=1)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that SFT changes: LoRA adapters (or a scratch LLM), ``linear_proj`` and the head."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}


def configured_prompt(config: Any) -> Prompt:
    """The prompt of the ``prompt_`` keys and ``group_count``, in the tokens of the configured LLM."""
    return build_prompt(
        load_tokenizer(config), config["prompt_instruction"], config["prompt_response"], config["group_count"]
    )


def build_network(config: Any, item_embeddings: Tensor) -> ReconstructionNetwork:
    """The untrained network of a configuration: the LLM with fresh adapters (scratch: without), projection and head.

    Args:
        config: with the ``llm_``, ``lora_`` and ``prompt_`` keys.
        item_embeddings: the frozen stage-0 rows, [N + 1, d]; row 0 is the pad.

    Raises:
        LLMError: the LLM cannot be loaded.
    """
    llm = load_llm(config)
    if config["llm_name_or_path"] != SCRATCH:
        llm = add_adapters(llm, config)
    item_norm = float(item_embeddings[1:].square().sum(dim=1).mean().sqrt())
    with own_random_stream(config["seed"]):
        encoder = PromptEncoder(llm, configured_prompt(config), item_embeddings.shape[1], item_norm)
        network = ReconstructionNetwork(encoder, config["group_count"], item_embeddings)
    network = network.to(config["device"])
    items = int(config["prompt_max_items"] or config["MAX_ITEM_LIST_LENGTH"])
    choose_layout(encoder, config["sft_layout"], len(encoder.instruction) + items + len(encoder.response))
    return network
