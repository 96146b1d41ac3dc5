"""Section 4.1 as a task of the fine-tuning engine: reconstruct each user's distribution over the groups."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbole_tslrec.data.groupings import Grouping
from recbole_tslrec.data.histories import Histories, hold_out_users
from recbole_tslrec.data.item_tokens import dataset_item_tokens
from recbole_tslrec.llm.item_text import MOST_TEXT_TOKENS, ItemText, read_item_texts, tokenise_item_texts
from recbole_tslrec.llm.loading import context_length, load_llm_config, load_tokenizer
from recbole_tslrec.llm.prompt import Prompt, build_prompt
from recbole_tslrec.reconstruction.examples import RestViews, user_examples
from recbole_tslrec.reconstruction.loss import PreferenceObjective
from recbole_tslrec.reconstruction.settings import ReconstructionSettings
from recbole_tslrec.sft.checkpoint import CHECKPOINT, embedding_size, load_trained_weights
from recbole_tslrec.sft.examples import Examples
from recbole_tslrec.sft.network import PromptNetwork, build_network
from recbole_tslrec.sft.prompt_task import prompt_task
from recbole_tslrec.sft.task import EpochExamples, Task
from recbole_tslrec.store.artifacts import open_artifact, rows_of_tokens


def reconstruction_task(
    settings: ReconstructionSettings,
    histories: Histories,
    targets: Tensor,
    grouping: Grouping,
    item_embeddings: Tensor,
    item_text: ItemText | None = None,
) -> Task:
    """The task on some users.

    Args:
        settings: the settings of the task.
        histories: the training part of every user.
        targets: g-bar, [U, K].
        grouping: that the targets are made of; read for ``target_view: rest``.
        item_embeddings: the frozen stage-0 rows, [N + 1, d].
        item_text: the words of the same rows; see :func:`load_item_text`.

    Raises:
        ValueError: the context has no room for an item, or no user is left to train on or to choose the epoch by.
        LLMError: the LLM's configuration or tokenizer cannot be loaded.
    """
    max_items = prompt_items(settings, histories, item_text)
    item_tokens = None if item_text is None else item_text.counts.numpy() + 1
    engine = settings.engine
    examples = user_examples(histories, targets, max_items, engine.sft_batch_size, engine.llm.seed, item_tokens)
    train_users, valid_users = hold_out_users(len(histories), settings.sft_valid_ratio, engine.llm.seed)
    train: EpochExamples
    if settings.target_view == "rest":
        train_users, valid_users = _with_a_rest(histories, train_users, valid_users)
        views = partial(RestViews, histories, grouping, max_items)
        train = views(replace(examples, chosen=train_users))
        valid = views(replace(examples, chosen=valid_users)).in_epoch(0)  # the same views in every epoch
    else:
        train, valid = replace(examples, chosen=train_users), replace(examples, chosen=valid_users)
    objective = objective_of(settings)

    def report() -> dict[str, float]:
        loss = loss_of_mean_target(train.in_epoch(0), valid, objective)
        getLogger().info(f"reconstruction: the mean target, which ignores the user, has the validation loss {loss:.4f}")
        return {"mean_target_loss": loss}

    return prompt_task(
        engine,
        "reconstruction",
        objective,
        load_prompt(settings),
        item_embeddings,
        train,
        valid,
        max_items,
        settings.recipe(),
        item_text,
        settings.text.prompt_item_vector,
        history_lengths=histories.lengths[train_users],
        report=report,
    )


def _with_a_rest(
    histories: Histories, train_users: NDArray[np.int64], valid_users: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Without the users who have a single training interaction: nothing remains to predict."""
    lengths = histories.lengths
    left_out = int((lengths < 2).sum())
    if left_out:
        getLogger().info(f"target_view rest: {left_out} users with one training interaction are left out")
    train_users, valid_users = (users[lengths[users] > 1] for users in (train_users, valid_users))
    if not (len(train_users) and len(valid_users)):
        raise ValueError(
            f"target_view [rest] needs users with two training interactions; {len(train_users)} are left to train "
            f"on and {len(valid_users)} to choose the epoch by; set --target_view=own or --sft_valid_ratio"
        )
    return train_users, valid_users


def objective_of(settings: ReconstructionSettings) -> PreferenceObjective:
    """What is predicted, and the loss."""
    return PreferenceObjective(settings.groups.group_count, settings.sft_loss)


def loss_of_mean_target(train: Examples, valid: Examples, objective: PreferenceObjective) -> float:
    """The validation loss of a prediction that ignores the user: the mean target of the training users.

    A group that none of them has gets a share of about 1e-7, so that the loss ``kl`` is finite.
    """
    mean = train.targets[train.chosen].mean(dim=0)  # [K]
    targets = valid.targets[valid.chosen]
    if objective.loss == "mse":  # without the way through logits, whose rounding would show
        return float((targets - mean).square().sum(dim=1).mean())
    logits = mean.clamp(min=1e-7).log().expand_as(targets)
    return float(objective.errors(logits, targets).mean())


def load_prompt(settings: ReconstructionSettings) -> Prompt:
    """The prompt in the tokens of the LLM."""
    prompt, tokenizer = settings.prompt, load_tokenizer(settings.engine.llm)
    return build_prompt(tokenizer, prompt.prompt_instruction, prompt.prompt_response, settings.groups.group_count)


def load_item_text(settings: ReconstructionSettings, tokens: Sequence[str]) -> ItemText | None:
    """The texts of ``prompt_item_text`` in the tokens of the LLM; ``None`` where the prompt has none.

    Args:
        settings: the settings of the task.
        tokens: the external tokens of the items 1..N; row 0 of the result is the pad.

    Raises:
        ValueError: as :func:`recbole_tslrec.llm.item_text.read_item_texts`.
    """
    if not settings.text.columns:
        return None
    return tokenise_item_texts(load_tokenizer(settings.engine.llm), read_item_texts(settings.text, tokens))


def check_prompt(settings: ReconstructionSettings) -> None:
    """Refuse a prompt that leaves no room for an item in the LLM's context.

    Raises:
        ValueError: names the tokens it needs.
    """
    longest_text = MOST_TEXT_TOKENS if settings.text.columns else 0
    load_prompt(settings).max_items(context_length(load_llm_config(settings.engine.llm)), longest_text)


def prompt_items(settings: ReconstructionSettings, histories: Histories, item_text: ItemText | None = None) -> int:
    """How many of a user's most recent items a prompt takes: as many as wanted, or as the LLM's context holds.

    With texts it holds as many items as would all have the longest one, so that any items of a user fit.
    """
    wanted = settings.prompt.max_items
    longest_text = 0 if item_text is None else item_text.longest
    room = load_prompt(settings).max_items(context_length(load_llm_config(settings.engine.llm)), longest_text)
    longest = min(wanted, int(histories.lengths.max()))
    if longest > room:
        getLogger().warning(
            f"the LLM's context holds {room} items; longer histories (up to {longest}) are cut to the most recent"
        )
    return min(wanted, room)


def untuned_network(
    settings: ReconstructionSettings, item_embeddings: Tensor, item_text: ItemText | None = None
) -> PromptNetwork:
    """The network of the task before it is trained.

    Args:
        settings: the settings of the task.
        item_embeddings: the frozen stage-0 rows, [N + 1, d].
        item_text: the words of the same rows.

    Raises:
        LLMError: the LLM cannot be loaded.
    """
    return build_network(
        settings.engine,
        load_prompt(settings),
        objective_of(settings).head,
        item_embeddings,
        item_text,
        settings.prompt.max_items,
        settings.text.prompt_item_vector,
    )


def load_fine_tuned(
    settings: ReconstructionSettings, sft_folder: Path, item_text: ItemText | None = None
) -> PromptNetwork:
    """The network of an ``sft`` artifact, without its table of items.

    Args:
        settings: those that it was made with.
        sft_folder: the artifact.
        item_text: the words of the items that are to be exported, if the prompt has it.
    """
    checkpoint = sft_folder / CHECKPOINT
    network = untuned_network(settings, torch.zeros(2, embedding_size(checkpoint)), item_text)
    load_trained_weights(network, checkpoint)
    return network


def load_targets(folder: Path, dataset: Any) -> tuple[Histories, Tensor]:
    """The histories, in the item ids of ``dataset``, and the targets [U, K] of a ``targets`` artifact."""
    artifact = open_artifact(folder, "targets")
    tensors = artifact.tensors()
    table_tokens = artifact.item_tokens()
    id_of_row = torch.empty(len(table_tokens), dtype=torch.int64)
    id_of_row[rows_of_tokens(table_tokens, dataset_item_tokens(dataset), folder)] = torch.arange(1, dataset.item_num)
    items = id_of_row[tensors["items"] - 1]
    histories = Histories(artifact.json("user_tokens.json"), items.numpy(), tensors["offsets"].numpy())
    return histories, tensors["preference_target"]
