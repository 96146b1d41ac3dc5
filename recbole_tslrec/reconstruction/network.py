"""Eq. 2 and Eq. 3: the predicted preference distribution and its loss."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.item_text import ItemText, read_item_texts, text_columns, tokenise_item_texts
from recbole_tslrec.llm.layout import choose_layout
from recbole_tslrec.llm.loading import SCRATCH, add_adapters, load_llm, load_tokenizer
from recbole_tslrec.llm.prompt import Prompt, build_prompt
from recbole_tslrec.random_stream import own_random_stream
from recbole_tslrec.reconstruction.grouping import group_counts

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


def kl_divergence(logits: Tensor, target: Tensor) -> Tensor:
    """Our option beside Eq. 3: KL(g-bar || g-hat) of each user in nats, the cross entropy less the target's entropy.

    Args:
        logits: g-hat before its softmax, [B, K].
        target: g-bar, [B, K].

    Returns:
        [B].
    """
    cross_entropy = -(target * torch.log_softmax(logits, dim=1)).sum(dim=1)  # [B]
    return cross_entropy + torch.xlogy(target, target).sum(dim=1)


def task_errors(logits: Tensor, target: Tensor, group_counts: list[int], loss: str) -> Tensor:
    """The error of each user, with several groupings the mean over them (our choice).

    Args:
        logits: g-hat before its softmax, [B, sum of K].
        target: g-bar of each grouping, [B, sum of K].
        group_counts: K of each grouping.
        loss: ``mse``, Eq. 3, or ``kl``.

    Returns:
        [B].
    """
    errors = [
        kl_divergence(scores, wanted) if loss == "kl" else reconstruction_error(torch.softmax(scores, dim=1), wanted)
        for scores, wanted in _of_each_grouping(logits, target, group_counts)
    ]
    return torch.stack(errors).mean(dim=0)


def favourite_agrees(logits: Tensor, target: Tensor, group_counts: list[int]) -> Tensor:
    """Whether the predicted favourite group is one of the target's, with several groupings the share that is; [B]."""
    agree = []
    for scores, wanted in _of_each_grouping(logits, target, group_counts):
        favourite = wanted.gather(1, scores.argmax(dim=1, keepdim=True)).squeeze(1)  # [B]
        agree.append((favourite == wanted.max(dim=1).values).float())
    return torch.stack(agree).mean(dim=0)


def _of_each_grouping(logits: Tensor, target: Tensor, group_counts: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and target of one grouping after the other, [B, K] each."""
    return zip(torch.split(logits, group_counts, dim=1), torch.split(target, group_counts, dim=1), strict=True)


class ReconstructionNetwork(nn.Module):
    """The frozen item embeddings e_v, the encoder of Eq. 1 and the head W_gp, b_gp of Eq. 2.

    Args:
        encoder: of Eq. 1.
        group_count: K, or one for each grouping; their distributions lie side by side.
        item_embeddings: the stage-0 rows, [N + 1, d]; row 0 is the pad.
        item_text: of the same N + 1 rows, where the prompt has it.
    """

    item_embeddings: Tensor

    def __init__(
        self,
        encoder: PromptEncoder,
        group_count: int | Sequence[int],
        item_embeddings: Tensor,
        item_text: ItemText | None = None,
    ) -> None:
        super().__init__()
        self.item_text = item_text
        self.encoder = encoder
        self.group_counts = group_counts(group_count)
        self.head = nn.Linear(encoder.hidden_size, sum(self.group_counts))
        self.register_buffer("item_embeddings", item_embeddings, persistent=False)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> tuple[Tensor, Tensor]:
        """Item ids [B, L], pads behind, and their number [B] -> h^u [B, H] and g-hat^u before its softmax [B, K]."""
        is_item = torch.arange(item_seq.shape[1], device=item_seq.device) < item_seq_len.unsqueeze(1)  # [B, L]
        items = item_seq[is_item]
        text = None if self.item_text is None else self.item_text.rows(items)
        hidden = self.encoder(self.item_embeddings[items], item_seq_len, text)
        return hidden, self.scores(hidden)

    def scores(self, hidden: Tensor) -> Tensor:
        """h [B, H] -> W_gp h + b_gp [B, K], in full precision under autocast too."""
        with torch.autocast(hidden.device.type, enabled=False):
            scores: Tensor = self.head(hidden)
        return scores

    def predict_distribution(self, hidden: Tensor) -> Tensor:
        """Eq. 2: h [B, H] -> g-hat = softmax(W_gp h + b_gp) [B, K]; several groupings have a softmax each."""
        parts = torch.split(self.scores(hidden), self.group_counts, dim=1)
        return torch.cat([torch.softmax(scores, dim=1) for scores in parts], dim=1)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that SFT changes: LoRA adapters (or a scratch LLM), ``linear_proj`` and the head."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}


def configured_prompt(config: Any) -> Prompt:
    """The prompt of the ``prompt_`` keys and ``group_count``, in the tokens of the configured LLM.

    With several groupings the instruction names the first one's K (our choice).
    """
    first, *_ = group_counts(config["group_count"])
    return build_prompt(load_tokenizer(config), config["prompt_instruction"], config["prompt_response"], first)


def configured_item_text(config: Any, tokens: Sequence[str]) -> ItemText | None:
    """The texts of ``prompt_item_text`` in the tokens of the configured LLM; ``None`` where the prompt has none.

    Args:
        config: with ``prompt_item_text``.
        tokens: the external tokens of the items 1..N; row 0 of the result is the pad.

    Raises:
        ValueError: as :func:`recbole_tslrec.llm.item_text.read_item_texts`.
    """
    if not text_columns(config):
        return None
    return tokenise_item_texts(load_tokenizer(config), read_item_texts(config, tokens))


def build_network(config: Any, item_embeddings: Tensor, item_text: ItemText | None = None) -> ReconstructionNetwork:
    """The untrained network of a configuration: the LLM with fresh adapters (scratch: without), projection and head.

    Args:
        config: with the ``llm_``, ``lora_`` and ``prompt_`` keys.
        item_embeddings: the frozen stage-0 rows, [N + 1, d]; row 0 is the pad.
        item_text: of the same rows, from :func:`configured_item_text`.

    Raises:
        LLMError: the LLM cannot be loaded.
    """
    llm = load_llm(config)
    if config["llm_name_or_path"] != SCRATCH:
        llm = add_adapters(llm, config)
    item_norm = float(item_embeddings[1:].square().sum(dim=1).mean().sqrt())
    with own_random_stream(config["seed"]):
        encoder = PromptEncoder(llm, configured_prompt(config), item_embeddings.shape[1], item_norm)
        text = None if item_text is None else item_text.to(config["device"])
        network = ReconstructionNetwork(encoder, config["group_count"], item_embeddings, text)
    network = network.to(config["device"])
    items = int(config["prompt_max_items"] or config["MAX_ITEM_LIST_LENGTH"])
    items *= 1 if item_text is None else 1 + item_text.longest
    choose_layout(encoder, config["sft_layout"], len(encoder.instruction) + items + len(encoder.response))
    encoder.takes_vectors = config["prompt_item_vector"]  # only now: the layouts are compared by gradients of vectors
    return network
