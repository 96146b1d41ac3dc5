"""E4SRec (Li et al., 2023) as a task of the fine-tuning engine: one prompt an interaction, scores of all items.

The frozen stage-0 rows, the projection and the encoder are TSLRec's; but every training interaction except a user's
first is an example, and the hidden state scores all items. Unlike the published one: prompts lie in a prefix row,
histories are cut to the most items of a prompt, and a share of the users chooses the epoch.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from recbole_tslrec.data.histories import Histories, hold_out_users
from recbole_tslrec.llm.encoder import PromptEncoder
from recbole_tslrec.llm.item_text import ItemText
from recbole_tslrec.llm.loading import context_length, load_llm_config, load_tokenizer
from recbole_tslrec.llm.prompt import build_prompt
from recbole_tslrec.llm.settings import PromptSettings
from recbole_tslrec.settings import Settings, setting
from recbole_tslrec.sft.examples import Examples
from recbole_tslrec.sft.settings import FineTuningSettings
from recbole_tslrec.sft.task import Task

INSTRUCTION = (
    "Below is an instruction that describes a task, with an input that gives its context. Write a fitting response.\n\n"
    "### Instruction:\nGiven the items that a user has bought, in order, predict the item that the user buys next.\n\n"
    "### Input:\n"
)
RESPONSE = "\n\n### Response:\n"


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
        """``top1``: whether the next item has the highest score, [B]."""
        return {"top1": (scores.argmax(dim=1) == target).float()}


@dataclass(frozen=True)
class E4SRecSettings(Settings):
    """What decides the task."""

    engine: FineTuningSettings = setting()
    """The LLM and its training."""
    prompt: PromptSettings = setting()
    """How much of a history the prompt takes; its words are :data:`INSTRUCTION` and :data:`RESPONSE`."""
    sft_valid_ratio: float = setting()
    """(float) Share of the users held out to choose the best epoch."""


def next_item_task(settings: E4SRecSettings, histories: Histories, item_embeddings: Tensor) -> Task:
    """The task on some users.

    Args:
        settings: the settings of the task.
        histories: the training part of every user.
        item_embeddings: the frozen stage-0 rows, [N + 1, d].

    Raises:
        ValueError: the context has no room for an item, or no user has two training interactions.
        LLMError: the LLM's configuration or tokenizer cannot be loaded.
    """
    engine = settings.engine
    prompt = build_prompt(load_tokenizer(engine.llm), INSTRUCTION, RESPONSE, 0)
    room = prompt.max_items(context_length(load_llm_config(engine.llm)))
    max_items = min(settings.prompt.max_items, room)
    examples, user = interaction_examples(histories, max_items, engine.sft_batch_size, engine.llm.seed)
    train_users, valid_users = hold_out_users(len(histories), settings.sft_valid_ratio, engine.llm.seed)
    train, valid = (
        replace(examples, chosen=np.flatnonzero(np.isin(user, users))) for users in (train_users, valid_users)
    )
    if not (len(train) and len(valid)):
        raise ValueError(
            f"E4SRec needs users with two training interactions: {len(train)} examples to train on and {len(valid)} to "
            "choose the epoch by are left; set --sft_valid_ratio, or take a dataset with longer histories"
        )
    objective = NextItemObjective(len(item_embeddings) - 1)
    recipe = {**settings.recipe(), "prompt_instruction": INSTRUCTION, "prompt_response": RESPONSE}
    return Task("E4SRec", objective, prompt, item_embeddings, train, valid, max_items, recipe)


def interaction_examples(
    histories: Histories, max_items: int, batch_size: int, seed: int
) -> tuple[Examples, NDArray[np.int64]]:
    """An example for each interaction but a user's first, for at most the ``max_items`` most recent ones of a user.

    With ``max_items`` 2, the history ``a b c d`` gives ``a b -> c`` and ``b c -> d``.

    Args:
        histories: the training part of every user.
        max_items: that a prompt takes, and targets of a user.
        batch_size: examples a step.
        seed: the seed of their order.

    Returns:
        The examples, whose targets are places of items counted from 0, and the user of each, int64 [E].
    """
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    place = np.arange(len(user)) - histories.offsets[user]  # of a target among its user's interactions
    is_recent = place >= histories.lengths[user] - max_items
    ends = np.flatnonzero((place > 0) & is_recent)  # a prompt ends before its target
    starts = np.maximum(histories.offsets[user[ends]], ends - max_items)
    targets = torch.from_numpy(histories.items[ends] - 1)
    examples = Examples(histories.items, starts, ends, targets, np.arange(len(ends)), batch_size, seed)
    return examples, user[ends]


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
