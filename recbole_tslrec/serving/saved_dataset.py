"""In the place of RecBole's configuration and dataset: what the constructors of its sequential models read of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import recbole.config
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType
from torch import Tensor

from recbole_tslrec.augmentation.knowledge import Knowledge
from recbole_tslrec.augmentation.principal_components import PrincipalComponents


class SavedConfig(recbole.config.Config):  # type: ignore[misc]  # RecBole is untyped
    """Settings without the files and the command line that they were made of."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.final_config_dict = dict(settings)
        self.parameters: dict[str, list[str]] = {}  # by category, for printing


class SavedDataset:
    """A dataset without interactions. What was frozen into the model, it takes from the model's weights.

    Args:
        config: of the model.
        description: ``model.json``.
        item_features: the columns of the ``.item`` file, N + 1 rows each; empty where there was none.
        weights: the model's state.
    """

    def __init__(
        self,
        config: Any,
        description: Mapping[str, Any],
        item_features: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
    ) -> None:
        self.config = config
        self.uid_field, self.iid_field = description["user_field"], description["item_field"]
        self._counts: Mapping[str, int] = description["counts"]
        self._preloaded: Mapping[str, list[int]] = description["preloaded"]
        self._item_features, self._weights = item_features, weights
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

    @property
    def saved_knowledge(self) -> Knowledge:
        """The frozen rows as the model standardised them. It does so once more, before its weights are loaded."""
        rows, present = self._source("knowledge"), self._source("present")
        center, axes = self._source("pca_center"), self._source("pca_axes")
        assert rows is not None
        components = None if center is None or axes is None else PrincipalComponents(center, axes)
        return Knowledge(rows, torch.arange(len(rows)) > 0 if present is None else present, components)

    @property
    def saved_groups(self) -> tuple[Tensor, int]:
        """The groups, int64 [N + 1], and their number K."""
        groups, embedding = self._source("groups"), self._source("embedding.weight")
        assert groups is not None
        assert embedding is not None
        return groups, len(embedding)

    def _source(self, name: str) -> Tensor | None:
        """What the source of a fused table keeps under a name; where several tables are fused, it is the same."""
        return next((weight for key, weight in self._weights.items() if key.endswith(f".source.{name}")), None)
