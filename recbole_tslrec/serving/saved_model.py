"""A trained model by itself: its folder has all that is needed to score, without the dataset, the LLM or knowledge.

RecBole's models are built from a configuration and a dataset. The folder keeps what their constructors read of both.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.data.transform import construct_transform
from safetensors.torch import load_file
from torch import Tensor, nn

from recbole_tslrec.compute.random_state import isolated_random_state
from recbole_tslrec.data.item_tokens import dataset_item_tokens
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.models.factory import model_class
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.serving.saved_dataset import SavedDataset, fused_items
from recbole_tslrec.serving.top_items import LeftOut, best_items, scores_in_chunks
from recbole_tslrec.settings import RecBoleConfig
from recbole_tslrec.settings.recommender import SAMPLED_LOSSES, RecommenderSettings
from recbole_tslrec.store.artifacts import ITEM_TOKENS, Artifact, ArtifactError, open_artifact
from recbole_tslrec.store.files import write_json, write_tensors
from recbole_tslrec.training.recommender import MODEL

DESCRIPTION = "model.json"
SOURCES = "knowledge_sources"  # in the description
GIVEN = "knowledge_path"  # among the sources: a file or an artifact that was given
ITEM_FEATURES = "item_features.safetensors"
KINDS = ("recommender", "backbone")
LLM_KINDS = ("llm_task", "ranker")
# What scoring has no need of, and would make a constructor look for files or counts of the training: windows, S3Rec's
# pretrained weights, principal components, where training started.
_SCORING = {
    "train_mode": "prefix",
    "train_stage": "pretrain",
    "fusion_pca_dimension": None,
    "id_init": "random",
}
_LOSS_MEMORY = 0.0  # MiB; a model in use computes no loss


@dataclass(frozen=True)
class SavedModel:
    """A trained model, ready to score.

    Attributes:
        name: the name of the model, e.g. ``TSLRecSASRec``.
        model: in evaluation mode.
        config: the configuration that its constructor was given.
        item_tokens: the external tokens of the items 1..N.
    """

    name: str
    model: nn.Module
    config: Any
    item_tokens: list[str]

    @property
    def max_length(self) -> int:
        """L, how many of the most recent items the model sees; 0 if it sees all."""
        return int(self.config["MAX_ITEM_LIST_LENGTH"])

    @functools.cached_property
    def id_of_item(self) -> dict[str, int]:
        """The id 1..N of each external token."""
        return {token: item for item, token in enumerate(self.item_tokens, start=1)}

    def item_ids(self, tokens: Iterable[Any]) -> list[int]:
        """The ids of the tokens that the model knows, in their order."""
        return [self.id_of_item[str(token)] for token in tokens if str(token) in self.id_of_item]

    @torch.no_grad()
    def scores(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """The scores of all items.

        Args:
            item_seq: item ids 1..N, int64 [B, L]; padded with 0 at the end.
            item_seq_len: how many items each row has, int64 [B].

        Returns:
            [B, N + 1]; column 0 belongs to the pad and has no meaning.
        """
        model: Any = self.model
        scores: Tensor = model.full_sort_predict(self.batch(item_seq, item_seq_len))
        return scores.view(len(item_seq), -1)

    @torch.no_grad()
    def best(
        self, item_seq: Tensor, item_seq_len: Tensor, k: int, left_out: Sequence[Sequence[int]] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The k best items of each row; of items with equal scores, the smaller id comes first.

        Args:
            item_seq: item ids 1..N, int64 [B, L]; padded with 0 at the end.
            item_seq_len: how many items each row has, int64 [B].
            k: how many items.
            left_out: ids of items to leave out, for each row.

        Returns:
            Scores, best first, [B, k], and item ids, int64 [B, k].

        Raises:
            ValueError: fewer than k items of a row have a score that is a finite number.
        """
        chunks = scores_in_chunks(self.model, self.batch(item_seq, item_seq_len))
        return best_items(chunks, k, None if left_out is None else LeftOut(left_out, self.config["device"]))

    def batch(self, item_seq: Tensor, item_seq_len: Tensor) -> Any:
        """What the model is given, on its device."""
        model: Any = self.model
        return Interaction({model.ITEM_SEQ: item_seq, model.ITEM_SEQ_LEN: item_seq_len}).to(self.config["device"])


def check_knows_items_only(saved: SavedModel) -> None:
    """Refuse a recommender that scores for the users of its training alone.

    Raises:
        ValueError: it has an embedding per user.
    """
    if BACKBONES[parse_model_name(saved.name).backbone].knows_users:
        raise ValueError(
            f"{saved.name} has an embedding per user, so it has nothing to say about users that it was not trained "
            "on; train a model of items only, such as TSLRecSASRec"
        )


@dataclass(frozen=True)
class ModelFiles:
    """What the folder of a trained model holds.

    Attributes:
        description: names, settings and counts.
        item_tokens: the external tokens of the items 1..N.
        item_features: the columns of the dataset's ``.item`` file, N + 1 rows each; empty where it had none.
        weights: the model's state.
    """

    description: Mapping[str, Any]
    item_tokens: list[str]
    item_features: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]

    @classmethod
    def read(cls, artifact: Artifact) -> "ModelFiles":
        """Read an artifact of :func:`open_model_folder`."""
        features = artifact.folder / ITEM_FEATURES
        return cls(
            artifact.json(DESCRIPTION),
            artifact.item_tokens(),
            load_file(str(features)) if features.exists() else {},
            load_file(str(artifact.folder / MODEL)),
        )

    def write(self, folder: Path) -> None:
        """Write all of them into an existing folder."""
        _write_description(folder, self.description, self.item_tokens, self.item_features)
        write_tensors(folder / MODEL, self.weights)

    def build(self, device: str | torch.device = "cpu") -> SavedModel:
        """Build the model and load its weights, all of them.

        Raises:
            ValueError: the model cannot be served.
        """
        config, model = self._untrained(device)
        model.load_state_dict(self.weights)
        return SavedModel(self.description["model"], model.to(device).eval(), config, self.item_tokens)

    def shapes(self) -> dict[str, torch.Size]:
        """The shapes that the weights of such a model must have."""
        return {name: weight.shape for name, weight in self._untrained("cpu")[1].state_dict().items()}

    def _untrained(self, device: str | torch.device) -> tuple[RecBoleConfig, nn.Module]:
        name = parse_model_name(self.description["model"])
        if name.backbone not in BACKBONES:
            raise ValueError(
                f"{name} cannot be served: it reads more of its dataset than a saved model keeps; train another, such "
                "as SASRec"
            )
        machine = {"device": torch.device(device), "loss_memory": _LOSS_MEMORY}
        config = RecBoleConfig({**self.description["settings"], **machine, "model": str(name)})
        construct_transform(config)  # it names the columns that it adds here
        dataset = SavedDataset(config, self.description, self.item_features)
        fused = fused_items(name.family.table, self.weights)
        with isolated_random_state(config["seed"]):
            model: nn.Module = model_class(str(name))(config, dataset, *([] if fused is None else [fused]))
        return config, model


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> SavedModel:
    """The model of an artifact folder, with the very weights that training left.

    Args:
        folder: a ``recommender`` or ``backbone`` artifact.
        device: where it will compute.

    Raises:
        ArtifactError: the folder is damaged, of another kind, or of another version of this package.
        ValueError: the model cannot be served.
    """
    return ModelFiles.read(open_model_folder(folder)).build(device)


def open_model_folder(folder: str | Path) -> Artifact:
    """A verified artifact that holds a trained model and its description.

    Raises:
        ArtifactError: it is damaged, of another kind, or of another version of this package.
    """
    artifact = open_artifact(folder)
    kind = artifact.manifest["kind"]
    if kind in LLM_KINDS:
        raise ArtifactError(
            f"{folder} holds [{kind}], an LLM that ranks; it has no table of items to export or extend, and serves "
            "recommend alone"
        )
    if kind not in KINDS:
        raise ArtifactError(f"{folder} holds [{kind}], no trained model; give the folder of a [{KINDS[0]}] artifact")
    return artifact


def save_description(folder: Path, settings: RecommenderSettings, dataset: Any, sources: Sequence[str] = ()) -> None:
    """Write beside the weights what :func:`load_model` builds the model from.

    Args:
        folder: the folder of the artifact.
        settings: that the model was trained with.
        dataset: the RecBole dataset that it was built with.
        sources: whose vectors it fuses: the names of what made them, and :data:`GIVEN` for each file that was given.
    """
    values = {**settings.recipe(), **_SCORING}
    if settings.training.loss_type in SAMPLED_LOSSES:  # they count interactions
        values["loss_type"] = "CE"
    features = {} if dataset.item_feat is None else dataset.get_item_feature().interaction
    fields = {dataset.uid_field, dataset.iid_field, *features}
    description = {
        "model": settings.model,
        SOURCES: list(sources),
        "settings": {key: value for key, value in values.items() if _is_json(value)},
        "user_field": dataset.uid_field,
        "item_field": dataset.iid_field,
        "counts": {field: int(dataset.num(field)) for field in sorted(fields)},
        "types": {field: dataset.field2type[field].value for field in sorted(fields)},
        "preloaded": {field: list(weight.shape) for field, weight in dataset._preloaded_weight.items()},
    }
    _write_description(folder, description, dataset_item_tokens(dataset), features)


def _write_description(
    folder: Path, description: Mapping[str, Any], item_tokens: list[str], features: Mapping[str, Tensor]
) -> None:
    write_json(folder / DESCRIPTION, description)
    write_json(folder / ITEM_TOKENS, item_tokens)
    if features:
        write_tensors(folder / ITEM_FEATURES, features)


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool, list, dict))
