"""The attention of one layer over the segments of one micro-batch: each kernel of the package, and padded prompts.

Each contender gets the same queries, keys and values in the order that it wants, and their outputs and gradients have
to agree. On CUDA this decides ``recbole_tslrec.llm.attention.default_kernel``.

padded_mask    One prompt a row, d_inst in each, pads masked: what transformers does with padded prompts.
padded_causal  The same without a mask: pads behind a prompt are seen by nobody before them.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import lengths
from measure import Report, arguments, say
from models import INSTRUCTION_TOKENS, RESPONSE_TOKENS, SEED
from recbole_tslrec.llm.attention import KERNELS, PrefixRow, default_kernel
from recbole_tslrec.sft.timing import interleaved

PADDED_MASK, PADDED_CAUSAL = "padded_mask", "padded_causal"
_KERNELS_OF = {"cpu": ("tiles",), "cuda": ("flex", "varlen", "tiles")}
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}  # of the norm of a difference to the norm of the tensor


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        heads: of attention.
        head_size: numbers a head.
        tokens: of the micro-batches, d_inst included.
        dtype: of queries, keys and values.
        rounds: that count.
        cases: of :data:`lengths.CASES`.
    """

    heads: int = 6
    head_size: int = 64
    tokens: Sequence[int] = (4096, 8192)
    dtype: torch.dtype = torch.float32
    rounds: int = 9
    cases: Sequence[str] = ("beauty", "ml1m", "yelp")


QUICK = Scale(tokens=(2048,), rounds=3)
ON_GPU = Scale(heads=40, head_size=128, tokens=(4096, 8192, 16384), dtype=torch.bfloat16, rounds=21)


@dataclass
class Problem:
    """The inputs of one attention.

    Attributes:
        q, k, v: of the segments, [1, h, T, d].
        prefix_q, prefix_k, prefix_v: of d_inst, [1, h, P, d].
        row: how the segments are divided.
        gradient: of the output, [1, h, T, d].
    """

    q: Tensor
    k: Tensor
    v: Tensor
    prefix_q: Tensor
    prefix_k: Tensor
    prefix_v: Tensor
    row: PrefixRow
    gradient: Tensor

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What gradients are taken by."""
        return self.q, self.k, self.v, self.prefix_k, self.prefix_v


def make_problem(case: str, tokens: int, scale: Scale, device: torch.device) -> Problem:
    """Users of about one length, as the package puts them into a micro-batch of so many tokens.

    The segments are those around the quantile of the dataset's tokens that lies in the middle: half of all tokens are
    in shorter ones.
    """
    segments = np.sort(lengths.load(case).prompt_items) + RESPONSE_TOKENS
    ends = segments.cumsum()
    middle = int(np.searchsorted(ends, ends[-1] // 2))
    room = tokens - INSTRUCTION_TOKENS
    start = int(np.searchsorted(ends, max(0, ends[middle] - room // 2)))
    count = max(1, int(np.searchsorted(ends[start:] - ends[start] + segments[start], room, side="right")))
    chosen = torch.from_numpy(segments[start : start + count]).to(device)
    generator = torch.Generator(device).manual_seed(SEED)

    def numbers(length: int) -> Tensor:
        shape = (1, scale.heads, length, scale.head_size)
        return torch.randn(shape, generator=generator, device=device, dtype=scale.dtype)

    total = int(chosen.sum())
    row = PrefixRow(INSTRUCTION_TOKENS, chosen, int(chosen.max()), default_kernel(device))
    own, prefix = [numbers(total) for _ in range(3)], [numbers(INSTRUCTION_TOKENS) for _ in range(3)]
    problem = Problem(*own, *prefix, row, numbers(total))
    for tensor in problem.inputs:
        tensor.requires_grad_()
    return problem


def kernel_run(problem: Problem, name: str) -> Callable[[], Tensor]:
    """A kernel of the package."""
    scale = problem.q.shape[-1] ** -0.5
    row, prefix = problem.row, problem.prefix_k.shape[2]

    def run() -> Tensor:
        keys = torch.cat([problem.prefix_k, problem.k], dim=2)
        values = torch.cat([problem.prefix_v, problem.v], dim=2)
        return KERNELS[name](problem.q, keys, values, row, prefix, scale)

    return run


def pad(own: Tensor, prefix: Tensor, row: PrefixRow) -> Tensor:
    """``[d_inst | segment | pads]`` of every user, [B, h, P + S, d]."""
    users, heads, size = len(row.lengths), own.shape[1], own.shape[3]
    flat = own[0].transpose(0, 1)  # [T, h, d]
    padded = flat.new_zeros(users * row.longest, heads, size).index_copy(0, row.padded_place, flat)
    segments = padded.view(users, row.longest, heads, size).transpose(1, 2)
    return torch.cat([prefix.expand(users, -1, -1, -1), segments], dim=2)


def unpad(output: Tensor, row: PrefixRow) -> Tensor:
    """The outputs of the segments, [1, h, T, d]."""
    own = output[:, :, -row.longest :].transpose(1, 2).reshape(-1, output.shape[1], output.shape[3])
    return own[row.padded_place].transpose(0, 1).unsqueeze(0)


class Padded:
    """Attention over padded prompts; they are padded before the clock runs, as a padded model has them.

    Args:
        problem: the inputs.
        masked: whether pads are masked.
    """

    def __init__(self, problem: Problem, masked: bool) -> None:
        row = problem.row
        pairs = ((problem.q, problem.prefix_q), (problem.k, problem.prefix_k), (problem.v, problem.prefix_v))
        self.problem = problem
        self.joined = [pad(own, prefix, row) for own, prefix in pairs]
        self.inputs = [tensor.detach().contiguous().requires_grad_() for tensor in self.joined]
        zeros = torch.zeros_like(problem.prefix_q)
        self.gradient = pad(problem.gradient, zeros, row).contiguous()
        self.mask: Tensor | None = None
        if masked:
            place = torch.arange(self.joined[0].shape[2], device=row.lengths.device)
            is_token = place < (INSTRUCTION_TOKENS + row.lengths).unsqueeze(1)  # [B, P + S]
            causal = place.unsqueeze(1) >= place
            self.mask = causal & is_token[:, None, None, :]

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[B, h, P + S, d]."""
        return scaled_dot_product_attention(query, key, value, attn_mask=self.mask, is_causal=self.mask is None)

    def forward(self) -> Tensor:
        """What is timed."""
        return self.attend(*self.inputs)

    def checked(self) -> Tensor:
        """The outputs of the segments, by the problem's own inputs."""
        return unpad(self.attend(*self.joined), self.problem.row)


def gradients(output: Tensor, inputs: Sequence[Tensor], gradient: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the inputs."""
    return torch.autograd.grad(output, inputs, gradient)


def distance(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest norm of a difference, as a share of the norm of what is expected."""
    pairs = zip(found, expected, strict=True)
    return max(float((a.double() - b.double()).norm() / b.double().norm()) for a, b in pairs)


def measure_problem(
    problem: Problem, kernels: Sequence[str], scale: Scale, device: torch.device, report: Report, title: str
) -> None:
    """Check and time all contenders on one micro-batch."""
    padded = {PADDED_MASK: Padded(problem, masked=True), PADDED_CAUSAL: Padded(problem, masked=False)}
    exact = padded[PADDED_MASK].checked()
    expected = [exact.detach(), *gradients(exact, problem.inputs, problem.gradient)]
    forward: dict[str, Callable[[], object]] = {}
    both: dict[str, Callable[[], object]] = {}
    distances = {PADDED_MASK: 0.0}
    causal = padded[PADDED_CAUSAL].checked()
    found = [causal.detach(), *gradients(causal, problem.inputs, problem.gradient)]
    distances[PADDED_CAUSAL] = distance(found, expected)
    for name in kernels:
        run = kernel_run(problem, name)
        try:
            output = run()
            found = [output.detach(), *gradients(output, problem.inputs, problem.gradient)]
        except Exception as error:  # one kernel may not serve on a machine; the others are measured all the same
            report.failures[f"{title}, {name}"] = f"{type(error).__name__}: {error}"
            say(f"{title}, {name}: {type(error).__name__}: {error}")
            continue
        distances[name] = distance(found, expected)
        forward[name] = run
        both[name] = lambda run=run: gradients(run(), problem.inputs, problem.gradient)  # type: ignore[misc]
    for name, rival in padded.items():
        forward[name] = rival.forward
        both[name] = lambda rival=rival: gradients(rival.forward(), rival.inputs, rival.gradient)  # type: ignore[misc]
    with torch.no_grad():
        forward_seconds = interleaved(forward, scale.rounds, device)
    both_seconds = interleaved(both, scale.rounds, device)
    report.add_table(title, _rows(forward_seconds, both_seconds, distances, scale))


def _rows(
    forward: dict[str, float], both: dict[str, float], distances: dict[str, float], scale: Scale
) -> list[dict[str, Any]]:
    return [
        {
            "contender": name,
            "forward ms": 1e3 * forward[name],
            "forward + backward ms": 1e3 * both[name],
            "distance": distances[name],
            "agrees": distances[name] <= _TOLERANCE[scale.dtype],
        }
        for name in forward
    ]


def measure(scale: Scale, report: Report, device: torch.device, kernels: Sequence[str] | None = None) -> None:
    """All cases and sizes; the ratios are of forward and backward, padded over the best kernel.

    Raises:
        ArithmeticError: a kernel's outputs or gradients differ from those of padded prompts.
    """
    names = _KERNELS_OF[device.type] if kernels is None else kernels
    disagreeing = []
    for case in scale.cases:
        for tokens in scale.tokens:
            problem = make_problem(case, tokens, scale, device)
            segments, total = len(problem.row.lengths), problem.q.shape[2] + INSTRUCTION_TOKENS
            title = f"{case}: {total:,} tokens in {segments} segments of at most {problem.row.longest}"
            measure_problem(problem, names, scale, device, report, title)
            rows = {row["contender"]: row for row in report.tables[title]}
            disagreeing += [f"{title}: {name}" for name, row in rows.items() if not row["agrees"]]
            report.add_ratios(_ratios(rows, names, f"{case}_{tokens}"))
    if disagreeing:
        raise ArithmeticError("outputs or gradients differ from those of padded prompts: " + "; ".join(disagreeing))


def _ratios(rows: dict[str, dict[str, Any]], kernels: Sequence[str], name: str) -> dict[str, float]:
    taken = {contender: row["forward + backward ms"] for contender, row in rows.items()}
    served = [kernel for kernel in kernels if kernel in taken]
    return {
        f"{name}_{kernel}_vs_{rival}": taken[rival] / taken[kernel]
        for kernel in served
        for rival in (PADDED_MASK, PADDED_CAUSAL)
    }


def main() -> None:
    """Measure on the GPU where there is one, else on the CPU."""
    parser = arguments(__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    report = Report("attention", chosen.json)
    say(f"{report.name} on {device}{', quick' if chosen.quick else ''}")
    measure(QUICK if chosen.quick else ON_GPU if device.type == "cuda" else Scale(), report, device)


if __name__ == "__main__":
    sys.exit(main())
