"""Attention over a prefix row: every token sees the prefix, and its own segment up to itself.

A prefix row is ``[prefix | segment 1 | segment 2 | ...]``: the beginning that all prompts of a micro-batch share stands
in it once. Linear layers then see neither pads nor copies of the prefix. Attention has a choice of kernels:

``tiles``   Whole segments are gathered into tiles of some 64 tokens, each with the prefix in front, for torch's own
            attention under a mask. It serves on every device.
``flex``    FlexAttention: one fused CUDA kernel that skips what nobody sees.
``varlen``  Flash attention for CUDA to the prefix and to the own segment, joined by their log-sum-exp: softmax over
            both is the sum of the two, each weighted by its share of the denominator.

transformers calls :func:`prefix_row_attention` in every layer once the LLM's attention implementation is set to
:data:`NAME`; models hand the keyword argument ``prefix_row`` through to it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "tslrec_prefix_row"
# what some decoders ask of attention beyond keys, values and scale; a row without it would be silently wrong
_UNSERVED = ("softcap", "s_aux", "sinks", "position_bias", "alibi")
_TILE = 64  # tokens; smaller ones are more calls of a matrix product, larger ones more of what the mask throws away


class UnservedAttention(NotImplementedError):
    """The decoder asks for something that attention over a prefix row does not do."""


@dataclass(frozen=True)
class Tiles:
    """Segments gathered into tiles: neighbours together up to :data:`_TILE` tokens, a longer one alone.

    Attributes:
        tokens: the token, counted from the end of the prefix, at each place of each tile, int64 [N, S]; pads hold 0.
        segment: its segment, int64 [N, S]; -1 at pads.
        places: where each token lies in the flattened tiles, int64 [T].
    """

    tokens: Tensor
    segment: Tensor
    places: Tensor
    _masks: dict[tuple[int, torch.dtype], Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, lengths: Tensor) -> "Tiles":
        """The tiles of segments with the given lengths, int64 [B]."""
        sizes: list[int] = []
        for length in lengths.tolist():
            if sizes and sizes[-1] + length <= _TILE:
                sizes[-1] += length
            else:
                sizes.append(length)
        size = torch.tensor(sizes, device=lengths.device)
        total, longest = int(size.sum()), max(sizes)
        tile = torch.repeat_interleave(torch.arange(len(sizes), device=size.device), size)  # [T]
        token = torch.arange(total, device=size.device)
        places = tile * longest + token - (size.cumsum(0) - size)[tile]
        flat = size.new_zeros(len(sizes) * longest).index_copy_(0, places, token)
        of_token = torch.repeat_interleave(torch.arange(len(lengths), device=size.device), lengths)
        segment = size.new_full((len(flat),), -1).index_copy_(0, places, of_token)
        return cls(flat.view(len(sizes), longest), segment.view(len(sizes), longest), places)

    def with_prefix(self, prefix: int) -> Tensor:
        """The tokens of a row that begins with the prefix, the prefix in front of each tile, int64 [N, P + S]."""
        shared = torch.arange(prefix, device=self.tokens.device).expand(len(self.tokens), -1)
        return torch.cat([shared, self.tokens + prefix], dim=1)

    def mask(self, prefix: int, dtype: torch.dtype) -> Tensor:
        """0 where a token sees another and minus infinity elsewhere, [N, 1, S, P + S]; made once for all layers."""
        if (prefix, dtype) not in self._masks:
            place = torch.arange(self.tokens.shape[1], device=self.tokens.device)
            same = self.segment.unsqueeze(2) == self.segment.unsqueeze(1)  # [N, S, S]
            sees = torch.nn.functional.pad(same & (place.unsqueeze(1) >= place), (prefix, 0), value=True)
            zeros = torch.zeros(sees.shape, dtype=dtype, device=sees.device)
            self._masks[prefix, dtype] = zeros.masked_fill_(~sees, -torch.inf).unsqueeze(1)
        return self._masks[prefix, dtype]


@dataclass
class PrefixRow:
    """How a row is divided.

    Attributes:
        prefix_length: P tokens at the front of the row; 0 where ``prefix_states`` stands in for them.
        lengths: tokens of each segment, int64 [B].
        longest: the largest of ``lengths``.
        kernel: a name in :data:`KERNELS`.
        prefix_states: by attention module the keys and values [1, h, P, d] of the prefix, computed before.
        keep_prefix: whether to put the keys and values of this row's prefix into ``prefix_states``.
    """

    prefix_length: int
    lengths: Tensor
    longest: int
    kernel: str
    prefix_states: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)
    keep_prefix: bool = False

    @cached_property
    def ends(self) -> Tensor:
        """Where each segment ends, counted from the end of the prefix, int64 [B]."""
        return self.lengths.cumsum(0)

    @cached_property
    def segment(self) -> Tensor:
        """The segment of each token behind the prefix, int64 [T]."""
        return torch.repeat_interleave(torch.arange(len(self.lengths), device=self.lengths.device), self.lengths)

    @cached_property
    def local(self) -> Tensor:
        """The place of each token in its segment, int64 [T]."""
        tokens = torch.arange(len(self.segment), device=self.lengths.device)
        return tokens - (self.ends - self.lengths)[self.segment]

    @cached_property
    def padded_place(self) -> Tensor:
        """Where each token lies when the segments are padded to the longest, int64 [T], below B * S."""
        return self.segment * self.longest + self.local

    @cached_property
    def tiles(self) -> "Tiles":
        """Neighbouring segments together, for kernels that want batches."""
        return Tiles.of(self.lengths)

    @cached_property
    def cumulative(self) -> Tensor:
        """0 and the ends, int32 [B + 1], as variable-length kernels want them."""
        return torch.nn.functional.pad(self.ends, (1, 0)).int()

    @cached_property
    def block_masks(self) -> dict[int, Any]:
        """FlexAttention's masks by prefix length."""
        return {}


def default_kernel(device: torch.device | str) -> str:
    """The kernel for a device: ``flex`` on CUDA, ``tiles`` elsewhere; see benchmarks/attention.py."""
    return "flex" if torch.device(device).type == "cuda" else "tiles"


def prefix_row_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    prefix_row: PrefixRow | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """The attention of one layer, as transformers' ``AttentionInterface`` calls it.

    Args:
        module: the layer's attention module.
        query: [1, h, P + T, d].
        key: [1, h or fewer, P + T, d].
        value: like ``key``.
        attention_mask: must be ``None``; the row says who sees whom.
        scaling: the factor of the scores; 1 / sqrt(d) where it is ``None``.
        dropout: must be 0.
        prefix_row: how the row is divided.
        sliding_window: how far back a token sees; must hold prefix and longest segment.

    Returns:
        [1, P + T, h, d].

    Raises:
        UnservedAttention: the decoder asks for something else.
    """
    if prefix_row is None:
        raise UnservedAttention("it does not hand keyword arguments through to its attention")
    if not getattr(module, "is_causal", True):
        raise UnservedAttention("its attention looks in both directions")
    unserved = [name for name in _UNSERVED if others.get(name) is not None]
    if unserved or dropout or attention_mask is not None or len(query) != 1:
        reason = unserved[0] if unserved else "dropout" if dropout else "a mask or batch of its own"
        raise UnservedAttention(f"its attention uses {reason}")
    row = prefix_row
    prefix = row.prefix_length
    group = query.shape[1] // key.shape[1]
    if group > 1:  # grouped-query attention: each key head serves several query heads
        key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    query, key = query.to(value.dtype), key.to(value.dtype)  # under autocast rotary embeddings come as float32
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    seen = prefix  # tokens of the prefix that stand before the segments' keys
    if module in row.prefix_states:
        states = row.prefix_states[module]
        seen = states[0].shape[2]
        key, value = torch.cat([states[0], key], 2), torch.cat([states[1], value], 2)
    if sliding_window is not None and sliding_window < seen + row.longest:
        raise UnservedAttention(f"its sliding window of {sliding_window} tokens is shorter than a prompt")
    shared = key[:, :, :seen], value[:, :, :seen]
    if row.keep_prefix:
        row.prefix_states[module] = shared
    outputs = []  # each [1, h, tokens, d]
    if prefix:
        outputs.append(scaled_dot_product_attention(query[:, :, :prefix], *shared, is_causal=True, scale=scale))
    if len(row.lengths):
        outputs.append(KERNELS[row.kernel](query[:, :, prefix:], key, value, row, seen, scale))
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _tiles(q: Tensor, k: Tensor, v: Tensor, row: PrefixRow, prefix: int, scale: float) -> Tensor:
    tiles = row.tiles
    queries = _gather(q, tiles.tokens)  # [N, h, S, d]
    tokens = tiles.with_prefix(prefix)
    keys, values = _gather(k, tokens), _gather(v, tokens)  # [N, h, P + S, d]
    mask = tiles.mask(prefix, q.dtype)
    attended = scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=scale)
    flat = attended.transpose(1, 2).reshape(-1, q.shape[1], q.shape[3])  # [N * S, h, d]
    return flat.index_select(0, tiles.places).transpose(0, 1).unsqueeze(0)


def _gather(tensor: Tensor, tokens: Tensor) -> Tensor:
    """Tokens [N, S] of a row [1, h, T, d] -> [N, h, S, d]."""
    rows = tensor[0].transpose(0, 1).index_select(0, tokens.flatten())  # [N * S, h, d]
    return rows.view(*tokens.shape, *rows.shape[1:]).transpose(1, 2)


def _flex(q: Tensor, k: Tensor, v: Tensor, row: PrefixRow, prefix: int, scale: float) -> Tensor:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    tokens = q.shape[2]
    if prefix not in row.block_masks:
        segment = row.segment

        def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            own = (key - prefix).clamp_min(0)
            return (key < prefix) | ((segment[own] == segment[query]) & (own <= query))

        make_mask = _compiled(create_block_mask, q.device)
        row.block_masks[prefix] = make_mask(sees, None, None, tokens, prefix + tokens, device=q.device.type)
    attend = _compiled(flex_attention, q.device)
    attended: Tensor = attend(q, k, v, block_mask=row.block_masks[prefix], scale=scale)
    return attended


_COMPILED: dict[Callable[..., Any], Callable[..., Any]] = {}


def _compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    if device.type == "cpu":  # where FlexAttention has no backward pass anyway
        return function
    if function not in _COMPILED:
        _COMPILED[function] = torch.compile(function, dynamic=True)
    return _COMPILED[function]


class JoinedAttention(torch.autograd.Function):
    """Attention to the prefix and to the own segment, joined by log-sum-exp.

    The backward pass of either part is that of flash attention, given the output and the log-sum-exp of the whole:
    then the weights that it computes anew are those of the whole softmax, and each part's gradients are exact.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, prefix_k: Tensor, prefix_v: Tensor, parts: Any, scale: float
    ) -> Tensor:
        to_prefix, to_own = parts
        output, lse = to_prefix.forward(q, prefix_k, prefix_v, scale)  # [1, h, T, d], [1, h, T]
        own_output, own_lse = to_own.forward(q, k, v, scale)
        whole = torch.logaddexp(lse, own_lse)
        share, own_share = (lse - whole).exp().unsqueeze(-1), (own_lse - whole).exp().unsqueeze(-1)
        joined: Tensor = (output * share + own_output * own_share).to(q.dtype)
        ctx.save_for_backward(q, k, v, prefix_k, prefix_v, joined, whole)
        ctx.parts, ctx.scale = parts, scale
        return joined

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        q, k, v, prefix_k, prefix_v, joined, whole = ctx.saved_tensors
        to_prefix, to_own = ctx.parts
        gradient = gradients[0].to(q.dtype)
        dq, d_prefix_k, d_prefix_v = to_prefix.backward(gradient, q, prefix_k, prefix_v, joined, whole, ctx.scale)
        dq_own, dk, dv = to_own.backward(gradient, q, k, v, joined, whole, ctx.scale)
        return dq + dq_own, dk, dv, d_prefix_k, d_prefix_v, None, None


class _VarlenPart:
    """torch's flash attention for CUDA over sequences of different lengths, laid one behind the other."""

    def __init__(self, cumulative_q: Tensor, cumulative_k: Tensor, max_q: int, max_k: int, causal: bool) -> None:
        self.sequences = cumulative_q, cumulative_k, max_q, max_k
        self.causal = causal

    def forward(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        rows = (tensor[0].transpose(0, 1) for tensor in (q, k, v))  # [T, h, d]
        output, lse, *_ = torch.ops.aten._flash_attention_forward(
            *rows, *self.sequences, 0.0, self.causal, False, scale=scale
        )
        return output.transpose(0, 1).unsqueeze(0), lse.unsqueeze(0)

    def backward(
        self, gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, scale: float
    ) -> tuple[Tensor, ...]:
        rows = (tensor[0].transpose(0, 1).contiguous() for tensor in (gradient, q, k, v, output))
        unused = torch.zeros(2, dtype=torch.uint64, device=q.device)  # the state of dropout's random numbers
        gradients = torch.ops.aten._flash_attention_backward(
            *rows, lse[0].contiguous(), *self.sequences, 0.0, self.causal, unused, unused, scale=scale
        )
        return tuple(tensor.transpose(0, 1).unsqueeze(0) for tensor in gradients)


def _varlen(q: Tensor, k: Tensor, v: Tensor, row: PrefixRow, prefix: int, scale: float) -> Tensor:
    whole_q, whole_k = (row.cumulative.new_tensor([0, tokens]) for tokens in (q.shape[2], prefix))
    to_prefix = _VarlenPart(whole_q, whole_k, q.shape[2], prefix, causal=False)
    to_own = _VarlenPart(row.cumulative, row.cumulative, row.longest, row.longest, causal=True)
    own, shared = (k[:, :, prefix:], v[:, :, prefix:]), (k[:, :, :prefix], v[:, :, :prefix])
    joined: Tensor = JoinedAttention.apply(q, *own, *shared, (to_prefix, to_own), scale)  # type: ignore[no-untyped-call]
    return joined


# (queries of the segments [1, h, T, d], keys and values of prefix and segments [1, h, P + T, d], row, P, scale)
# -> [1, h, T, d]
KERNELS: dict[str, Callable[[Tensor, Tensor, Tensor, PrefixRow, int, float], Tensor]] = {
    "tiles": _tiles,
    "flex": _flex,
    "varlen": _varlen,
}

AttentionInterface.register(NAME, prefix_row_attention)
