"""The ID backbone: its training, which is also the paper's "+Base", and its item embeddings e_v."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole_tslrec.compute import distributed
from recbole_tslrec.configuration.properties import model_keys
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.held_out import held_out
from recbole_tslrec.evaluation.history_modes import UNMASKED
from recbole_tslrec.models.backbones import BACKBONES, Backbone
from recbole_tslrec.models.factory import model_class
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.pipeline.stage import Inputs, Stage
from recbole_tslrec.serving.saved_model import save_description
from recbole_tslrec.settings import RecBoleConfig, Settings, derive, setting
from recbole_tslrec.settings.base import optional_positive_integer
from recbole_tslrec.settings.recommender import RecommenderSettings, check_loss
from recbole_tslrec.store.artifacts import UNFINISHED, write_item_table
from recbole_tslrec.store.contents import ContentHashes
from recbole_tslrec.training import recommender


@dataclass(frozen=True)
class BackboneSettings(Settings):
    """What stage 0 has of its own; all else it shares with the augmented training."""

    backbone_epochs: int | None = setting(check=optional_positive_integer)
    """(int) Epochs of the backbone; ``None`` means ``epochs``."""
    backbone_learning_rate: float | None = setting()
    """(float) Its learning rate; ``None`` means ``learning_rate``."""


@dataclass(frozen=True)
class ItemEmbeddingSettings:
    """Which table of the backbone is taken.

    Attributes:
        table: the embedding that the backbone's input is made of.
    """

    table: str

    def recipe(self) -> dict[str, Any]:
        """The table."""
        return {"table": self.table}


def backbone(config: Any) -> Stage:
    """Stage 0: train the ID backbone. It is also the paper's "+Base"."""
    own, name = BackboneSettings.of(config), parse_model_name(config["model"]).backbone
    epochs = config["epochs"] if own.backbone_epochs is None else own.backbone_epochs
    rate = config["learning_rate"] if own.backbone_learning_rate is None else own.backbone_learning_rate
    settings = recommender_settings(derive(config, epochs=epochs, learning_rate=rate), name)

    def build(inputs: Inputs, folder: Path) -> dict[str, Any]:
        _warn_of_untrained_items(inputs.data)
        return train(settings, inputs.data, folder)

    about, contents, check = describe(settings), contents_of_training(settings), Data.check_split
    return Stage("backbone", about, settings, (), build, contents, check, shared=True)


def item_embeddings(config: Any) -> Stage:
    """Take the item embeddings e_v out of the backbone."""
    table = input_table(config["model"])
    settings = ItemEmbeddingSettings(table)

    def build(inputs: Inputs, folder: Path) -> None:
        tokens = inputs.data.item_tokens
        rows = recommender.item_embeddings(inputs.parents["backbone"].folder, settings.table, len(tokens))
        write_item_table(folder, tokens, {"item_embeddings": rows})

    about = "take the item embeddings out of the backbone"
    return Stage("item_embeddings", about, settings, ("backbone",), build)


def input_table(model: str) -> str:
    """The embedding that a model's input is made of: the first of the tables that would be fused."""
    name = parse_model_name(model)
    return model_class(name.recommender).fused_tables[0] if name.family.table else BACKBONES[name.backbone].tables[0]


def recommender_settings(config: Any, model: str, fusion: type[Settings] | None = None) -> RecommenderSettings:
    """All that the training of a model can read, checked.

    Args:
        config: RecBole's configuration.
        model: the name of the model.
        fusion: the settings of what is fused into it.

    Raises:
        ConfigError: a value is wrong, or does not go with the backbone.
    """
    name = parse_model_name(model).backbone
    known = BACKBONES.get(name, Backbone())
    settings = RecommenderSettings.read(config, model, {*model_keys(name), *known.unlisted_keys}, fusion)
    check_loss(settings.training, model, known.plain_loss, known.causal)
    return settings


def data_config(config: Any) -> RecBoleConfig:
    """RecBole's configuration with all that reading a model's dataset can read."""
    name = parse_model_name(config["model"])
    return recommender_settings(config, name.recommender, name.family.settings).config()


def train(
    settings: RecommenderSettings, data: Data, folder: Path, fused: Any = None, sources: Sequence[str] = ()
) -> dict[str, Any]:
    """Train a model and leave it in ``folder``, with all that is needed to serve it.

    Args:
        settings: the settings of the training.
        data: the dataset.
        folder: an existing folder.
        fused: what is fused into its item embeddings, if anything is.
        sources: of which it was made; see :func:`recbole_tslrec.serving.saved_model.save_description`.

    Returns:
        What the manifest reports.
    """
    config = settings.config()
    train_data, valid_data, _ = data.loaders
    masked = None if settings.training.valid_history == UNMASKED else held_out(data, "valid")
    work = folder / UNFINISHED
    report = recommender.train_recommender(config, train_data, valid_data, folder, fused, work, masked)
    if distributed.is_main():
        save_description(folder, settings, train_data._dataset, sources)
    return report


def contents_of_training(settings: RecommenderSettings) -> Callable[[Data, ContentHashes], dict[str, str]]:
    """The hashes of the files that a training reads: item features and the like, and what S3Rec fine-tunes."""

    def contents(data: Data, hashes: ContentHashes) -> dict[str, str]:
        found, path = data.feature_contents(hashes), Path(str(settings.own.get("pre_model_path")))
        if settings.own.get("train_stage") == "finetune" and path.is_file():
            found["pre_model"] = hashes.of(path)
        return found

    return contents


def describe(settings: RecommenderSettings) -> str:
    """What a training is, for the line that says that it starts."""
    training = settings.training
    return f"train {settings.model} for up to {training.epochs} epochs at learning rate {training.learning_rate}"


def _warn_of_untrained_items(data: Data) -> None:
    untrained = len(data.item_tokens) - len(data.trained_items)
    if untrained:
        getLogger().warning(
            f"{untrained} of {len(data.item_tokens)} items have no training interaction; their stage-0 embeddings "
            "are learned as negatives only"
        )
