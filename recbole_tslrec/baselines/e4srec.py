"""E4SRec (Li et al., 2023) as a task of the fine-tuning engine: one prompt an interaction, scores of all items.

The frozen stage-0 rows, the projection and the encoder are TSLRec's; but every training interaction except a user's
first is an example, and the hidden state scores all items. Unlike the published one: prompts lie in a prefix row,
histories are cut to the most items of a prompt, and the validation items choose the epoch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from recbole_tslrec.baselines.next_items import NextItems, history_fields, most_recent, training_instances
from recbole_tslrec.baselines.ranks import ndcg_of_ranks, ranks_of_targets
from recbole_tslrec.baselines.settings import E4SRecSettings
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.llm.adapters import merge_adapters
from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.item_text import ItemText
from recbole_tslrec.llm.loading import context_length, load_llm_config, load_tokenizer
from recbole_tslrec.llm.prompt import Prompt, build_prompt
from recbole_tslrec.sft.batching import TokenBudget
from recbole_tslrec.sft.checkpoint import CHECKPOINT, load_trained_weights
from recbole_tslrec.sft.cost import tokens_together
from recbole_tslrec.sft.examples import Examples
from recbole_tslrec.sft.network import PromptNetwork, build_network
from recbole_tslrec.sft.prompt_task import prompt_task
from recbole_tslrec.sft.task import Task

INSTRUCTION = (
    "Below is an instruction that describes a task, with an input that gives its context. Write a fitting response.\n\n"
    "### Instruction:\nGiven the items that a user has bought, in order, predict the item that the user buys next.\n\n"
    "### Input:\n"
)
RESPONSE = "\n\n### Response:\n"
NDCG = "ndcg@10"  # chooses the epoch


@dataclass(frozen=True)
class NextItemObjective:
    """Scores of all items, and the full cross entropy of the next one.

    Attributes:
        item_count: N.
    """

    item_count: int

    def head(self, hidden_size: int) -> nn.Module:
        """Linear(H, N) without bias; under autocast in half precision: of so many, full precision would cost time."""
        return nn.Linear(hidden_size, self.item_count, bias=False)

    def errors(self, scores: Tensor, target: Tensor) -> Tensor:
        """Cross entropy: scores [B, N] and the places of the next items, counted from 0, int64 [B] -> [B]."""
        return cross_entropy(scores, target, reduction="none")

    def metrics(self, scores: Tensor, target: Tensor) -> dict[str, Tensor]:
        """``ndcg@10`` of the next item among all items, and ``top1``: whether it is the first, [B] each."""
        rank = ranks_of_targets(scores, target)
        return {NDCG: ndcg_of_ranks(rank, 10), "top1": (rank == 1).float()}


def next_item_task(settings: E4SRecSettings, histories: Histories, item_embeddings: Tensor, valid: NextItems) -> Task:
    """The task; the best epoch is that of the highest NDCG@10 of the validation items, histories not masked.

    Args:
        settings: the settings of the task.
        histories: the training part of every user.
        item_embeddings: the frozen stage-0 rows, [N + 1, d].
        valid: the validation items.

    Raises:
        ValueError: the context has no room for an item, or no user has two training interactions.
        LLMError: the LLM's configuration or tokenizer cannot be loaded.
    """
    engine = settings.engine
    prompt = next_item_prompt(settings)
    max_items = prompt_items(settings, prompt)
    train = interaction_examples(histories, max_items, engine.sft_batch_size, engine.llm.seed)
    if not len(train):
        raise ValueError(
            "E4SRec needs users with two training interactions, and there are none; take a dataset of longer histories"
        )
    starts, targets = np.maximum(valid.starts, valid.ends - max_items), torch.from_numpy(valid.target - 1)
    rows = np.arange(len(starts))
    held_out = Examples(valid.items, starts, valid.ends, targets, rows, engine.sft_batch_size, engine.llm.seed)
    objective = NextItemObjective(len(item_embeddings) - 1)
    recipe = {**settings.recipe(), "prompt_instruction": INSTRUCTION, "prompt_response": RESPONSE}
    return prompt_task(
        engine,
        "E4SRec",
        objective,
        prompt,
        item_embeddings,
        train,
        held_out,
        max_items,
        recipe,
        valid_metric=NDCG,
    )


def next_item_prompt(settings: E4SRecSettings) -> Prompt:
    """The prompt's words in the tokens of the LLM."""
    return build_prompt(load_tokenizer(settings.engine.llm), INSTRUCTION, RESPONSE, 0)


def prompt_items(settings: E4SRecSettings, prompt: Prompt) -> int:
    """How many of a user's most recent items a prompt takes: as many as wanted, if the LLM's context holds them.

    There are at most ``MAX_ITEM_LIST_LENGTH``, since the rows of an evaluation hold no more.

    Raises:
        ValueError: it has no room for one.
    """
    room = prompt.max_items(context_length(load_llm_config(settings.engine.llm)))
    return min(settings.prompt.max_items, settings.prompt.MAX_ITEM_LIST_LENGTH, room)


def check_next_item_prompt(settings: E4SRecSettings) -> None:
    """Refuse an LLM whose context has no room for an item.

    Raises:
        ValueError: names the tokens that the prompt needs.
    """
    prompt_items(settings, next_item_prompt(settings))


def interaction_examples(histories: Histories, max_items: int, batch_size: int, seed: int) -> Examples:
    """An example for each interaction but a user's first, for at most the ``max_items`` most recent ones of a user.

    With ``max_items`` 2, the history ``a b c d`` gives ``a b -> c`` and ``b c -> d``.

    Args:
        histories: the training part of every user.
        max_items: that a prompt takes, and targets of a user.
        batch_size: examples a step.
        seed: the seed of their order.

    Returns:
        The examples; their targets are places of items counted from 0.
    """
    instances = training_instances(histories, max_items)
    user, rows = instances.user, instances.rows
    place = rows.ends - histories.offsets[user]  # of a target among its user's interactions
    recent = np.flatnonzero(place >= histories.lengths[user] - max_items)
    targets = torch.from_numpy(rows.target[recent] - 1)
    starts, ends = rows.starts[recent], rows.ends[recent]  # a prompt ends before its target
    return Examples(histories.items, starts, ends, targets, np.arange(len(recent)), batch_size, seed)


class E4SRecRanker(nn.Module):
    """A fine-tuned network that gives scores as RecBole's models do.

    Args:
        network: fine-tuned.
        max_items: the most items of a prompt.
        tokens_per_batch: that go through the LLM at once.
        fields: the names of a row's item ids and of their number.
    """

    def __init__(self, network: PromptNetwork, max_items: int, tokens_per_batch: int, fields: tuple[str, str]) -> None:
        super().__init__()
        self.network = network
        self.max_items = max_items
        self.tokens_per_batch = tokens_per_batch
        self.ITEM_SEQ, self.ITEM_SEQ_LEN = fields
        self.n_items = len(network.item_embeddings)

    @torch.no_grad()
    def full_sort_predict(self, interaction: Any) -> Tensor:
        """The scores of all items from the most recent ones of a history, [B, N + 1]; the pad's is minus infinity."""
        item_seq, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]  # [B, L], pads behind, and [B]
        recent, shown = most_recent(item_seq, length, self.max_items)
        scores = torch.full((len(length), self.n_items), -torch.inf, device=length.device)
        segments = shown.cpu().numpy() + self.network.closing_tokens
        budget = TokenBudget(self.tokens_per_batch, self.network.shared_tokens, self.network.layout)
        order = np.argsort(segments, kind="stable")
        ends = budget.cut(segments[order])
        for start, end in zip([0, *ends], ends, strict=False):
            rows = torch.from_numpy(order[start:end]).to(length.device)
            _, found = self.network(recent[rows], shown[rows])
            scores[rows, 1:] = found.to(scores.dtype)
        return scores


def load_ranker(settings: E4SRecSettings, folder: Path, item_embeddings: Tensor, config: Any) -> E4SRecRanker:
    """What the artifact of the task ranks with: adapters merged, the instruction's states computed once.

    Args:
        settings: the settings of the task.
        folder: the artifact.
        item_embeddings: the frozen rows in the order of the items, [N + 1, d].
        config: RecBole's configuration, for the names of fields.
    """
    engine, prompt = settings.engine, next_item_prompt(settings)
    max_items = prompt_items(settings, prompt)
    objective = NextItemObjective(len(item_embeddings) - 1)
    network = build_network(engine, prompt, objective.head, item_embeddings, max_items=max_items)
    load_trained_weights(network, folder / CHECKPOINT)
    merge_adapters(network.eval().encoder)
    network.encoder.compute_prefix_once()
    tokens = tokens_together(engine, network.item_embeddings.device)
    return E4SRecRanker(network, max_items, tokens, history_fields(config))


class MiddlePadded(PromptEncoder):
    """E4SRec's layout as published: ``[d_inst | pads | items | d_res]``.

    The positions are not corrected for the pads there, so its hidden states depend on the batch.
    """

    def forward(self, items: Tensor, item_count: Tensor, item_text: ItemText | None = None) -> Tensor:
        """As :meth:`PromptEncoder.forward`, without text of items."""
        instruction, response = self.token_embedding(self.instruction), self.token_embedding(self.response)
        projected = self.linear_proj(items).to(instruction.dtype).split(item_count.tolist())
        own = pad_sequence(projected, batch_first=True, padding_side="left")  # [B, L, H]
        users, longest = own.shape[:2]
        parts = [instruction.expand(users, -1, -1), own, response.expand(users, -1, -1)]
        is_item = torch.arange(longest, device=items.device) >= longest - item_count.unsqueeze(1)
        mask = torch.cat(
            [is_item.new_ones(users, len(instruction)), is_item, is_item.new_ones(users, len(response))], 1
        )
        output = self.llm(inputs_embeds=torch.cat(parts, dim=1), attention_mask=mask.long(), use_cache=False)
        hidden: Tensor = output.last_hidden_state[:, -1]
        return hidden.float()
