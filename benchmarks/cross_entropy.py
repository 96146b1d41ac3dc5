"""The full cross entropy over a catalogue: torch's, and the package's in chunks, which makes both gradients at once.

1,024 targets, d = 64, the catalogues of the paper's datasets, on the CPU. Both have to give the same gradients.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

import lengths
from measure import Report, arguments, say
from recbole_tslrec.sequential.losses import full_cross_entropy
from recbole_tslrec.sft.timing import interleaved

_CPU = torch.device("cpu")
_MEMORY = 256.0  # MiB of scores, the default of loss_memory
_TOLERANCE = {"fp32": 1e-5, "bf16": 3e-2}  # of the norm of a difference to the norm of the gradient


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        share: of the items.
        targets: T.
        size: d.
        rounds: that count.
        steps: in a round.
    """

    share: float = 1.0
    targets: int = 1024
    size: int = 64
    rounds: int = 9
    steps: int = 5


QUICK = Scale(rounds=3, steps=1)


class Step:
    """One loss and its gradients.

    Args:
        loss: of query [T, d], table [N + 1, d] and target [T].
        items: N.
        scale: the sizes.
        autocast: whether it is computed in bfloat16.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor, Tensor], Tensor], items: int, scale: Scale, autocast: bool):
        torch.manual_seed(0)  # the same tensors for both losses
        self.loss, self.autocast = loss, autocast
        self.query = torch.randn(scale.targets, scale.size).requires_grad_()
        self.table = (torch.randn(items + 1, scale.size) / 10).requires_grad_()  # scores of about -2 to 2
        self.target = torch.randint(1, items + 1, (scale.targets,))

    def __call__(self) -> tuple[Tensor, Tensor]:
        """The gradients, [T, d] and [N + 1, d]."""
        with torch.autocast("cpu", enabled=self.autocast):
            loss = self.loss(self.query, self.table, self.target)
        query_grad, table_grad = torch.autograd.grad(loss, (self.query, self.table))
        return query_grad, table_grad


def whole(query: Tensor, table: Tensor, target: Tensor) -> Tensor:
    """As RecBole's models compute it."""
    return functional.cross_entropy(query @ table.T, target)


def in_chunks(query: Tensor, table: Tensor, target: Tensor) -> Tensor:
    """As the package does."""
    return full_cross_entropy(query, table, target, _MEMORY)


def check_same(precision: str, found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """Compare gradients.

    Raises:
        RuntimeError: they differ by more than rounding.
    """
    for one, other in zip(found, expected, strict=True):
        distance = float((one - other).norm() / other.norm())
        if distance > _TOLERANCE[precision]:
            raise RuntimeError(f"the gradients of the two losses differ by {distance:.2g} in {precision}")


def measure(scale: Scale, report: Report) -> None:
    """A row for each catalogue and precision."""
    rows = []
    for dataset, stored in json.loads(lengths.STORED.read_text()).items():
        items = max(1, round(stored["items"] * scale.share))
        for precision in _TOLERANCE:
            steps = {loss: Step(loss, items, scale, precision == "bf16") for loss in (whole, in_chunks)}
            check_same(precision, steps[in_chunks](), steps[whole]())
            runs = {loss: lambda step=step: [step() for _ in range(scale.steps)] for loss, step in steps.items()}
            seconds = {loss: taken / scale.steps for loss, taken in interleaved(runs, scale.rounds, _CPU).items()}
            row = {"items": items, "precision": precision, "whole, s": seconds[whole], "chunks, s": seconds[in_chunks]}
            rows.append(row)
            report.add_ratios({f"chunks_{dataset}_{precision}": seconds[whole] / seconds[in_chunks]})
    report.add_table("the loss and its gradients", rows)


def main() -> None:
    """Measure on the CPU."""
    chosen = arguments(__doc__).parse_args()
    report = Report("cross_entropy", chosen.json)
    say(f"{report.name}{', quick' if chosen.quick else ''}")
    measure(QUICK if chosen.quick else Scale(), report)


if __name__ == "__main__":
    sys.exit(main())
