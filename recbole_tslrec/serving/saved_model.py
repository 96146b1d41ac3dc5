"""A trained model by itself: its folder says all that is needed to score, without the dataset, the LLM or knowledge.

RecBole's models are built from a configuration and a dataset. The folder keeps what their constructors read of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import recbole.config
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType, get_model
from safetensors.torch import load_file
from torch import Tensor, nn

from recbole_tslrec.artifacts import (
    ITEM_TOKENS,
    Artifact,
    ArtifactError,
    open_artifact,
    write_json,
    write_tensors,
)
from recbole_tslrec.augmentation.knowledge import Knowledge, dataset_item_tokens
from recbole_tslrec.augmentation.principal_components import PrincipalComponents
from recbole_tslrec.config import settings_of, training_settings
from recbole_tslrec.model.backbones import REFUSED
from recbole_tslrec.random_stream import own_random_stream
from recbole_tslrec.recommender import MODEL, load_weights
from recbole_tslrec.registry import split_model_name
from recbole_tslrec.version import __version__

DESCRIPTION = "model.json"
DESCRIPTION_FORMAT = 1
ITEM_FEATURES = "item_features.safetensors"
KINDS = ("recommender", "backbone")
# What would make a constructor look for files or counts of the training: another loss, S3Rec's first phase, PCA.
_NOT_FOR_TRAINING = {"train_mode": "prefix", "loss_type": "CE", "train_stage": "pretrain", "fusion_input": "knowledge"}


def save_description(folder: Path, config: Any, dataset: Any) -> None:
    """Write beside the weights what :func:`load_model` builds the model from.

    ``model.json`` holds names, settings and counts, ``item_tokens.json`` the items, and ``item_features.safetensors``
    the columns of an ``.item`` file where the dataset has one.

    Args:
        folder: of the artifact.
        config: that the model was built with.
        dataset: the RecBole dataset that it was built with.
    """
    family, backbone = split_model_name(config["model"])
    features = dataset.get_item_feature().interaction
    settings = {**training_settings(config), **settings_of(config, ["fusion_", "ci_fusion_"])}
    description = {
        "format": DESCRIPTION_FORMAT,
        "model": backbone if family == "Base" else family + backbone,
        "user_field": dataset.uid_field,
        "item_field": dataset.iid_field,
        "settings": {key: value for key, value in settings.items() if _is_json(value)},
        "counts": {field: int(dataset.num(field)) for field in (dataset.uid_field, *features)},
        "types": {field: dataset.field2type[field].value for field in (dataset.uid_field, *features)},
        "preloaded": {field: list(weight.shape) for field, weight in dataset._preloaded_weight.items()},
    }
    write_json(folder / DESCRIPTION, description)
    write_json(folder / ITEM_TOKENS, dataset_item_tokens(dataset))
    if dataset.item_feat is not None:
        write_tensors(folder / ITEM_FEATURES, features)


@dataclass(frozen=True)
class SavedModel:
    """A trained model, ready to score.

    Attributes:
        name: of the model, e.g. ``TSLRecSASRec``.
        model: in evaluation mode.
        config: what its constructor was given.
        item_tokens: the external tokens of the items 1..N.
        artifact: where it comes from.
    """

    name: str
    model: nn.Module
    config: Any
    item_tokens: list[str]
    artifact: Artifact

    @property
    def max_length(self) -> int:
        """L, the most recent items that the model sees."""
        return int(self.config["MAX_ITEM_LIST_LENGTH"])

    @torch.no_grad()
    def scores(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """The scores of all items.

        Args:
            item_seq: item ids 1..N, int64 [B, L]; pads (0) behind.
            item_seq_len: how many items each row has, int64 [B].

        Returns:
            [B, N + 1]; column 0 is the pad's and means nothing.
        """
        model: Any = self.model
        batch = Interaction({model.ITEM_SEQ: item_seq, model.ITEM_SEQ_LEN: item_seq_len}).to(self.config["device"])
        scores: Tensor = model.full_sort_predict(batch)
        return scores.view(len(item_seq), -1)


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> SavedModel:
    """The model of an artifact folder, with the very weights that training left.

    Args:
        folder: a ``recommender`` or ``backbone`` artifact.
        device: where it will compute.

    Raises:
        ArtifactError: the folder is damaged, of another kind, or of another version of this package.
        ValueError: the model cannot be served.
    """
    artifact = open_model_folder(folder)
    description = artifact.json(DESCRIPTION)
    name = description["model"]
    if name in REFUSED:
        raise ValueError(f"{name} cannot be served: {REFUSED[name]}")
    settings = {**description["settings"], **_NOT_FOR_TRAINING, "device": torch.device(device), "seed": 0}
    config = SavedConfig({**settings, "model": name, "knowledge_path": folder, "groups_path": folder})
    with own_random_stream(0):
        model: nn.Module = get_model(name)(config, SavedDataset(config, artifact))
    load_weights(model, artifact.folder / MODEL)
    return SavedModel(name, model.to(device).eval(), config, artifact.item_tokens(), artifact)


def open_model_folder(folder: str | Path) -> Artifact:
    """A verified artifact that holds a trained model and its description.

    Raises:
        ArtifactError: it is damaged, of another kind, or of another version of this package.
    """
    artifact = open_artifact(folder)
    kind, version = artifact.manifest["kind"], artifact.manifest["versions"].get("recbole_tslrec", "of unknown version")
    if kind not in KINDS:
        raise ArtifactError(f"{folder} holds [{kind}], no trained model; give the folder of a [{KINDS[0]}] artifact")
    found = artifact.json(DESCRIPTION)["format"] if (artifact.folder / DESCRIPTION).exists() else None
    if found != DESCRIPTION_FORMAT:
        what = f"has description format {found}" if found else f"has no {DESCRIPTION}"
        raise ArtifactError(
            f"{folder} was saved by recbole_tslrec {version} and {what}, which recbole_tslrec {__version__} cannot "
            f"read; train it again with --rebuild={kind}, or install that version"
        )
    return artifact


class SavedConfig(recbole.config.Config):  # type: ignore[misc]  # RecBole is untyped
    """The settings of a trained model, without the files and the command line that they were made of."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.final_config_dict = dict(settings)


class SavedDataset:
    """What the constructors of RecBole's sequential models read of a dataset.

    Tables that are in the weights as well (pretrained entities, knowledge, groups) are zero here, in their shapes.

    Args:
        config: of the model.
        artifact: the model's folder.
    """

    def __init__(self, config: Any, artifact: Artifact) -> None:
        description = artifact.json(DESCRIPTION)
        self.config = config
        self.uid_field, self.iid_field = description["user_field"], description["item_field"]
        self._counts: dict[str, int] = description["counts"]
        self._preloaded: dict[str, list[int]] = description["preloaded"]
        self.user_num, self.item_num = self._counts[self.uid_field], self._counts[self.iid_field]
        self.field2type = {field: FeatureType(value) for field, value in description["types"].items()}
        self.field2seqlen = {self.iid_field + config["LIST_SUFFIX"]: config["MAX_ITEM_LIST_LENGTH"]}
        self.inter_feat = {self.iid_field: torch.zeros(0, dtype=torch.int64)}
        features = artifact.folder / ITEM_FEATURES
        columns = load_file(str(features)) if features.exists() else {self.iid_field: torch.arange(self.item_num)}
        self._item_features = Interaction(columns)
        self._weights = load_file(str(artifact.folder / MODEL))

    def num(self, field: str) -> int:
        """How many values a field has, with the pad."""
        return self._counts[field]

    def get_item_feature(self) -> Any:
        """The columns of the ``.item`` file, a row for every item id."""
        return self._item_features

    def get_preload_weight(self, field: str) -> NDArray[np.float32]:
        """Zeros in the shape of a pretrained table."""
        return np.zeros(self._preloaded[field], dtype=np.float32)

    @property
    def saved_knowledge(self) -> Knowledge:
        """The frozen rows that the model was trained with, already standardised; loading weights sets the rest."""
        rows = self._weight("knowledge")
        assert rows is not None
        present = self._weight("present")
        if present is None:
            present = torch.arange(len(rows)) > 0
        center, axes = self._weight("pca_center"), self._weight("pca_axes")
        components = None if center is None or axes is None else PrincipalComponents(center, axes)
        return Knowledge(rows, present, components)

    @property
    def saved_groups(self) -> tuple[Tensor, int]:
        """The groups, int64 [N + 1], and their number K."""
        groups, embedding = self._weight("groups"), self._weight("embedding.weight")
        assert groups is not None and embedding is not None
        return groups, len(embedding)

    def _weight(self, name: str) -> Tensor | None:
        """What the first of the fused tables keeps under a name; all of them have the same source."""
        return next((weight for key, weight in self._weights.items() if key.endswith(f".source.{name}")), None)


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool, list, dict))


