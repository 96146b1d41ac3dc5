"""The best items by an approximate index of nearest neighbours (HNSW, of usearch), without scoring all of them.

The graph is searched for more items than are wanted; those found are scored as the model scores them, so only which
items are found is approximate. Distances are inner products themselves: the reduction to Euclidean ones (Bachrach et
al. 2014) found fewer of the right items on tables whose rows differ in length.

Files: ``<file>`` is usearch's, keyed by item number; ``<file>.json`` says of which model it is, with hashes;
``<file>.tokens.txt`` has the items' tokens, one a line, for other programs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_tslrec.models.scoring import Scoring
from recbole_tslrec.serving.saved_model import SavedModel
from recbole_tslrec.serving.score_comparison import scoring_of
from recbole_tslrec.serving.table_files import ItemTable
from recbole_tslrec.store.files import beside, hash_arrays, hash_file, read_json, write_json
from recbole_tslrec.version import __version__

PACKAGE = "usearch"
FORMAT_VERSION = 1
_LINKS = 16  # of an item in the graph
_EXPANSION = 128  # candidates that are kept while the graph is built or searched; twice what is wanted if that is more
_MARGIN = 64  # items that are searched for beyond k and the history
_MOST = 1024  # items searched for; a row that wants more is ranked exactly
_CURE = "make it again with: export --format=ann"
_KEYS = ("format_version", "model", "model_hash", "index_hash", "items")


class IndexFileError(ValueError):
    """An index cannot be used: it is missing, damaged, or of another model."""


def load_package() -> Any:
    """The module of usearch's indexes.

    Raises:
        ImportError: it is not installed.
    """
    try:
        from usearch import index
    except ImportError as error:
        raise ImportError(
            f"an index of items needs {PACKAGE}; install it with: pip install 'recbole_tslrec[ann]'"
        ) from error
    return index


def hash_model(model: torch.nn.Module, tokens: Sequence[str]) -> str:
    """One hash over a model's weights and its items, the same on every device."""
    state = sorted(model.state_dict().items())
    return hash_arrays(*(weight.cpu().numpy() for _, weight in state), np.array(list(tokens), dtype=object))


def write_index(path: Path, table: ItemTable, model: torch.nn.Module) -> ItemTable:
    """Write an index over an item table, and what it is of.

    Args:
        path: the file.
        table: as ``model`` scores it.
        model: in evaluation mode.

    Returns:
        The table that the written index holds.
    """
    rows = table.rows if table.bias is None else torch.cat([table.rows, table.bias.unsqueeze(1)], dim=1)
    numbers = np.arange(1, len(rows) + 1, dtype=np.uint64)
    index = load_package().Index(
        ndim=rows.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=_LINKS,
        expansion_add=_EXPANSION,
        expansion_search=_EXPANSION,
    )
    index.add(numbers, rows.contiguous().numpy(), threads=torch.get_num_threads())
    index.save(str(path))
    facts = {
        "format_version": FORMAT_VERSION,
        "model": type(model).__name__,
        "model_hash": hash_model(model, table.tokens),
        "index_hash": hash_file(path),
        "items": len(rows),
        "has_bias": table.bias is not None,
        "version": __version__,
    }
    write_json(beside(path, "json"), facts)
    beside(path, "tokens.txt").write_text("".join(f"{token}\n" for token in table.tokens), encoding="utf-8")
    read_back = load_package().Index.restore(str(path)).get(numbers)
    found = torch.from_numpy(np.vstack(read_back))  # [N, d], with the bias d + 1
    has_bias = table.bias is not None
    return ItemTable(table.tokens, found[:, :-1] if has_bias else found, found[:, -1] if has_bias else None)


@dataclass(frozen=True)
class ApproximateItems:
    """A saved model that asks an index which items to score.

    Attributes:
        saved: the model.
        scoring: how it scores.
        index: of usearch.
        table: [N + 1, d], on the model's device.
        bias: [N + 1], where the model has one.
    """

    saved: SavedModel
    scoring: Scoring
    index: Any
    table: Tensor
    bias: Tensor | None

    @classmethod
    @torch.no_grad()
    def read(cls, path: Path, saved: SavedModel) -> "ApproximateItems":
        """The index of a file, which must be the model's.

        Raises:
            ImportError: usearch is not installed.
            ExportError: the model's scores are no products.
            IndexFileError: the file is missing, damaged, or of another model.
        """
        index_module = load_package()
        scoring = scoring_of(saved.model)
        facts = _read_facts(path)
        if facts["model_hash"] != hash_model(saved.model, saved.item_tokens):
            raise IndexFileError(
                f"{path} is the index of another model, a {facts['model']} of {facts['items']:,} items; make the one "
                f"of this {saved.name} with: export --format=ann"
            )
        if hash_file(path) != facts["index_hash"]:
            raise IndexFileError(f"{path} differs from its hash in {beside(path, 'json')}; {_CURE}")
        index = index_module.Index.restore(str(path))
        bias = scoring.bias(saved.model) if scoring.bias else None
        return cls(saved, scoring, index, scoring.table(saved.model), bias)

    @torch.no_grad()
    def best(
        self, item_seq: Tensor, item_seq_len: Tensor, k: int, left_out: Sequence[Sequence[int]] | None = None
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`SavedModel.best`, of the items that the index finds; rows for which it finds too few are exact."""
        batch = self.saved.batch(item_seq, item_seq_len)
        vectors = self.scoring.vectors(self.saved.model, batch)  # [B, d]
        wanted = [k + _MARGIN + len(set(items)) for items in left_out or [[]] * len(item_seq)]
        count = min(max((count for count in wanted if count <= _MOST), default=k), len(self.table) - 1)
        candidates = self._search(vectors, count).to(vectors.device)  # [B, C]
        scores = torch.einsum("bcd,bd->bc", self.table[candidates], vectors)
        if self.bias is not None:
            scores = scores + self.bias[candidates]
        scores[candidates == 0] = -torch.inf
        if left_out is not None:
            scores[_is_in(candidates, left_out)] = -torch.inf
        order = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]  # of equal ones the smaller id first
        scores, items = scores.gather(1, order), candidates.gather(1, order)
        wants_more = torch.tensor(wanted, device=scores.device) > _MOST
        exact = (wants_more | ~scores.isfinite().all(dim=1)).nonzero().flatten()
        if len(exact):
            of = exact.cpu()
            rest = [left_out[row] for row in of.tolist()] if left_out is not None else None
            scores[exact], items[exact] = self.saved.best(item_seq[of], item_seq_len[of], k, rest)
        return scores, items

    def _search(self, vectors: Tensor, count: int) -> Tensor:
        """The numbers of ``count`` items of each row, ascending, int64 [B, C]; 0 where fewer were found."""
        queries = vectors.float().cpu()
        if self.bias is not None:
            queries = torch.cat([queries, queries.new_ones(len(queries), 1)], dim=1)
        queries = torch.cat([queries, queries[:1]])  # of a single query usearch answers in another form
        self.index.expansion_search = max(_EXPANSION, 2 * count)
        found = self.index.search(queries.numpy(), count, threads=torch.get_num_threads())
        items = torch.from_numpy(found.keys.astype(np.int64))
        counts = torch.from_numpy(np.asarray(found.counts).astype(np.int64))
        items[torch.arange(items.shape[1]) >= counts.unsqueeze(1)] = 0
        return items[:-1].sort(dim=1).values


def _read_facts(path: Path) -> Mapping[str, Any]:
    """What the JSON beside an index says."""
    about = beside(path, "json")
    for needed in (path, about):
        if not needed.is_file():
            raise IndexFileError(f"{needed} does not exist; check the path, or {_CURE}")
    try:
        facts = read_json(about)
    except ValueError:
        facts = None
    if not isinstance(facts, dict) or any(key not in facts for key in _KEYS):
        raise IndexFileError(f"{about} is damaged; {_CURE}")
    if facts["format_version"] != FORMAT_VERSION:
        raise IndexFileError(f"{path} has another format, [{facts['format_version']}]; {_CURE}")
    return facts


def _is_in(candidates: Tensor, left_out: Sequence[Sequence[int]]) -> Tensor:
    """Which candidates, int64 [B, C], are among the items that their row leaves out."""
    spread = int(candidates.max()) + 1 if candidates.numel() else 1
    rows = torch.arange(len(candidates), device=candidates.device).unsqueeze(1)
    pairs = [row * spread + item for row, items in enumerate(left_out) for item in set(items) if item < spread]
    return torch.isin(rows * spread + candidates, torch.tensor(pairs, dtype=torch.int64, device=candidates.device))
