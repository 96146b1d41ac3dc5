"""Backbones of RecBole 1.2.1 that contradict themselves, each with what is wrong and set right.

Base and the fused models are made of these; what stock RecBole calls by its own name stays as it is.
"""

from pathlib import Path
from typing import Any

import torch
from recbole.model import sequential_recommender
from recbole.model.loss import BPRLoss
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from recbole_tslrec.compatibility import loading_a_checkpoint
from recbole_tslrec.settings import derive

# RecBole is untyped: mypy cannot see the bases.


class CORE(sequential_recommender.CORE):  # type: ignore[misc]
    """``predict`` multiplies with the items' vectors as they are; training and ``full_sort_predict`` normalise them."""

    def predict(self, interaction: Any) -> Tensor:
        """The scores of one item per row, [B]."""
        query = self.forward(interaction[self.ITEM_SEQ])  # [B, d]
        items = functional.normalize(self.item_embedding(interaction[self.ITEM_ID]), dim=-1)  # [B, d]
        scores: Tensor = (query * items).sum(dim=-1) / self.temperature
        return scores


class _SoftmaxCPR:
    """``predict`` is ``assert False``, and RecBole calls it; a loss other than CE ends the process as if done."""

    def __init__(self, config: Any, dataset: Any) -> None:
        if config["loss_type"] != "CE":
            raise ValueError(f"{config['model']} trains with loss_type CE only, not [{config['loss_type']}]")
        super().__init__(config, dataset)  # type: ignore[call-arg]

    def predict(self: Any, interaction: Any) -> Tensor:
        """The probabilities of one item per row, [B]. All are computed: each depends on the others."""
        scores: Tensor = self.full_sort_predict(interaction)  # [B, N + 1]
        return scores.gather(1, interaction[self.ITEM_ID].unsqueeze(1)).squeeze(1)


class SASRecCPR(_SoftmaxCPR, sequential_recommender.SASRecCPR):  # type: ignore[misc]
    """SASRec with the softmax-CPR output."""


class GRU4RecCPR(_SoftmaxCPR, sequential_recommender.GRU4RecCPR):  # type: ignore[misc]
    """GRU4Rec with the softmax-CPR output."""


class RepeatNet(sequential_recommender.RepeatNet):  # type: ignore[misc]
    """RecBole's fails under ``enable_amp``: it adds bfloat16 to a table of float32. This one computes in float32."""

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Any:
        """What RecBole's computes of item ids [B, L] and lengths [B]."""
        with torch.autocast(item_seq.device.type, enabled=False):
            return super().forward(item_seq, item_seq_len)


class SHAN(sequential_recommender.SHAN):  # type: ignore[misc]
    """``full_sort_predict`` reads rows with pads behind; training and ``predict`` read those with pads in front."""

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """The scores of all items, [B, N + 1]."""
        query = self.forward(interaction[self.INVERSE_ITEM_SEQ], interaction[self.USER_ID])  # [B, d]
        scores: Tensor = query @ self.item_embedding.weight.T
        return scores


class S3Rec(sequential_recommender.S3Rec):  # type: ignore[misc]
    """Fine-tunes from a checkpoint of either phase's class, plain or fused, .pth or .safetensors.

    RecBole loads ``pre_model_path`` inside ``__init__``, where no table is fused yet, with names that must all fit.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        self.fine_tunes = config["train_stage"] == "finetune"
        super().__init__(derive(config, train_stage="pretrain"), dataset)  # which loads nothing
        if self.fine_tunes:
            if self.loss_type not in ("CE", "BPR"):
                raise ValueError(f"loss_type [{self.loss_type}] is not one of CE, BPR")
            self.train_stage = "finetune"
            self.loss_fct = nn.CrossEntropyLoss() if self.loss_type == "CE" else BPRLoss()
            self.load_pretrained()

    def _init_weights(self, module: nn.Module) -> None:
        if not self.fine_tunes:  # as in RecBole: what is loaded over draws no random numbers
            super()._init_weights(module)

    def load_pretrained(self) -> None:
        """Read ``pre_model_path``; asked again once the tables are fused, for what the fusion has learned.

        Raises:
            FileNotFoundError: there is no such file.
            RuntimeError: the checkpoint is of another kind of model.
        """
        if not self.fine_tunes:
            return
        if not Path(self.pre_model_path).is_file():
            raise FileNotFoundError(
                f"S3Rec fine-tunes from a checkpoint, and there is none at pre_model_path [{self.pre_model_path}]; run "
                "with train_stage=pretrain first"
            )
        self.load_state_dict(_fitted(_read_checkpoint(Path(self.pre_model_path)), self))


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(str(path))
    with loading_a_checkpoint():
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu")["state_dict"]
    return weights


def _fitted(weights: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """The weights under the names of ``model``, whose table may be fused where theirs is not, or the reverse."""
    plain, prefix = "item_embedding.weight", "item_embedding.parametrizations.weight."
    if not parametrize.is_parametrized(model.item_embedding):
        own = {plain if name == f"{prefix}original" else name: weight for name, weight in weights.items()}
        return {name: weight for name, weight in own.items() if not name.startswith(prefix)}
    if plain not in weights:
        return weights
    fusion = {name: weight for name, weight in model.state_dict().items() if name.startswith(prefix)}
    rest = {name: weight for name, weight in weights.items() if name != plain}
    return {**rest, **fusion, f"{prefix}original": weights[plain]}
