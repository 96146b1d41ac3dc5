"""The ID backbone: its training, which is also the paper's "+Base", and its item embeddings e_v."""

from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_tslrec import recommender
from recbole_tslrec.artifacts import Artifact, write_item_table
from recbole_tslrec.config import backbone_config, training_settings
from recbole_tslrec.model.tslrec import model_class
from recbole_tslrec.pipeline.checks import check_llm_settings
from recbole_tslrec.serving.saved_model import save_description
from recbole_tslrec.stages import Run


def train_backbone(run: Run, uses_llm: bool = False) -> Artifact:
    """Stage 0: train the ID backbone. It is also the paper's "+Base". If the run ``uses_llm``, check the LLM first."""
    config = backbone_config(run.config)

    def write(folder: Path) -> dict[str, Any]:
        if uses_llm:
            check_llm_settings(config)
        train_data, valid_data, _ = run.data.loaders
        _warn_of_untrained_items(run)
        report = recommender.train_recommender(config, train_data, valid_data, folder)
        save_description(folder, config, train_data._dataset)
        return report

    return run.stage("backbone", describe_training(config), write, training_settings(config))


def find_backbone(run: Run) -> None:
    """With a given table no backbone is needed; if this one was trained before, its row joins the result."""
    recipe = run.recipe(training_settings(backbone_config(run.config)))
    artifact = run.store.find("backbone", recipe)
    if artifact is not None:
        run.artifacts["backbone"] = artifact


def embed_items(run: Run) -> Artifact:
    """Take the item embeddings e_v out of the backbone."""

    def write(folder: Path) -> None:
        table, *_ = model_class(run.config["model"]).fused_tables  # the first is the input's
        rows = recommender.item_embeddings(run.artifacts["backbone"].folder, table, len(run.data.item_tokens))
        write_item_table(folder, run.data.item_tokens, {"item_embeddings": rows})

    return run.stage("item_embeddings", "take the item embeddings out of the backbone", write, {}, ["backbone"])


def describe_training(config: Any) -> str:
    """What a training is, for the line that says that it starts."""
    return f"train {config['model']} for up to {config['epochs']} epochs at learning rate {config['learning_rate']}"


def _warn_of_untrained_items(run: Run) -> None:
    trained = set(run.data.histories.items.tolist())
    untrained = len(run.data.item_tokens) - len(trained)
    if untrained:
        getLogger().warning(
            f"{untrained} of {len(run.data.item_tokens)} items have no training interaction; their stage-0 embeddings "
            "are learned as negatives only"
        )
