"""Attention over a prefix row finds what one plain sequence a user finds, and refuses what it cannot do."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recbole_tslrec.llm.attention import (
    KERNELS,
    NAME,
    JoinedAttention,
    PrefixRow,
    Tiles,
    UnservedAttention,
    default_kernel,
    prefix_row_attention,
)
from tests.decoders import HIDDEN_SIZE, SERVED, plain_attention, tiny_decoder

PREFIX, LENGTHS = 5, [3, 1, 7, 4]
ROWS = {
    "equal": (3, [4, 4, 4]),
    "very different": (3, [1, 12, 2, 7]),
    "one segment": (4, [6]),
    "segments of one token": (2, [1, 1, 1]),
    "one token in all": (1, [1]),
    "long prefix": (11, [2, 3]),
    "short prefix": (1, [5, 8]),
}
CPU_KERNELS = ["tiles", "flex"]
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def row_of(prefix: int, lengths: list[int], kernel: str, device: str = "cpu") -> PrefixRow:
    return PrefixRow(prefix, torch.tensor(lengths, device=device), max(lengths), kernel)


def embeddings_of(tokens: int, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(tokens, HIDDEN_SIZE, generator=generator, dtype=torch.float64).to(device, dtype)


def through_row(llm: nn.Module, embeddings: Tensor, row: PrefixRow, before: int = 0) -> Tensor:
    """A row through the decoder, [P + T, H]; ``before`` tokens of prefix are known already."""
    places = torch.cat([torch.arange(row.prefix_length, device=embeddings.device), row.prefix_length + row.local])
    output = llm(
        inputs_embeds=embeddings[None], position_ids=places[None] + before, use_cache=False, prefix_row=row
    ).last_hidden_state[0]
    hidden: Tensor = output
    return hidden


def one_by_one(llm: nn.Module, embeddings: Tensor, prefix: int, lengths: list[int]) -> Tensor:
    """Each prompt a sequence of its own; laid out like the row, with the prefix of the first."""
    parts = []
    with plain_attention(llm):
        for segment in embeddings[prefix:].split(lengths):
            prompt = torch.cat([embeddings[:prefix], segment])
            hidden = llm(inputs_embeds=prompt[None], use_cache=False).last_hidden_state[0]
            parts.append(hidden if not parts else hidden[prefix:])
    return torch.cat(parts)


def gradients_of(hidden: Tensor, llm: nn.Module, embeddings: Tensor) -> dict[str, Tensor]:
    """Of a weighted sum of all hidden states, by the input and every parameter that takes part."""
    weights = torch.linspace(-1, 1, hidden.numel(), dtype=hidden.dtype, device=hidden.device).view_as(hidden)
    variables = {"input": embeddings, **dict(llm.named_parameters())}
    found = torch.autograd.grad((hidden * weights).sum(), list(variables.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(variables, found, strict=True) if gradient is not None}


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


# against one plain forward pass a user


@pytest.mark.parametrize("decoder", SERVED)
def test_outputs_and_gradients_are_those_of_one_user_at_a_time(decoder: str, exact_norm: None) -> None:
    architecture, settings = SERVED[decoder]
    llm = tiny_decoder(architecture, **settings).double()
    embeddings = embeddings_of(PREFIX + sum(LENGTHS)).requires_grad_()
    expected = one_by_one(llm, embeddings, PREFIX, LENGTHS)
    wanted = gradients_of(expected, llm, embeddings)

    llm.set_attn_implementation(NAME)
    hidden = through_row(llm, embeddings, row_of(PREFIX, LENGTHS, "tiles"))
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-12)
    found = gradients_of(hidden, llm, embeddings)
    assert found.keys() == wanted.keys()
    assert {"input"} < found.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize("decoder", SERVED)
@torch.no_grad()
def test_flex_finds_the_same_outputs(decoder: str, exact_norm: None) -> None:
    """FlexAttention has no backward pass on a CPU."""
    architecture, settings = SERVED[decoder]
    llm = tiny_decoder(architecture, **settings).double()
    embeddings = embeddings_of(PREFIX + sum(LENGTHS))
    expected = one_by_one(llm, embeddings, PREFIX, LENGTHS)
    llm.set_attn_implementation(NAME)
    hidden = through_row(llm, embeddings, row_of(PREFIX, LENGTHS, "flex"))
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("prefix", "lengths"), ROWS.values(), ids=list(ROWS))
def test_any_row_is_exact(prefix: int, lengths: list[int], exact_norm: None) -> None:
    llm = tiny_decoder("Llama", num_key_value_heads=2).double()
    embeddings = embeddings_of(prefix + sum(lengths)).requires_grad_()
    expected = one_by_one(llm, embeddings, prefix, lengths)
    wanted = gradients_of(expected, llm, embeddings)
    llm.set_attn_implementation(NAME)
    hidden = through_row(llm, embeddings, row_of(prefix, lengths, "tiles"))
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-12)
    for name, gradient in gradients_of(hidden, llm, embeddings).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize("kernel", CPU_KERNELS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.03)])
@torch.no_grad()
def test_single_and_half_precision_stay_close(kernel: str, dtype: torch.dtype, tolerance: float) -> None:
    llm = tiny_decoder("Llama")
    embeddings = embeddings_of(PREFIX + sum(LENGTHS))
    expected = one_by_one(llm.double(), embeddings, PREFIX, LENGTHS)
    llm.to(dtype).set_attn_implementation(NAME)
    hidden = through_row(llm, embeddings.to(dtype), row_of(PREFIX, LENGTHS, kernel))
    assert hidden.dtype == dtype
    assert relative_error(hidden, expected) < tolerance


def test_gradients_in_single_precision_stay_close() -> None:
    llm = tiny_decoder("Llama")
    embeddings = embeddings_of(PREFIX + sum(LENGTHS), torch.float32).requires_grad_()
    wanted = gradients_of(one_by_one(llm, embeddings, PREFIX, LENGTHS), llm, embeddings)
    llm.set_attn_implementation(NAME)
    hidden = through_row(llm, embeddings, row_of(PREFIX, LENGTHS, "tiles"))
    for name, gradient in gradients_of(hidden, llm, embeddings).items():
        assert relative_error(gradient, wanted[name]) < 1e-5, name


# the prefix computed before


@pytest.mark.parametrize("kernel", CPU_KERNELS)
@pytest.mark.parametrize("decoder", SERVED)
@torch.no_grad()
def test_a_prefix_computed_before_gives_the_same_outputs(decoder: str, kernel: str) -> None:
    architecture, settings = SERVED[decoder]
    llm = tiny_decoder(architecture, **settings).double()
    llm.set_attn_implementation(NAME)
    embeddings = embeddings_of(PREFIX + sum(LENGTHS))
    expected = through_row(llm, embeddings, row_of(PREFIX, LENGTHS, kernel))[PREFIX:]

    alone = PrefixRow(PREFIX, torch.zeros(0, dtype=torch.int64), 0, kernel, keep_prefix=True)
    through_row(llm, embeddings[:PREFIX], alone)
    assert {key.shape[2] for key, _ in alone.prefix_states.values()} == {PREFIX}
    assert len(alone.prefix_states) == 2  # layers
    later = row_of(0, LENGTHS, kernel)
    later.prefix_states = alone.prefix_states
    found = through_row(llm, embeddings[PREFIX:], later, before=PREFIX)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


# computing activations twice


@pytest.mark.parametrize("decoder", SERVED)
def test_gradients_are_the_same_when_activations_are_computed_twice(decoder: str) -> None:
    architecture, settings = SERVED[decoder]
    llm = tiny_decoder(architecture, **settings).double().train()
    llm.set_attn_implementation(NAME)
    embeddings = embeddings_of(PREFIX + sum(LENGTHS)).requires_grad_()
    hidden = through_row(llm, embeddings, row_of(PREFIX, LENGTHS, "tiles"))
    expected = gradients_of(hidden, llm, embeddings)

    llm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    runs = []
    llm.get_submodule(_first_attention(llm)).register_forward_hook(lambda *args: runs.append(1))
    hidden = through_row(llm, embeddings, row_of(PREFIX, LENGTHS, "tiles"))
    found = gradients_of(hidden, llm, embeddings)
    assert len(runs) == 2
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-12, msg=name)


def _first_attention(llm: nn.Module) -> str:
    return next(name for name, module in llm.named_modules() if type(module).__name__.endswith("Attention"))


# one call, by hand


def dense(q: Tensor, k: Tensor, v: Tensor, prefix: int, lengths: list[int], scale: float) -> Tensor:
    """The same with a mask of who sees whom, written out; [P + T, h, d]."""
    segment = [-1] * prefix + [number for number, length in enumerate(lengths) for _ in range(length)]
    sees = [
        [key <= query and segment[key] in (-1, segment[query]) for key in range(len(segment))]
        for query in range(len(segment))
    ]
    scores = (q @ k.transpose(2, 3) * scale).masked_fill(~torch.tensor(sees), float("-inf"))
    return (scores.softmax(dim=3) @ v)[0].transpose(0, 1)


@pytest.mark.parametrize("kernel", CPU_KERNELS)
@pytest.mark.parametrize("scaling", [None, 0.7])
@torch.no_grad()
def test_a_token_sees_the_prefix_and_its_own_segment_up_to_itself(kernel: str, scaling: float | None) -> None:
    """Two key heads serve four query heads; without a scale it is 1 / sqrt(16)."""
    torch.manual_seed(0)
    tokens = PREFIX + sum(LENGTHS)
    q, k, v = (torch.randn(1, heads, tokens, 16, dtype=torch.float64) for heads in (4, 2, 2))
    row = row_of(PREFIX, LENGTHS, kernel)
    found, _ = prefix_row_attention(nn.Module(), q, k, v, None, scaling=scaling, prefix_row=row)
    repeated = (tensor[:, [0, 0, 1, 1]] for tensor in (k, v))
    expected = dense(q, *repeated, PREFIX, LENGTHS, scaling or 0.25)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-12)


def test_places_of_a_row_by_hand() -> None:
    row = row_of(4, [2, 3], "tiles")
    assert row.ends.tolist() == [2, 5]
    assert row.segment.tolist() == [0, 0, 1, 1, 1]
    assert row.local.tolist() == [0, 1, 0, 1, 2]
    assert row.padded_place.tolist() == [0, 1, 3, 4, 5]
    assert row.cumulative.tolist() == [0, 2, 5]


def test_a_gpu_gets_a_fused_kernel() -> None:
    assert default_kernel("cpu") == "tiles"
    assert default_kernel("cuda:1") == default_kernel(torch.device("cuda")) == "flex"


# what is not served


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"dropout": 0.1}, "dropout"),
        ({"softcap": 30.0}, "softcap"),
        ({"s_aux": torch.zeros(2)}, "s_aux"),
        ({"position_bias": torch.zeros(2)}, "position_bias"),
        ({"sliding_window": PREFIX + max(LENGTHS) - 1}, "sliding window of 11 tokens"),
        ({"attention_mask": torch.zeros(1)}, "mask"),
        ({"prefix_row": None}, "keyword arguments"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_the_row_cannot_do_is_refused(asked: dict[str, Any], named: str) -> None:
    states = torch.zeros(1, 2, PREFIX + sum(LENGTHS), 16)
    arguments = {"attention_mask": None, "prefix_row": row_of(PREFIX, LENGTHS, "tiles"), **asked}
    with pytest.raises(UnservedAttention, match=named):
        prefix_row_attention(nn.Module(), states, states, states, **arguments)


@torch.no_grad()
def test_a_window_that_holds_the_longest_prompt_changes_nothing() -> None:
    states = torch.randn(1, 2, PREFIX + sum(LENGTHS), 16)
    row = row_of(PREFIX, LENGTHS, "tiles")
    found, expected = (
        prefix_row_attention(nn.Module(), states, states, states, None, prefix_row=row, sliding_window=window)[0]
        for window in (PREFIX + max(LENGTHS), None)
    )
    assert torch.equal(found, expected)


# kernels for GPUs


def segments_and_prefix(device: str, dtype: torch.dtype = torch.bfloat16) -> list[Tensor]:
    """Queries of the segments, keys and values of prefix and segments; two heads of 16."""
    generator = torch.Generator().manual_seed(2)
    tokens = [sum(LENGTHS), PREFIX + sum(LENGTHS), PREFIX + sum(LENGTHS)]
    states = [torch.randn(1, 2, count, 16, generator=generator) for count in tokens]
    return [tensor.to(device, dtype).requires_grad_() for tensor in states]


def test_varlen_calls_fit_the_operators_of_torch() -> None:
    """On the meta device no number comes out, but what the operators take, in which order, and give is checked."""
    states = segments_and_prefix("meta")
    output = KERNELS["varlen"](*states, row_of(0, LENGTHS, "varlen", "meta"), PREFIX, 0.25)
    assert output.shape == states[0].shape
    gradients = torch.autograd.grad(output.sum(), states)
    assert [gradient.shape for gradient in gradients] == [state.shape for state in states]


class PlainPart:
    """What flash attention gives for one part of the keys, written out; with the log-sum-exp of all, its gradients.

    Args:
        sees: which query sees which key, bool [T, keys].
    """

    def __init__(self, sees: Tensor) -> None:
        self.sees = sees

    def forward(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        scores = self.scores(q, k, scale)
        return scores.softmax(-1) @ v, scores.logsumexp(-1)

    def scores(self, q: Tensor, k: Tensor, scale: float) -> Tensor:
        return (scale * q @ k.transpose(-1, -2)).masked_fill(~self.sees, -torch.inf)

    def backward(
        self, gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, scale: float
    ) -> tuple[Tensor, ...]:
        weights = (self.scores(q, k, scale) - lse.unsqueeze(-1)).exp()  # of the whole softmax
        by_weight = gradient @ v.transpose(-1, -2) - (gradient * output).sum(-1, keepdim=True)
        by_score = scale * weights * by_weight
        return by_score @ k, by_score.transpose(-1, -2) @ q, weights.transpose(-1, -2) @ gradient


def test_two_attentions_joined_by_log_sum_exp_are_one() -> None:
    """What ``varlen`` is made of, with plain parts in the place of CUDA's: outputs and gradients of one softmax."""
    q, k, v = segments_and_prefix("cpu", torch.float64)
    row = row_of(0, LENGTHS, "varlen")
    own = (row.segment.unsqueeze(1) == row.segment) & (row.local.unsqueeze(1) >= row.local)
    prefix = own.new_ones(len(own), PREFIX)
    parts = PlainPart(prefix), PlainPart(own)
    whole = PlainPart(torch.cat([prefix, own], dim=1)).forward(q, k, v, 0.25)[0]
    segments, shared = (k[:, :, PREFIX:], v[:, :, PREFIX:]), (k[:, :, :PREFIX], v[:, :, :PREFIX])
    joined = JoinedAttention.apply(q, *segments, *shared, parts, 0.25)
    torch.testing.assert_close(joined, whole, rtol=0, atol=1e-12)
    weights = torch.linspace(-1, 1, whole.numel(), dtype=torch.float64).view_as(whole)
    found, expected = (torch.autograd.grad((output * weights).sum(), (q, k, v)) for output in (joined, whole))
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-12)


def test_tiles_hold_whole_neighbours_and_a_long_segment_alone() -> None:
    """At most 64 tokens a tile: 30 + 30, then 10 + 40, then 70 by itself."""
    tiles = Tiles.of(torch.tensor([30, 30, 10, 40, 70]))
    assert tiles.tokens.shape == (3, 70)
    assert [(row >= 0).sum().item() for row in tiles.segment] == [60, 50, 70]
    assert tiles.tokens.flatten()[tiles.places].tolist() == list(range(180))
    assert tiles.segment[1, :50].tolist() == [2] * 10 + [3] * 40
    mask = tiles.mask(prefix=2, dtype=torch.float32)[1, 0]
    assert mask[12].eq(0).nonzero().flatten().tolist() == [0, 1, 12, 13, 14]  # prefix, and its segment up to itself


@needs_cuda
@pytest.mark.parametrize("kernel", ["flex", "varlen", "tiles"])
def test_kernels_on_a_gpu_find_what_the_cpu_finds(kernel: str) -> None:
    def run(name: str, states: list[Tensor], device: str) -> list[Tensor]:
        output = KERNELS[name](*states, row_of(0, LENGTHS, name, device), PREFIX, 0.25)
        weights = torch.linspace(-1, 1, output.numel()).view_as(output).to(output)
        return [output, *torch.autograd.grad((output * weights).sum(), states)]

    expected = run("tiles", segments_and_prefix("cpu", torch.float64), "cpu")
    for found, wanted in zip(run(kernel, segments_and_prefix("cuda"), "cuda"), expected, strict=True):
        assert relative_error(found.cpu(), wanted) < 0.02


@needs_cuda
@pytest.mark.parametrize("kernel", ["flex", "varlen"])
@pytest.mark.parametrize("decoder", ["Llama, grouped queries", "GPT-NeoX"])
def test_decoders_on_a_gpu_give_close_outputs_and_gradients(
    decoder: str, kernel: str, plain_on_gpu: Callable[..., tuple[nn.Module, Tensor, Tensor]]
) -> None:
    llm, embeddings, expected = plain_on_gpu(decoder)
    wanted = gradients_of(expected, llm, embeddings)
    llm.set_attn_implementation(NAME)
    hidden = through_row(llm, embeddings, row_of(PREFIX, LENGTHS, kernel, "cuda"))
    assert relative_error(hidden, expected) < 0.03
    found = gradients_of(hidden, llm, embeddings)
    flat, flat_wanted = (torch.cat([part[name].flatten() for name in wanted]) for part in (found, wanted))
    assert relative_error(flat, flat_wanted) < 0.05


@pytest.fixture
def plain_on_gpu() -> Callable[[str], tuple[nn.Module, Tensor, Tensor]]:
    """A decoder in bfloat16 with heads of 16, since fused kernels want no smaller ones; its input and plain outputs."""

    def make(decoder: str) -> tuple[nn.Module, Tensor, Tensor]:
        architecture, settings = SERVED[decoder]
        heads = {"num_attention_heads": 2, **({"num_key_value_heads": 1} if "num_key_value_heads" in settings else {})}
        llm = tiny_decoder(architecture, **{**settings, **heads}).to("cuda", torch.bfloat16)
        embeddings = embeddings_of(PREFIX + sum(LENGTHS), torch.bfloat16, "cuda").requires_grad_()
        return llm, embeddings, one_by_one(llm, embeddings, PREFIX, LENGTHS)

    return make
