"""SASRec (Kang and McAuley, ICDM 2018) as RecBole has it, with the last layer computed where it is read.

RecBole computes the last transformer layer at all L positions and then reads one. Here only that one is computed, from
the keys and values of all. Parameters, results and, on a CPU, even the random numbers of dropout are RecBole's.
"""

import torch
from recbole.model import sequential_recommender
from recbole.model.layers import MultiHeadAttention, TransformerLayer
from torch import Tensor, nn
from torch.nn.functional import dropout


class SASRec(sequential_recommender.SASRec):  # type: ignore[misc]  # RecBole is untyped
    """RecBole's SASRec, faster where one position of a row is read."""

    reads_all_positions = False

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Item ids [B, L], pads behind, and their number [B] -> the sequence's vector [B, d]; all of them if asked."""
        if self.reads_all_positions:
            every: Tensor = super().forward(item_seq, item_seq_len)
            return every
        hidden = self.item_embedding(item_seq) + self.position_embedding.weight[: item_seq.shape[1]]  # [B, L, d]
        hidden = self.dropout(self.LayerNorm(hidden))
        mask = self.get_attention_mask(item_seq)  # [B, 1, L, L]
        *first, last = self.trm_encoder.layer
        for layer in first:
            hidden = layer(hidden, mask)
        return layer_at(last, hidden, mask, item_seq_len - 1)


def layer_at(layer: TransformerLayer, hidden: Tensor, mask: Tensor, position: Tensor) -> Tensor:
    """A transformer layer of RecBole at one position of each row.

    Args:
        layer: multi-head attention and feed-forward, each with dropout, residual and LayerNorm.
        hidden: [B, L, d].
        mask: what is added to the attention scores, [B, 1, L, L].
        position: int64 [B].

    Returns:
        [B, d].
    """
    row = torch.arange(hidden.shape[0], device=hidden.device)
    output = attention_at(layer.multi_head_attention, hidden, mask[row, :, position], position)  # [B, d]
    feed_forward = layer.feed_forward
    inner = feed_forward.dense_2(feed_forward.intermediate_act_fn(feed_forward.dense_1(output)))
    inner = dropout_at(inner, feed_forward.dropout, (hidden.shape[1], hidden.shape[2]), position)
    normed: Tensor = feed_forward.LayerNorm(inner + output)
    return normed


def attention_at(attention: MultiHeadAttention, hidden: Tensor, mask: Tensor, position: Tensor) -> Tensor:
    """Multi-head attention of RecBole at one position of each row, with dropout, residual and LayerNorm.

    Args:
        attention: the module.
        hidden: [B, L, d].
        mask: what is added to the scores of that position, [B, 1, L].
        position: int64 [B].

    Returns:
        [B, d].
    """
    batch, length, width = hidden.shape
    heads = attention.num_attention_heads
    own = hidden[torch.arange(batch, device=hidden.device), position]  # [B, d]
    query = attention.query(own).view(batch, heads, 1, -1)  # [B, heads, 1, d / heads]
    key = attention.key(hidden).view(batch, length, heads, -1).transpose(1, 2)  # [B, heads, L, d / heads]
    value = attention.value(hidden).view(batch, length, heads, -1).transpose(1, 2)
    scores = query @ key.transpose(2, 3) / attention.sqrt_attention_head_size  # [B, heads, 1, L]
    weight = (scores + mask.unsqueeze(2)).softmax(dim=-1)
    weight = dropout_at(weight.squeeze(2), attention.attn_dropout, (length, length), position)  # [B, heads, L]
    context = (weight.unsqueeze(2) @ value).reshape(batch, width)
    context = dropout_at(attention.dense(context), attention.out_dropout, (length, width), position)
    output: Tensor = attention.LayerNorm(context + own)
    return output


def dropout_at(values: Tensor, module: nn.Dropout, shape: tuple[int, int], position: Tensor) -> Tensor:
    """Dropout of one row of a matrix that is not computed as a whole.

    Torch's dropout on a CPU draws a number for each element in order; so does this for the whole matrix, and keeps what
    belongs to the row, so that training goes on as RecBole's would. A GPU draws in another way, and only the row here.

    Args:
        values: [B, ..., width].
        module: whose probability, and whether it trains.
        shape: the shape of the whole: rows and width.
        position: the row, int64 [B].
    """
    if not (module.training and module.p and values.device.type == "cpu"):
        return dropout(values, module.p, module.training)
    kept = torch.empty(*values.shape[:-1], *shape, dtype=values.dtype).bernoulli_(1 - module.p)
    rows = torch.arange(len(values))
    kept = kept[rows, ..., position, :]  # [B, ..., width]
    return values * kept.div_(1 - module.p)
