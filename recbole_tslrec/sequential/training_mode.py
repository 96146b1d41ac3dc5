"""How a backbone is trained: ``train_mode`` and the ``loss_type`` of this package, over RecBole's own model classes."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from recbole_tslrec.sequential.dropout import draw_few_bits
from recbole_tslrec.sequential.losses import full_cross_entropy, sampled_loss
from recbole_tslrec.settings import derive
from recbole_tslrec.settings.recommender import SAMPLED_LOSSES, TrainingSettings, check_loss


class SequenceTraining:
    """Mixed into a sequential model: trains all positions at once, or with a loss for large catalogues.

    Attributes:
        reads_all_positions: whether ``forward`` gives the vectors of all positions now, [B, L, d].
        scores_are_products: whether scores are ``forward(item_seq, item_seq_len) @ output_table.T``, so that ranks can
            be found in chunks of items.
        has_plain_loss: whether the loss is that of these scores and nothing more.
        is_own: whether RecBole does not have this network, so that its loss need not be RecBole's to the last digit.
        is_causal: whether position t sees the items up to t only, and is read through ``gather_indexes``.

    With RecBole's network and ``loss_type``, prefixes, and scores that fit into ``loss_memory``, the backbone's own
    ``calculate_loss`` runs.
    """

    reads_all_positions = False
    scores_are_products = False
    has_plain_loss = False
    is_own = False
    is_causal = False

    def __init__(self: Any, config: Any, dataset: Any) -> None:
        check_loss(TrainingSettings.of(config), type(self).__name__, self.has_plain_loss, self.is_causal)
        # RecBole's constructors know CE and BPR; with another loss the backbone is built as for CE
        sampled = config["loss_type"] in SAMPLED_LOSSES
        super().__init__(derive(config, loss_type="CE") if sampled else config, dataset)  # type: ignore[call-arg]
        self._trains_all_positions = config["train_mode"] == "all_positions"
        if self._trains_all_positions:  # RecBole has no such mode; where it has one, its random numbers are kept
            draw_few_bits(self)
        self._loss_memory = config["loss_memory"]
        self._own_loss = None
        if sampled:  # a module: it moves with the model; it has no weights
            count = torch.bincount(dataset.inter_feat[self.ITEM_ID], minlength=self.n_items)
            self._own_loss = sampled_loss(
                config["loss_type"], count, config["loss_negatives"], config["loss_calibration"]
            )

    @property
    def output_table(self: Any) -> Tensor:
        """What a sequence's vector is multiplied with, [N + 1, d]; a backbone with another one says so itself."""
        own: Any = getattr(super(), "output_table", None)
        table: Tensor = self.item_embedding.weight if own is None else own
        return table

    def output_rows(self: Any, items: Tensor) -> Tensor:
        """Rows of :attr:`output_table`: item ids [...] -> [..., d]; of a fused table only they are computed."""
        own: Any = getattr(super(), "output_rows", self.item_embedding)
        rows: Tensor = own(items)
        return rows

    @property
    def samples_items(self) -> bool:
        """Whether a step scores a few drawn items, so that only rows of the item table are needed."""
        return self._own_loss is not None

    def gather_indexes(self: Any, output: Tensor, gather_index: Tensor) -> Tensor:
        """RecBole's models read their last position through this; here all positions can be read, [B, L, d]."""
        if self.reads_all_positions:
            return output
        last: Tensor = super().gather_indexes(output, gather_index)  # type: ignore[misc]
        return last

    @contextmanager
    def _all_positions(self) -> Iterator[None]:
        self.reads_all_positions = True
        try:
            yield
        finally:
            self.reads_all_positions = False

    def calculate_loss(self: Any, interaction: Any) -> Tensor:
        """The loss of a batch: prefixes [B, L] with a target each, or windows with a target at every position.

        A fused item table is computed once, for the input and the output.
        """
        with parametrize.cached():
            if not self._computes_loss(interaction):
                if self._masks_nothing(interaction):
                    nothing: Tensor = 0.0 * self.output_table.sum()
                    return nothing  # RecBole's mean over no targets is not a number
                loss: Tensor = super().calculate_loss(interaction)  # type: ignore[misc]
                return loss
            target = interaction[self.POS_ITEM_ID]  # [B] or [B, L]
            counts = target > 0
            query = self._queries(interaction)[counts]  # [T, d]
            loss = self._loss_of(query, target[counts], interaction, counts)
            return loss

    def target_counts(self: Any, interaction: Any) -> Tensor:
        """How many targets each row of a batch has, over all of which the loss is a mean: int64 [B]."""
        target = interaction[getattr(self, "MASK_INDEX", self.POS_ITEM_ID)]  # of BERT4Rec the masked places
        counts: Tensor = (target > 0).view(len(target), -1).sum(dim=1)
        return counts

    def _masks_nothing(self: Any, interaction: Any) -> bool:
        """Whether a batch has no targets since none of its places was masked, as may happen to a short last one."""
        return hasattr(self, "MASK_INDEX") and not self.target_counts(interaction).any()

    def _queries(self: Any, interaction: Any) -> Tensor:
        """What is multiplied with the item table: [B, d], or [B, L, d] for windows."""
        item_seq, item_seq_len = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        if not self._trains_all_positions:
            last: Tensor = self.forward(item_seq, item_seq_len)
            return last
        with self._all_positions():
            every: Tensor = self.forward(item_seq, item_seq_len)
        return every

    def _loss_of(self: Any, query: Tensor, target: Tensor, interaction: Any, counts: Tensor) -> Tensor:
        if self._own_loss is not None:
            items = self._own_loss.items_of_step(query.device)
            loss: Tensor = self._own_loss(query, target, self.output_rows(target), items, self.output_rows(items))
            return loss
        if self.loss_type == "BPR":
            negative = self.output_rows(interaction[self.NEG_ITEM_ID][counts])
            positive = self.output_rows(target)
            loss = self.loss_fct((query * positive).sum(dim=-1), (query * negative).sum(dim=-1))
            return loss
        return full_cross_entropy(query, self.output_table, target, self._loss_memory)

    def _computes_loss(self: Any, interaction: Any) -> bool:
        """Whether the loss is computed here: where RecBole has none like it, or its scores exceed ``loss_memory``.

        The cross entropy is computed in chunks here, which on a CPU is faster, but rounds otherwise than RecBole.
        """
        if self.is_own or self._trains_all_positions or self._own_loss:
            return True
        if not self.has_plain_loss or self.loss_type != "CE":
            return False
        return bool(4 * len(interaction) * self.n_items > self._loss_memory * 2**20)


@functools.cache
def trainable(backbone: type, scores_are_products: bool, plain_loss: bool, own: bool, causal: bool) -> type:
    """A sequential model class that knows ``train_mode`` and the losses of this package; its name stays.

    Args:
        backbone: the class.
        scores_are_products: as :attr:`SequenceTraining.scores_are_products`, and so on.
        plain_loss: see there.
        own: see there.
        causal: see there.
    """
    traits = {
        "scores_are_products": scores_are_products,
        "has_plain_loss": plain_loss,
        "is_own": own,
        "is_causal": causal,
    }
    namespace = {"__doc__": backbone.__doc__, "__module__": __name__, **traits}
    return type(backbone.__name__, (SequenceTraining, backbone), namespace)
