"""Stage 1, information reconstruction (Section 4.1): groups, preference targets, user-level SFT."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.artifacts import Artifact, open_artifact, rows_of_tokens, write_item_table
from recbole_tslrec.augmentation.knowledge import dataset_item_tokens, grouping_names, load_groupings
from recbole_tslrec.config import fine_tuning_settings, settings_of
from recbole_tslrec.files import write_json
from recbole_tslrec.llm.item_text import item_text_settings
from recbole_tslrec.reconstruction.grouping import group_counts, group_items
from recbole_tslrec.reconstruction.targets import joined_targets
from recbole_tslrec.stages import Run


def group(run: Run) -> Artifact:
    """Stage 1: pre-grouping by k-means."""
    config = run.config

    def write(folder: Path) -> None:
        rows = run.artifacts["item_embeddings"].tensors()["item_embeddings"]
        counts = group_counts(config["group_count"])
        tensors: dict[str, Tensor] = {}
        for count, names in zip(counts, grouping_names(len(counts)), strict=True):
            tensors.update(zip(names, group_items(rows, count, config["seed"]), strict=True))
        write_item_table(folder, run.artifacts["item_embeddings"].item_tokens(), tensors)

    what = f"k-means of {len(run.data.item_tokens)} items into {config['group_count']} groups"
    return run.stage("groups", what, write, settings_of(config, ["group_"]), ["item_embeddings"])


def target(run: Run) -> Artifact:
    """Stage 1: the preference target of every user."""

    def write(folder: Path) -> None:
        histories = run.data.histories
        groupings = load_groupings(run.artifacts["groups"].folder, run.data.dataset)
        tensors = {
            "preference_target": joined_targets(histories, groupings),
            "items": torch.from_numpy(histories.items),  # rows of item_tokens, counted from 1
            "offsets": torch.from_numpy(histories.offsets),
        }
        write_item_table(folder, run.data.item_tokens, tensors)
        write_json(folder / "user_tokens.json", histories.user_tokens)

    what = f"preference targets of {len(run.data.full)} users"
    return run.stage("targets", what, write, settings_of(run.config, [], ["eval_args"]), ["groups"])


def fine_tune(run: Run) -> Artifact:
    """Stage 1: user-level SFT of the LLM."""
    config = run.config

    def write(folder: Path) -> dict[str, Any]:
        from recbole_tslrec.reconstruction.fine_tuning import fine_tune_users

        embeddings = stage_0_rows(run.artifacts["item_embeddings"].folder, run.data.dataset)
        targets, groups = run.artifacts["targets"].folder, run.artifacts["groups"].folder
        return fine_tune_users(config, targets, groups, run.data.dataset, embeddings, folder)

    texts = item_text_settings(config, run.data.item_tokens)
    settings = {**fine_tuning_settings(config), **llm_files(config), **texts}
    parents = ["targets", "item_embeddings", *(["groups"] if config["target_view"] == "rest" else [])]
    what = f"fine-tune {config['llm_name_or_path']} on one example per user, up to {config['sft_epochs']} epochs"
    return run.stage("sft", what, write, settings, parents, shared=True)


def stage_0_rows(folder: Path, dataset: Any) -> Tensor:
    """The frozen stage-0 item embeddings in the order of a dataset's item ids, [N + 1, d]; row 0 (the pad) is zero."""
    artifact = open_artifact(folder, "item_embeddings")
    rows = artifact.tensors()["item_embeddings"]
    rows = rows[rows_of_tokens(artifact.item_tokens(), dataset_item_tokens(dataset), folder)]
    return torch.cat([rows.new_zeros(1, rows.shape[1]), rows])


def llm_files(config: Any) -> dict[str, Any]:
    """What tells one local LLM from another under the same path: its configuration and the sizes of its weights."""
    folder = Path(config["llm_name_or_path"])
    if not (folder / "config.json").is_file():
        return {"llm_files": {}}
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.safetensors"))}
    return {"llm_files": {"config": (folder / "config.json").read_text(encoding="utf-8"), "weights": sizes}}
