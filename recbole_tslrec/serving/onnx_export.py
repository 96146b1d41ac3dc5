"""A trained model as an ONNX graph: from item numbers to the scores of all items.

Inputs:
    ``item_seq`` int64 [batch, L]: item numbers, the oldest first, pads (0) behind. Item number i is the i-th of the
    tokens, counted from 1. L is the model's MAX_ITEM_LIST_LENGTH.
    ``item_seq_len`` int64 [batch]: how many items each row has, at least 1.

Outputs:
    ``sequence_vector`` float32 [batch, d].
    ``scores`` float32 [batch, N + 1]: column i is item number i; column 0, the pad's, is minus infinity.

The tokens lie as a JSON list in the graph's metadata (``tokens``) and in ``<file>.tokens.txt``, one a line.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils import parametrize

from recbole_tslrec.models.backbones import backbone_of
from recbole_tslrec.serving.score_comparison import (
    ExportError,
    random_histories,
    relative_difference,
    scoring_of,
)
from recbole_tslrec.version import __version__

TOLERANCE = 1e-4  # of the scores that onnxruntime computes, relative to the largest
TOP = 10
BATCH_SIZES = (1, 2, 7, 32)
LARGEST_TABLE = 2**31 - 2**27  # bytes: a graph is one protobuf of at most 2 GiB


class Scorer(nn.Module):
    """What is exported: a model's encoder and its item table.

    Args:
        model: in evaluation mode, without parametrizations.
    """

    table: Tensor
    bias: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.scoring = scoring_of(model)
        table = self.scoring.table(model).detach()  # [N + 1, d]
        bias = self.scoring.bias(model).detach().clone() if self.scoring.bias else table.new_zeros(len(table))
        bias[0] = -torch.inf
        self.register_buffer("table", table)
        self.register_buffer("bias", bias)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> tuple[Tensor, Tensor]:
        """Int64 [B, L] and [B] -> [B, d] and [B, N + 1]."""
        batch = {self.model.ITEM_SEQ: item_seq, self.model.ITEM_SEQ_LEN: item_seq_len}
        vectors = self.scoring.vectors(self.model, batch)
        return vectors, linear(vectors, self.table, self.bias)


def write_onnx(path: Path, model: Any, tokens: list[str], max_length: int) -> float:
    """Write a model as ``path``, and its tokens beside it; compare its scores with those that onnxruntime computes.

    Args:
        path: the file.
        model: in evaluation mode on the CPU; its fused tables become plain ones.
        tokens: the external tokens of its items 1..N.
        max_length: L.

    Returns:
        The largest difference of a score, relative to the largest score.

    Raises:
        ExportError: ONNX cannot express the model, or onnxruntime gives other scores or other best items.
    """
    check_expressible(model)
    batches = [random_histories(model, max_length, count) for count in BATCH_SIZES]
    with torch.no_grad():
        expected = [model.full_sort_predict(batch).view(len(batch[model.ITEM_SEQ]), -1) for batch in batches]
    fold_tables(model)
    metadata = {"tokens": json.dumps(tokens, ensure_ascii=False), "model": type(model).__name__, "version": __version__}
    with _in_one_sentence(model):
        graph = traced(model, batches[-1])
        graph.model.metadata_props.update(metadata)
        graph.save(str(path))
        difference = check_scores(path, model, batches, expected)
    path.with_name(f"{path.name}.tokens.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    return difference


def check_expressible(model: Any) -> None:
    """Refuse a model that ONNX cannot express.

    Raises:
        ExportError: it needs the user, builds something outside of torch, or is too large.
    """
    backbone = backbone_of(type(model))
    reason = backbone.not_traceable
    if backbone.knows_users:
        reason = "it has an embedding of each user, so that a history alone gives no scores"
    table = scoring_of(model).table(model)
    if table.numel() * 4 > LARGEST_TABLE:
        reason = f"its item table has {table.numel() * 4 / 2**30:.1f} GiB, and a graph holds at most 2"
    if reason:
        raise not_expressible(model, reason)


def not_expressible(model: Any, reason: str) -> ExportError:
    """The error for a model that cannot become a graph."""
    return ExportError(
        f"ONNX cannot express {type(model).__name__}: {reason}; export its item table, e.g. with --format=safetensors"
    )


def fold_tables(model: nn.Module) -> None:
    """Put plain embeddings with the rows of the fused tables into the place of what computes them."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Embedding) and parametrize.is_parametrized(child, "weight"):
                plain = nn.Embedding.from_pretrained(child.weight.detach())  # type: ignore[no-untyped-call]
                setattr(parent, name, plain)


def traced(model: Any, batch: dict[str, Tensor]) -> Any:
    """The ONNX program of a model, for any batch size.

    Args:
        model: without parametrizations.
        batch: an example.
    """
    any_size = {0: torch.export.Dim("batch")}
    with _quiet(), torch.no_grad():
        return torch.onnx.export(
            Scorer(model).eval(),
            (batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN]),
            input_names=["item_seq", "item_seq_len"],
            output_names=["sequence_vector", "scores"],
            dynamic_shapes=(any_size, any_size),
            dynamo=True,
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about its passes, and about packages that no model here needs."""
    loggers = [getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _in_one_sentence(model: Any) -> Iterator[None]:
    """What the exporter or onnxruntime cannot do, without their reports."""
    try:
        yield
    except (ExportError, OSError, MemoryError):
        raise
    except Exception as error:  # their own errors derive from nothing narrower
        raise not_expressible(model, root_cause(error)) from error


def root_cause(error: BaseException) -> str:
    """The first line of the error at the bottom of a chain."""
    while error.__cause__:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def check_scores(path: Path, model: Any, batches: list[dict[str, Tensor]], expected: list[Tensor]) -> float:
    """Run a graph on histories whose scores are known.

    Args:
        path: the path of the graph.
        model: names the fields of ``batches``.
        batches: histories.
        expected: for each the scores [B, N + 1].

    Returns:
        The largest difference of a score, relative to the largest score.

    Raises:
        ExportError: it is too large, or other items are the best.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch, scores in zip(batches, expected, strict=True):
        inputs = {"item_seq": batch[model.ITEM_SEQ].numpy(), "item_seq_len": batch[model.ITEM_SEQ_LEN].numpy()}
        found = torch.from_numpy(session.run(["scores"], inputs)[0])[:, 1:]  # [B, N]
        known = scores[:, 1:]
        count = min(TOP, known.shape[1])
        # by their scores, so that items which the model itself cannot tell apart may change places
        best = known.gather(1, found.topk(count).indices)
        difference = max(relative_difference(found, known), relative_difference(best, known.topk(count).values))
        if not difference <= TOLERANCE:  # NaN too
            raise not_expressible(
                model,
                f"for {len(known)} histories, onnxruntime gives scores or best items that differ by {difference:.1e} "
                f"(relative; allowed {TOLERANCE:.0e})",
            )
        worst = max(worst, difference)
    return worst
