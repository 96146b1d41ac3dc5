"""Losses over large catalogues: nothing of batch x items is held, or only drawn items are scored.

Each takes the vectors that predict, ``query`` [T, d], and the items that came next, ``target`` int64 [T], 1..N, and
gives a mean over the T targets.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from recbole_tslrec.compute.autocast import computing_dtype
from recbole_tslrec.compute.distributed import tensor_from_main

_CACHE = 8.0  # MiB; scores that a processor's cache holds are computed up to 1.4 times as fast
# a share of the target that is smaller counts as this: a loss of 87, or of 17 in float16, which holds no smaller number
_LEAST, _LEAST_IN_FLOAT16 = torch.finfo(torch.float32).tiny, 2.0**-24


def full_cross_entropy(query: Tensor, table: Tensor, target: Tensor, memory: float) -> Tensor:
    """The cross entropy over all rows of ``table`` in chunks of targets; equal to torch's but for rounding.

    Args:
        query: [T, d].
        table: [N + 1, d]; the pad row takes part, as in RecBole.
        target: int64 [T].
        memory: MiB of scores that are held at once, at most.
    """
    memory = min(memory, _CACHE) if query.device.type == "cpu" else memory
    rows = max(1, int(memory * 2**20 / (4 * len(table))))
    loss: Tensor = _ChunkedCrossEntropy.apply(query, table, target, rows)  # type: ignore[no-untyped-call]
    return loss


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The gradients of a mean of cross entropies are known with its value, so one pass over the scores makes both."""

    @staticmethod
    def forward(context: Any, query: Tensor, table: Tensor, target: Tensor, rows: int) -> Tensor:
        dtype = computing_dtype(query)
        with torch.autocast(query.device.type, enabled=False):
            return _value_and_gradients(context, query, table, target, rows, dtype)

    @staticmethod
    def backward(context: Any, *grads: Any) -> Any:
        query_grad, table_grad = context.saved_tensors
        factor = grads[0] / context.divisor
        return query_grad * factor, table_grad * factor, None, None


def _value_and_gradients(
    context: Any, query: Tensor, table: Tensor, target: Tensor, rows: int, dtype: torch.dtype
) -> Tensor:
    """The mean cross entropy; what is held is in ``dtype``, and under autocast the value is no more exact than that."""
    vectors, items = query.to(dtype), table.to(dtype)
    query_grad = torch.empty_like(vectors)
    table_grad = torch.zeros(table.shape[::-1], dtype=torch.float32, device=table.device)  # [d, N + 1]
    # both are written over for every chunk: on a CPU fresh memory costs more than what is done in it
    scores = torch.empty(min(rows, len(query)), len(table), dtype=dtype, device=query.device)  # [rows, N + 1]
    shares = torch.empty_like(scores)
    row = torch.arange(len(scores), device=query.device)
    least = _LEAST_IN_FLOAT16 if dtype == torch.float16 else _LEAST
    total = query.new_zeros((), dtype=torch.float32)
    for start in range(0, len(query), rows):
        part = slice(start, start + rows)
        own = row[: len(target[part])], target[part]
        torch.mm(vectors[part], items.T, out=scores[: len(own[0])])
        share = torch.softmax(scores[: len(own[0])], dim=1, out=shares[: len(own[0])])
        total -= share[own].float().clamp(min=least).log().sum()
        share[own] -= 1  # not `scatter_add_`, which copies all of `share` twice on a CPU
        query_grad[part] = share @ items
        table_grad += vectors[part].T @ share  # not `share.T @ ...`: a CPU would copy it in bfloat16
    context.divisor = 1
    if dtype == torch.float16:  # has no numbers for the quotients, unless a GradScaler's factor comes first
        context.divisor = len(query)
    else:
        query_grad /= len(query)
        table_grad /= len(query)
    context.save_for_backward(query_grad.to(query.dtype), table_grad.T.to(table.dtype).contiguous())
    return total / len(query)


class SampledLoss(nn.Module):
    """A loss over the target and items that are drawn anew each step and shared by its targets.

    Args:
        count: training interactions of each item, [N + 1]; the pad has none.
        negatives: items to draw, at most N.

    Attributes:
        drawn_by_main: whether several processes, which share a step, take the items that the main one draws.

    Raises:
        ValueError: there are not that many items.
    """

    drawn_by_main = False

    def __init__(self, count: Tensor, negatives: int) -> None:
        super().__init__()
        if not 1 <= negatives < len(count):
            raise ValueError(f"loss_negatives [{negatives}] must lie between 1 and the {len(count) - 1} items")
        self.negatives = negatives
        self.item_count = len(count) - 1

    def items_of_step(self, device: torch.device) -> Tensor:
        """The items of a step, the same in all processes that share it: int64 [negatives]."""
        items = self.draw(device)
        return tensor_from_main(items) if self.drawn_by_main else items

    def draw(self, device: torch.device) -> Tensor:
        """Items 1..N, int64 [negatives], some of them perhaps twice."""
        raise NotImplementedError

    def forward(self, query: Tensor, target: Tensor, own: Tensor, items: Tensor, rows: Tensor) -> Tensor:
        """The loss.

        Args:
            query: [T, d].
            target: int64 [T].
            own: the targets' rows of the item table, [T, d].
            items: what was drawn, int64 [negatives].
            rows: their rows of the item table, [negatives, d].
        """
        score = (query * own).sum(dim=1)  # [T]
        scores = query @ rows.T  # [T, negatives]
        return self.of_scores(score, scores, target, items, target.unsqueeze(1) == items)

    def of_scores(self, score: Tensor, scores: Tensor, target: Tensor, items: Tensor, same: Tensor) -> Tensor:
        """The loss of the targets' scores [T] and the drawn items' [T, negatives], ``same`` where both are one item."""
        raise NotImplementedError


class SampledSoftmax(SampledLoss):
    """Softmax over the target and items drawn by their frequency, with the logQ correction.

    The score of a drawn item loses the logarithm of how often it is expected in the draw, so that the sum below the
    fraction is, in expectation, that of the full softmax (Bengio and Senecal 2008). The target is always there and
    keeps its score. Every item counts once more than it was seen, so that unseen ones are drawn too (our choice).
    """

    cumulative: Tensor
    log_expected: Tensor

    def __init__(self, count: Tensor, negatives: int) -> None:
        super().__init__(count, negatives)
        weight = count[1:].double() + 1
        self.register_buffer("cumulative", weight.cumsum(0) / weight.sum(), persistent=False)
        expected = torch.cat([weight.new_ones(1), negatives * weight / weight.sum()])
        self.register_buffer("log_expected", expected.log().float(), persistent=False)

    def draw(self, device: torch.device) -> Tensor:
        """Items 1..N by frequency, int64 [negatives]."""
        uniform = torch.rand(self.negatives, dtype=torch.float64, device=device)
        return torch.searchsorted(self.cumulative, uniform).clamp_(max=self.item_count - 1) + 1

    def of_scores(self, score: Tensor, scores: Tensor, target: Tensor, items: Tensor, same: Tensor) -> Tensor:
        """See :class:`SampledLoss`."""
        score = score.float()
        scores = (scores.float() - self.log_expected[items]).masked_fill(same, -torch.inf)
        return (torch.logsumexp(torch.cat([score.unsqueeze(1), scores], dim=1), dim=1) - score).mean()


class GeneralisedBCE(SampledLoss):
    """gBCE: binary cross entropy whose positive part is tempered, so that sampling does not make it overconfident.

    Petrov and Macdonald, RecSys 2023: with a sampling rate a and a calibration t the positive's probability is raised
    to the power b = a (t (1 - 1 / a) + 1 / a) = 1 - t (1 - a). Items are drawn uniformly.

    Args:
        count: [N + 1].
        negatives: items to draw.
        calibration: t, from 0 (plain binary cross entropy) to 1 (unbiased).
    """

    def __init__(self, count: Tensor, negatives: int, calibration: float) -> None:
        super().__init__(count, negatives)
        if not 0 <= calibration <= 1:
            raise ValueError(f"loss_calibration [{calibration}] must lie between 0 and 1")
        rate = min(1.0, negatives / max(1, self.item_count - 1))
        self.power = 1 - calibration * (1 - rate)

    def draw(self, device: torch.device) -> Tensor:
        """Items 1..N uniformly, int64 [negatives]."""
        return torch.randint(1, self.item_count + 1, (self.negatives,), device=device)

    def of_scores(self, score: Tensor, scores: Tensor, target: Tensor, items: Tensor, same: Tensor) -> Tensor:
        """See :class:`SampledLoss`."""
        positive = self.power * logsigmoid(score.float())
        scores = scores.float()
        negative = -binary_cross_entropy_with_logits(scores, torch.zeros_like(scores), reduction="none")
        negative = negative.masked_fill(same, 0.0).sum(dim=1)
        return -(positive + negative).mean() / (self.negatives + 1)


def sampled_loss(name: str, count: Tensor, negatives: int, calibration: float) -> SampledLoss:
    """One of :data:`recbole_tslrec.settings.recommender.SAMPLED_LOSSES` by its name."""
    if name == "gBCE":
        return GeneralisedBCE(count, negatives, calibration)
    return SampledSoftmax(count, negatives)
