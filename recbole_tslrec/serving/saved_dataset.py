"""In the place of RecBole's dataset: what the constructors of its sequential models read of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType
from torch import Tensor

from recbole_tslrec.augmentation.knowledge import Knowledge
from recbole_tslrec.augmentation.principal_components import PrincipalComponents
from recbole_tslrec.data.groupings import Grouping


class SavedDataset:
    """A dataset without interactions.

    Args:
        config: the configuration of the model.
        description: ``model.json``.
        item_features: the columns of the ``.item`` file, N + 1 rows each; empty where there was none.
    """

    def __init__(self, config: Any, description: Mapping[str, Any], item_features: Mapping[str, Tensor]) -> None:
        self.config = config
        self.uid_field, self.iid_field = description["user_field"], description["item_field"]
        self._counts: Mapping[str, int] = description["counts"]
        self._preloaded: Mapping[str, list[int]] = description["preloaded"]
        self._item_features = item_features
        self.user_num, self.item_num = self.num(self.uid_field), self.num(self.iid_field)
        self.field2type = {field: FeatureType(value) for field, value in description["types"].items()}
        self.field2seqlen = {self.iid_field + config["LIST_SUFFIX"]: config["MAX_ITEM_LIST_LENGTH"]}
        self.inter_feat = {self.iid_field: torch.zeros(0, dtype=torch.int64)}

    def num(self, field: str) -> int:
        """How many values a field has, with the pad."""
        return self._counts[field]

    def get_item_feature(self) -> Any:
        """The columns of the ``.item`` file, a row for every item id."""
        return Interaction(dict(self._item_features) or {self.iid_field: torch.arange(self.item_num)})

    def get_preload_weight(self, field: str) -> NDArray[np.float32]:
        """Zeros in the shape of a pretrained table, which is among the weights under another name."""
        rows, width = self._preloaded[field]
        return np.zeros((max(rows, self.item_num), width), dtype=np.float32)


def fused_items(table: str, weights: Mapping[str, Tensor]) -> Knowledge | Grouping | None:
    """What was frozen into a model's fused tables, from its weights; where several tables are fused, it is the same.

    The rows of knowledge are those that the model standardised, in the file that the weights were read from: no copy.

    Args:
        table: the kind of artifact that the model's family fuses; empty for none.
        weights: the model's state.
    """

    def source(name: str) -> Tensor | None:
        return next((weight for key, weight in weights.items() if key.endswith(f".source.{name}")), None)

    if table == "groups":
        groups, embedding = source("groups"), source("embedding.weight")
        assert groups is not None
        assert embedding is not None
        return Grouping(groups, len(embedding))
    if table == "knowledge":
        rows, present = source("knowledge"), source("present")
        center, axes = source("pca_center"), source("pca_axes")
        assert rows is not None
        components = None if center is None or axes is None else PrincipalComponents(center, axes)
        known = torch.arange(len(rows)) > 0 if present is None else present
        return Knowledge(rows, known, components, source("center"), source("norm"))
    return None
