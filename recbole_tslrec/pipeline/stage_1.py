"""Stage 1, information reconstruction (Section 4.1): groups, preference targets, user-level SFT."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.data.groupings import load_groups
from recbole_tslrec.data.histories import hold_out_users
from recbole_tslrec.data.item_tokens import dataset_item_tokens
from recbole_tslrec.llm.identity import llm_content
from recbole_tslrec.llm.item_text import check_item_text, item_text_content
from recbole_tslrec.pipeline.stage import Inputs, Stage
from recbole_tslrec.reconstruction.grouping import check_group_count, group_items
from recbole_tslrec.reconstruction.settings import GroupSettings, ReconstructionSettings
from recbole_tslrec.reconstruction.targets import preference_targets
from recbole_tslrec.settings import Settings, setting
from recbole_tslrec.store.artifacts import Artifact, rows_of_tokens, write_item_table
from recbole_tslrec.store.contents import ContentHashes
from recbole_tslrec.store.files import write_json


@dataclass(frozen=True)
class TargetSettings(Settings):
    """Which interactions the preference targets are made of."""

    eval_args: Any = setting()
    """(dict) How interactions are split: only the training part counts."""


def groups(config: Any) -> Stage:
    """Pre-grouping by k-means."""
    settings = GroupSettings.of(config)

    def build(inputs: Inputs, folder: Path) -> None:
        embeddings = inputs.parents["item_embeddings"]
        rows = embeddings.tensors()["item_embeddings"]
        groups, centers = group_items(rows, settings.group_count, settings.seed)
        write_item_table(folder, embeddings.item_tokens(), {"groups": groups, "centers": centers})

    def check(data: Data) -> None:
        check_group_count(settings.group_count, len(data.item_tokens))

    about = f"k-means of the items into {settings.group_count} groups"
    return Stage("groups", about, settings, ("item_embeddings",), build, check=check)


def targets(config: Any) -> Stage:
    """The preference target of every user."""

    def build(inputs: Inputs, folder: Path) -> None:
        histories = inputs.data.histories
        grouping = load_groups(inputs.parents["groups"].folder, inputs.data.dataset)
        tensors = {
            "preference_target": preference_targets(histories, *grouping),
            "items": torch.from_numpy(histories.items),  # rows of item_tokens, counted from 1
            "offsets": torch.from_numpy(histories.offsets),
        }
        write_item_table(folder, inputs.data.item_tokens, tensors)
        write_json(folder / "user_tokens.json", histories.user_tokens)

    about, settings = "preference targets of the users", TargetSettings.of(config)
    check, remark = Data.check_histories, _warn_of_equal_targets
    return Stage("targets", about, settings, ("groups",), build, check=check, remark=remark)


def _warn_of_equal_targets(targets: Artifact) -> None:
    preference_target = targets.tensors()["preference_target"]  # [U, K]
    if len(preference_target) > 1 and bool((preference_target == preference_target[0]).all()):
        getLogger().warning(
            f"all {len(preference_target)} users have the same preference target, so there is nothing to learn; try "
            "more --group_count"
        )


def sft(config: Any) -> Stage:
    """User-level SFT of the LLM."""
    settings = ReconstructionSettings.of(config)

    def build(inputs: Inputs, folder: Path) -> dict[str, Any]:
        from recbole_tslrec.reconstruction.task import load_item_text, load_targets, reconstruction_task
        from recbole_tslrec.sft.fine_tuning import fine_tune

        dataset, parents = inputs.data.dataset, inputs.parents
        histories, preference_target = load_targets(parents["targets"].folder, dataset)
        task = reconstruction_task(
            settings,
            histories,
            preference_target,
            load_groups(parents["groups"].folder, dataset),
            stage_0_rows(parents["item_embeddings"], dataset),
            load_item_text(settings, inputs.data.item_tokens),
        )
        return fine_tune(settings.engine, task, folder)

    def check(data: Data) -> None:
        hold_out_users(len(data.full), settings.sft_valid_ratio, settings.engine.llm.seed)
        check_llm_stage(settings, data)

    engine = settings.engine
    return Stage(
        "sft",
        f"fine-tune {engine.llm.llm_name_or_path} on one example per user, up to {engine.sft_epochs} epochs",
        settings,
        ("targets", "item_embeddings", "groups"),
        build,
        lambda data, hashes: prompt_contents(settings, data, hashes),
        check,
        shared=True,
    )


def prompt_contents(settings: ReconstructionSettings, data: Data, hashes: ContentHashes) -> dict[str, str]:
    """The files behind a prompt: the LLM's, and the words of the items."""
    return {**llm_content(settings.engine.llm, hashes), **item_text_content(settings.text, data.item_tokens)}


def check_llm_stage(settings: ReconstructionSettings, data: Data) -> None:
    """What would make SFT or the export fail, found before the backbone is trained.

    Raises:
        ImportError: transformers or peft is not installed.
        LLMError: the LLM cannot be loaded.
        ValueError: a key is wrong, or the LLM's context has no room for an item beside the prompt.
    """
    check_item_text(settings.text)
    with check_imports(", or start from an export with --knowledge_path=<folder>"):
        from recbole_tslrec.llm.loading import check_llm
        from recbole_tslrec.reconstruction.task import check_prompt
    check_llm(settings.engine.llm, settings.engine.lora)
    check_prompt(settings)


@contextmanager
def check_imports(otherwise: str = "") -> Iterator[None]:
    """Say of a library that fine-tuning needs how it is installed.

    Args:
        otherwise: what can be done without, behind the cure.
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"fine-tuning needs {error.name}; install it with: pip install 'recbole_tslrec[llm]'{otherwise}"
        ) from error


def stage_0_rows(embeddings: Artifact, dataset: Any) -> Tensor:
    """The frozen stage-0 item embeddings in the order of a dataset's item ids, [N + 1, d]; row 0 (the pad) is zero."""
    rows = embeddings.tensors()["item_embeddings"]
    rows = rows[rows_of_tokens(embeddings.item_tokens(), dataset_item_tokens(dataset), embeddings.folder)]
    return torch.cat([rows.new_zeros(1, rows.shape[1]), rows])
