"""SASRec's embeddings, scores and losses around other blocks: those of FMLP-Rec, BSARec, WEARec, LiGR and HSTU."""

from collections.abc import Callable
from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.layers import FeedForward
from recbole.model.loss import BPRLoss
from recbole.model.sequential_recommender import SASRec
from torch import Tensor, nn

from recbole_tslrec.sequential.dropout import draw_few_bits


def own_loss(config: Any) -> nn.Module:
    """The loss of ``loss_type``.

    Raises:
        ValueError: it is neither CE nor BPR.
    """
    if config["loss_type"] not in ("CE", "BPR"):
        raise ValueError(f"loss_type [{config['loss_type']}] is not one of CE, BPR")
    return nn.CrossEntropyLoss() if config["loss_type"] == "CE" else BPRLoss()


def check_layers(config: Any) -> None:
    """Refuse a network without blocks.

    Raises:
        ValueError: ``n_layers`` is below 1.
    """
    if config["n_layers"] < 1:
        raise ValueError(f"n_layers [{config['n_layers']}] must be at least 1, the blocks of the network")


def heads_of(config: Any) -> int:
    """How many attention heads share the width.

    Raises:
        ValueError: they do not divide it.
    """
    size, heads = config["hidden_size"], config["n_heads"]
    if size % heads:
        raise ValueError(f"hidden_size [{size}] must be a multiple of n_heads [{heads}]")
    return int(heads)


def feed_forward(config: Any) -> FeedForward:
    """RecBole's feed-forward layer of a transformer, with dropout, residual and LayerNorm."""
    keys = ("hidden_size", "inner_size", "hidden_dropout_prob", "hidden_act", "layer_norm_eps")
    return FeedForward(*(config[key] for key in keys))


class StackedBlocks(SASRec):  # type: ignore[misc]  # RecBole is untyped
    """Item and position embeddings under ``n_layers`` blocks; losses CE and BPR.

    Inherits the initialisation, ``calculate_loss``, ``predict`` and ``full_sort_predict`` of RecBole's SASRec.

    Args:
        config: ``n_layers``, ``hidden_size``, ``hidden_dropout_prob``, ``initializer_range`` and ``loss_type``, and
            what the blocks read.
        dataset: RecBole's.
        block: makes a block from the configuration and the positions L of a row.
    """

    def __init__(self, config: Any, dataset: Any, block: Callable[[Any, int], nn.Module]) -> None:
        SequentialRecommender.__init__(self, config, dataset)  # SASRec's own would build the attention
        self.hidden_size = config["hidden_size"]
        self.initializer_range = config["initializer_range"]
        self.loss_type = config["loss_type"]
        self.loss_fct = own_loss(config)
        check_layers(config)
        self.item_embedding = nn.Embedding(self.n_items, self.hidden_size, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, self.hidden_size)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        # the list's own type does not say of what it is
        self.blocks: Any = nn.ModuleList(block(config, self.max_seq_length) for _ in range(config["n_layers"]))
        self.apply(self._init_weights)
        draw_few_bits(self)  # RecBole has none of these networks: no random numbers of its own have to be kept


def pads_in_front(item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
    """Move the pads of [B, L] from behind the items (RecBole) to before them, keeping the order."""
    length = item_seq.shape[1]
    position = torch.arange(length, device=item_seq.device) - (length - item_seq_len).unsqueeze(1)  # [B, L]
    return item_seq.gather(1, position % length)


class WholeRowBlocks(StackedBlocks):
    """Blocks that mix all positions of a row, the pads too, which stand in front of the items, as in the originals.

    A pad has the embedding of its position alone. A block has ``forward(hidden [B, L, d], is_item [B, L])``, [B, L, d],
    and ``last`` for the last position of that, [B, d]. Embeddings pass a LayerNorm (``layer_norm_eps``), as in SASRec.
    """

    def __init__(self, config: Any, dataset: Any, block: Callable[[Any, int], nn.Module]) -> None:
        super().__init__(config, dataset, block)
        self.LayerNorm = nn.LayerNorm(self.hidden_size, eps=config["layer_norm_eps"])

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Item ids [B, L], pads behind, and their number [B] -> the sequence's vector [B, d]."""
        item_seq = pads_in_front(item_seq, item_seq_len)
        is_item = item_seq != 0  # [B, L]
        items = self.item_embedding(item_seq) * is_item.unsqueeze(-1)  # RecBole draws values for the pad's row
        hidden = self.dropout(self.LayerNorm(items + self.position_embedding.weight))  # [B, L, d]
        for block in self.blocks[:-1]:
            hidden = block(hidden, is_item)
        last: Tensor = self.blocks[-1].last(hidden, is_item)  # the only position that is read
        return last


class CausalBlocks(StackedBlocks):
    """Blocks in which no position sees a later one: ``forward(hidden [B, L, d]) -> [B, L, d]``. Pads stand behind.

    The blocks have LayerNorms of their own in front, so that embeddings pass none.

    Attributes:
        item_scale: what item embeddings are multiplied by.
    """

    item_scale = 1.0

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Item ids [B, L], pads behind, and their number [B] -> the sequence's vector [B, d]; all of them if asked."""
        items = self.item_embedding(item_seq) * self.item_scale  # [B, L, d]
        hidden = self.dropout(items + self.position_embedding.weight[: item_seq.shape[1]])
        for block in self.blocks:
            hidden = block(hidden)
        read: Tensor = self.gather_indexes(hidden, item_seq_len - 1)
        return read
