"""How a micro-batch of prompts lies in memory, and which layout a decoder can take.

``prefix_row``: one row ``[d_inst | items of user 1, d_res | items of user 2, d_res | ...]``. The instruction is the
same for every user and attention is causal, so its states are the same too: computed once, and nothing is padded.
``padded``: one prompt a row, pads behind; for decoders whose attention cannot be replaced.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recbole_tslrec.compute.log_once import log_once
from recbole_tslrec.llm import attention
from recbole_tslrec.llm.adapters import base_model
from recbole_tslrec.llm.attention import PrefixRow
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.llm.settings import PADDED, PREFIX_ROW


class PaddedBatch(NamedTuple):
    """One prompt a row.

    Attributes:
        embeddings: the LLM's input, [B, P + L + R, H].
        attention_mask: 1 for tokens and 0 for pads, int64 [B, P + L + R].
    """

    embeddings: Tensor
    attention_mask: Tensor


def weave_texts(items: Tensor, words: Tensor, word_counts: Tensor) -> Tensor:
    """``[text of item 1 | item 1 | text of item 2 | item 2 | ...]``.

    Args:
        items: projected items, [M, H].
        words: embedded texts, one item after the other, [W, H].
        word_counts: the number of words of each item, int64 [M].

    Returns:
        [M + W, H].
    """
    of_word = torch.repeat_interleave(torch.arange(len(items), device=items.device), word_counts)  # [W]
    word_place = torch.arange(len(words), device=items.device) + of_word  # behind the items before its own
    item_place = (word_counts + 1).cumsum(0) - 1
    row = torch.cat([items, words])
    return torch.empty_like(row).index_copy(0, torch.cat([item_place, word_place]), row)


def lay_segments(items: Tensor, item_count: Tensor, response: Tensor) -> Tensor:
    """``[items of user 1 | d_res | items of user 2 | d_res | ...]``.

    Args:
        items: projected items of all users, one user after the other, [sum of item_count, H].
        item_count: int64 [B].
        response: embedded d_res, [R, H].

    Returns:
        [T, H], where T = sum of item_count + B * R.
    """
    users, length = len(item_count), len(response)
    of_item = torch.repeat_interleave(torch.arange(users, device=items.device), item_count)
    item_place = torch.arange(len(items), device=items.device) + of_item * length
    starts = item_count.cumsum(0) + torch.arange(users, device=items.device) * length
    response_place = (starts.unsqueeze(1) + torch.arange(length, device=items.device)).flatten()
    row = torch.cat([items, response.repeat(users, 1)])
    return torch.empty_like(row).index_copy(0, torch.cat([item_place, response_place]), row)


def pad_prompts(instruction: Tensor, segments: Tensor, row: PrefixRow) -> PaddedBatch:
    """Lay out ``[d_inst | segment | pads]`` for every user.

    Args:
        instruction: embedded d_inst, [P, H].
        segments: the segments from :func:`lay_segments`, [T, H].
        row: how they are divided.
    """
    users, hidden_size = len(row.lengths), segments.shape[1]
    padded = segments.new_zeros(users * row.longest, hidden_size).index_copy(0, row.padded_place, segments)
    embeddings = torch.cat(
        [instruction.expand(users, -1, -1), padded.view(users, row.longest, hidden_size)], dim=1
    )  # [B, P + S, H]
    last = len(instruction) + row.lengths - 1  # [B]
    position = torch.arange(embeddings.shape[1], device=segments.device)
    return PaddedBatch(embeddings, (position <= last.unsqueeze(1)).long())


def choose_layout(encoder: Any, wanted: str, longest_prompt: int = 0) -> str:
    """``wanted``, or ``padded`` where the encoder's LLM cannot take a prefix row; says so, and why.

    Two short prompts go through both layouts; outputs and gradients have to agree. So a decoder that does anything else
    than plain attention (soft caps, sinks, ALiBi, attention in both directions) is found out, and so is a kernel that
    does not work on this machine. One whose tokens see their neighbours otherwise, by recurrence (Mamba, RWKV) or a
    convolution (LFM2), is padded without a trial: fresh weights may let so little through that none would show.
    Pads stand behind, where neither reaches.

    Args:
        encoder: a ``SegmentEncoder``; its layout and its LLM's attention are set.
        wanted: one of :data:`recbole_tslrec.llm.settings.LAYOUTS`.
        longest_prompt: tokens; a decoder whose sliding window is shorter takes no prefix row.

    Raises:
        LLMError: the LLM does not run on embeddings, overflows in its floating-point type, or gives a prompt another
            hidden state in another batch.
    """
    encoder.layout = PADDED
    llm = base_model(encoder.llm)
    if llm.config._attn_implementation == attention.NAME:  # it has had a prefix row before
        llm.set_attn_implementation("sdpa")
    _check_padded(encoder)
    if wanted == PADDED:
        return PADDED
    window = getattr(llm.config, "sliding_window", None)
    if window is not None and window < longest_prompt:
        reason: str | None = f"its sliding window of {window} tokens is shorter than a prompt"
    elif getattr(llm, "_is_stateful", False) or any(isinstance(module, nn.Conv1d) for module in llm.modules()):
        reason = "a state or a convolution goes from token to token, across the prompts of a row"
    else:
        reason = _why_not(encoder)
        if reason is not None and encoder.kernel != "tiles":
            log_once(f"attention kernel {encoder.kernel} does not serve here: {reason}; trying tiles")
            encoder.kernel = "tiles"
            reason = _why_not(encoder)
    if reason is None:
        return PREFIX_ROW
    log_once(
        f"sft_layout=prefix_row does not serve {type(llm).__name__}: {reason}; going on with "
        "padded, which gives the same results more slowly"
    )
    return PADDED


def _why_not(encoder: Any) -> str | None:
    """Why the LLM cannot take a prefix row; ``None`` where it can, and then it is set up for it."""
    llm = base_model(encoder.llm)
    if not (hasattr(llm, "set_attn_implementation") and llm._can_set_attn_implementation()):
        return "its attention does not go through transformers' attention interface"
    before, training = llm.config._attn_implementation, encoder.training
    padded = _probe(encoder.eval())
    try:
        llm.set_attn_implementation(attention.NAME)
        encoder.layout = PREFIX_ROW
        with torch.no_grad():
            # what asks for dropout inside attention says so here
            _last(encoder.train(), _probe_tokens(encoder), [3, 1])
        row = _probe(encoder.eval())
    except Exception as error:  # a kernel may fail in any way: it must not fail the run
        reason: str | None = (str(error).strip() or type(error).__name__).splitlines()[0]
    else:
        agree = _agree(row, padded, _tolerance(row[0], llm.dtype))
        reason = None if agree else "its outputs or gradients differ from those of padded prompts"
    if reason is not None:
        encoder.layout = PADDED
        llm.set_attn_implementation(before)
    encoder.train(training)
    return reason


@torch.no_grad()
def _check_padded(encoder: Any) -> None:
    """Two prompts of different lengths in a batch, and each alone: their hidden states must be numbers, and the same.

    Raises:
        LLMError: they are not.
    """
    llm, training, tokens = base_model(encoder.llm), encoder.training, _probe_tokens(encoder)
    name = type(llm).__name__
    encoder.eval()
    try:
        together = _last(encoder, tokens, [3, 1])
        alone = [_last(encoder, part, [len(part)]) for part in (tokens[:3], tokens[3:])]
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # an architecture may fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LLMError(f"{name} does not run on embeddings of its input ({reason}); choose another LLM") from error
    finally:
        encoder.train(training)
    if not torch.isfinite(together).all():
        raise LLMError(
            f"the hidden states of {name} are not finite in {llm.dtype}; set llm_dtype to bfloat16 or float32"
        )
    if not _agree((together,), (torch.cat(alone),), _tolerance(together, llm.dtype)):
        raise LLMError(f"{name} gives a prompt another hidden state in another batch; choose another LLM")


def _tolerance(states: Tensor, dtype: torch.dtype) -> float:
    """Of a difference, by the norm; a GPU may round float32 to 10 bits in products."""
    return 1e-3 if dtype in (torch.float32, torch.float64) and states.device.type == "cpu" else 0.05


def _probe(encoder: Any) -> tuple[Tensor, Tensor]:
    """The hidden states of two prompts, [2, H], and the gradient of a weighted sum of them by the tokens, [4, H]."""
    tokens = _probe_tokens(encoder).requires_grad_()
    with torch.enable_grad():
        hidden = _last(encoder, tokens, [3, 1])
        weights = torch.linspace(-1, 1, hidden.numel(), device=hidden.device, dtype=hidden.dtype).view_as(hidden)
        (gradient,) = torch.autograd.grad((hidden * weights).sum(), tokens)
    return hidden.detach(), gradient


def _last(encoder: Any, tokens: Tensor, lengths: list[int]) -> Tensor:
    """The hidden states of the last tokens of prompts, in float32 or better, [B, H]."""
    hidden: Tensor = encoder.states(tokens, torch.tensor(lengths, device=tokens.device)).last
    return hidden if hidden.dtype == torch.float64 else hidden.float()


def _probe_tokens(encoder: Any) -> Tensor:
    """Four embeddings of no word, as loud as words, [4, H]."""
    words = encoder.token_embedding.weight.detach()
    generator = torch.Generator().manual_seed(0)
    tokens: Tensor = torch.randn(4, words.shape[1], generator=generator, dtype=torch.float32) * encoder.word_scale
    return tokens.to(words.device, words.dtype)


def _agree(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float) -> bool:
    """Whether each tensor is its expected one, but for rounding.

    A gradient that overflows says nothing: in training it is scaled.
    """
    pairs = [(a.double(), b.double()) for a, b in zip(found, expected, strict=True) if torch.isfinite(b).all()]
    return all(bool((a - b).norm() <= tolerance * b.norm()) for a, b in pairs)
