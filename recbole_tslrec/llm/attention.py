"""Attention over a prefix row: every token sees the prefix, and its own segment up to itself.

A prefix row is ``[prefix | segment 1 | segment 2 | ...]``: the beginning that all
prompts of a micro-batch share stands in it once.
For a token of a segment, softmax attention over prefix and segment is the sum of two attentions, each weighted by its
share of the softmax's denominator; the logarithms of the two denominators (log-sum-exp) give the weights. So nothing is
padded but the segments among themselves, and no mask is ever made.

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
# Padding a group of segments by an eighth costs less than another call of the kernel; so do a few tokens.
_PADDED, _FEW_TOKENS = 9 / 8, 32


class UnservedAttention(NotImplementedError):
    """The decoder asks for something that attention over a prefix row does not do."""


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
    def groups(self) -> "list[_Group]":
        """Neighbours of about one length, for kernels that want them padded."""
        groups: list[_Group] = []
        lengths = self.lengths.tolist()
        first = start = 0
        while first < len(lengths):
            last, tokens, longest = first, 0, 0
            while last < len(lengths):
                length = max(longest, lengths[last])
                if length * (last + 1 - first) > _PADDED * (tokens + lengths[last]) + _FEW_TOKENS:
                    break
                last, tokens, longest = last + 1, tokens + lengths[last], length
            own = torch.tensor(lengths[first:last], device=self.lengths.device)
            segment = torch.repeat_interleave(torch.arange(len(own), device=own.device), own)
            place = torch.arange(tokens, device=own.device) - (own.cumsum(0) - own)[segment]
            places = None if tokens == len(own) * longest else segment * longest + place
            groups.append(_Group(start, start + tokens, len(own), longest, places))
            first, start = last, start + tokens
        return groups

    @cached_property
    def cumulative(self) -> Tensor:
        """0 and the ends, int32 [B + 1], as variable-length kernels want them."""
        return torch.nn.functional.pad(self.ends, (1, 0)).int()

    @cached_property
    def block_masks(self) -> dict[int, Any]:
        """FlexAttention's masks by prefix length."""
        return {}


def default_kernel(device: torch.device | str) -> str:
    """The kernel for a device: ``flex`` on CUDA (see benchmarks/RESULTS.md), ``padded_segments`` elsewhere."""
    return "flex" if torch.device(device).type == "cuda" else "padded_segments"


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
        scaling: of the scores; 1 / sqrt(d) where it is ``None``.
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
    prefix_key, prefix_value = row.prefix_states.get(module, (key[:, :, :prefix], value[:, :, :prefix]))
    if sliding_window is not None and sliding_window < prefix_key.shape[2] + row.longest:
        raise UnservedAttention(f"its sliding window of {sliding_window} tokens is shorter than a prompt")
    if row.keep_prefix:
        row.prefix_states[module] = prefix_key, prefix_value
    outputs = []  # each [1, h, tokens, d]
    if prefix:
        own = query[:, :, :prefix]
        outputs.append(scaled_dot_product_attention(own, prefix_key, prefix_value, is_causal=True, scale=scale))
    if len(row.lengths):
        segments = query[:, :, prefix:], key[:, :, prefix:], value[:, :, prefix:]
        outputs.append(KERNELS[row.kernel](*segments, prefix_key, prefix_value, row, scale))
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _flex(q: Tensor, k: Tensor, v: Tensor, prefix_k: Tensor, prefix_v: Tensor, row: PrefixRow, scale: float) -> Tensor:
    """FlexAttention: one fused kernel that skips the blocks in which nobody sees anybody."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    prefix, tokens = prefix_k.shape[2], q.shape[2]
    if prefix not in row.block_masks:
        segment = row.segment

        def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            own = (key - prefix).clamp_min(0)
            return (key < prefix) | ((segment[own] == segment[query]) & (own <= query))

        make_mask = _compiled(create_block_mask, q.device)
        row.block_masks[prefix] = make_mask(sees, None, None, tokens, prefix + tokens, device=q.device.type)
    keys, values = torch.cat([prefix_k, k], 2), torch.cat([prefix_v, v], 2)
    attend = _compiled(flex_attention, q.device)
    return attend(q, keys, values, block_mask=row.block_masks[prefix], scale=scale)  # type: ignore[no-any-return]


_COMPILED: dict[Callable[..., Any], Callable[..., Any]] = {}


def _compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    if device.type == "cpu":  # compiled FlexAttention has no backward there
        return function
    if function not in _COMPILED:
        _COMPILED[function] = torch.compile(function, dynamic=True)
    return _COMPILED[function]


class _JoinedAttention(torch.autograd.Function):
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


class _CpuPart:
    """torch's flash attention for CPUs: all queries to all keys, or of each segment to itself.

    Segments that lie together and are of about one length go through the kernel together, padded to the longest of
    them. A causal token never sees what comes behind it, so pads need no mask.
    """

    def __init__(self, groups: list["_Group"] | None = None) -> None:
        self.groups = groups

    def forward(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        if self.groups is None:
            output, lse = kernel(q, k, v, 0.0, False, scale=scale)
            return output, lse
        found = []
        for group in self.groups:
            output, lse = kernel(*(group.pad(tensor) for tensor in (q, k, v)), 0.0, True, scale=scale)
            found.append((group.unpad(output), group.unpad(lse)))
        outputs, lses = zip(*found, strict=True)
        return torch.cat(outputs, dim=2), torch.cat(lses, dim=2)

    def backward(
        self, gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, scale: float
    ) -> tuple[Tensor, ...]:
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        tensors = (gradient, q, k, v, output, lse)
        if self.groups is None:
            return tuple(kernel(*tensors, 0.0, False, scale=scale))
        found = []
        for group in self.groups:
            gradients = kernel(*(group.pad(tensor) for tensor in tensors), 0.0, True, scale=scale)
            found.append([group.unpad(tensor) for tensor in gradients])
        return tuple(torch.cat(parts, dim=2) for parts in zip(*found, strict=True))


@dataclass(frozen=True)
class _Group:
    """Segments that lie together in a row.

    Attributes:
        start, stop: their tokens, counted from the end of the prefix.
        segments: their number, B.
        longest: their greatest length, S.
        places: where each token lies when they are padded to the longest, int64; ``None`` where none is shorter.
    """

    start: int
    stop: int
    segments: int
    longest: int
    places: Tensor | None

    def pad(self, tensor: Tensor) -> Tensor:
        """[1, h, T, ...] -> the group's [B, h, S, ...], zero at pads."""
        own = tensor[0, :, self.start : self.stop]  # [h, tokens, ...]
        if self.places is not None:
            padded = own.new_zeros(len(own), self.segments * self.longest, *own.shape[2:])
            own = padded.index_copy_(1, self.places, own)
        view = own.reshape(len(own), self.segments, self.longest, *own.shape[2:]).transpose(0, 1)
        return view.contiguous() if tensor.dim() == 3 else view  # the kernel takes a log-sum-exp without strides only

    def unpad(self, tensor: Tensor) -> Tensor:
        """[B, h, S, ...] -> [1, h, tokens, ...]."""
        flat = tensor.transpose(0, 1).flatten(1, 2)  # [h, B * S, ...]
        return (flat if self.places is None else flat.index_select(1, self.places)).unsqueeze(0)


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


def _joined(*arguments: Any) -> Tensor:
    joined: Tensor = _JoinedAttention.apply(*arguments)  # type: ignore[no-untyped-call]
    return joined


def _padded_segments(
    q: Tensor, k: Tensor, v: Tensor, prefix_k: Tensor, prefix_v: Tensor, row: PrefixRow, scale: float
) -> Tensor:
    parts = _CpuPart(), _CpuPart(row.groups)
    return _joined(q, k, v, prefix_k, prefix_v, parts, scale)


def _varlen(
    q: Tensor, k: Tensor, v: Tensor, prefix_k: Tensor, prefix_v: Tensor, row: PrefixRow, scale: float
) -> Tensor:
    whole_q, whole_k = (row.cumulative.new_tensor([0, tensor.shape[2]]) for tensor in (q, prefix_k))
    to_prefix = _VarlenPart(whole_q, whole_k, q.shape[2], prefix_k.shape[2], causal=False)
    to_own = _VarlenPart(row.cumulative, row.cumulative, row.longest, row.longest, causal=True)
    return _joined(q, k, v, prefix_k, prefix_v, (to_prefix, to_own), scale)


# (queries, keys, values [1, h, T, d] of the segments, keys and values of the prefix, row, scale) -> [1, h, T, d]
KERNELS: dict[str, Callable[..., Tensor]] = {"padded_segments": _padded_segments, "flex": _flex, "varlen": _varlen}

AttentionInterface.register(NAME, prefix_row_attention)
