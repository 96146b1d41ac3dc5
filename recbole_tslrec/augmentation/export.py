"""Information augmentation, first half (Section 4.2): every item alone through the fine-tuned LLM."""

import re
import time
from collections.abc import Iterator
from logging import getLogger
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor
from tqdm import tqdm

from recbole_tslrec import distributed
from recbole_tslrec.artifacts import TENSORS
from recbole_tslrec.llm.loading import LLMError, base_model
from recbole_tslrec.reconstruction.network import ReconstructionNetwork
from recbole_tslrec.tensor_file import TensorFile

Block = tuple[int, int]  # the first item, and the one behind the last
BLOCK = 1024  # items that are written and counted together
_SECONDS_BETWEEN_MARKS = 10.0
KNOWLEDGE, CATEGORIES = "knowledge", "category_distribution"


def prepare_for_export(network: ReconstructionNetwork, dtype: torch.dtype) -> None:
    """Make a network fast at one-item prompts, for good: adapters merged, the LLM in ``dtype``, d_inst computed once.

    A quantised LLM keeps its weights and adapters as they are.
    """
    encoder = network.eval().encoder
    if getattr(base_model(encoder.llm), "hf_quantizer", None) is None:
        if isinstance(encoder.llm, PeftModel):
            encoder.llm = encoder.llm.merge_and_unload()
        encoder.llm.to(dtype)
    encoder.compute_prefix_once()


@torch.no_grad()
def encode_items(network: ReconstructionNetwork, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The prompt with d_ids = one item, for several items.

    Args:
        network: fine-tuned, in evaluation mode.
        rows: stage-0 embeddings e_v, [n, d].

    Returns:
        The knowledge embeddings h^v, [n, H], and the inferred category distributions g-hat^v, [n, K], both float32.
    """
    rows = rows.to(network.head.weight.device)
    hidden = network.encoder(rows, torch.ones(len(rows), dtype=torch.int64, device=rows.device))
    return hidden.float().cpu(), network.predict_distribution(hidden).float().cpu()


def export_items(
    network: ReconstructionNetwork,
    item_embeddings: TensorFile,
    folder: Path,
    batch_size: int,
    show_progress: bool = False,
) -> None:
    """Write ``knowledge`` [N, H] and ``category_distribution`` [N, K] of every item into ``folder/data.safetensors``.

    Rows are read, computed and written in blocks, so that memory does not grow with the catalogue. Blocks that an
    interrupted export left in the folder are not computed again. Several processes share the blocks.

    Args:
        network: of :func:`prepare_for_export`.
        item_embeddings: ``item_embeddings`` [N, d].
        folder: an existing folder.
        batch_size: items per forward pass.
        show_progress: whether to show a bar.

    Raises:
        OSError: the disk has no room for the table; raised before anything is computed.
        LLMError: a hidden state is not finite.
    """
    count = item_embeddings.shapes["item_embeddings"][0]
    shapes = {KNOWLEDGE: (count, network.encoder.hidden_size), CATEGORIES: (count, network.head.out_features)}
    path = folder / TENSORS
    if distributed.is_main() and not path.exists():
        TensorFile.create(path, shapes)
    distributed.wait_for_everyone()
    table = TensorFile(path)
    done = _finished_blocks(folder)
    if done:
        before = sum(stop - start for start, stop in done)
        getLogger().info(f"export goes on: {before} of {count} items were exported before")
    distributed.wait_for_everyone()  # before any process marks a block
    blocks = [(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
    pending = [block for block in blocks if block not in done]
    own = pending[distributed.process_rank() :: distributed.process_count()]
    with tqdm(total=len(own) * BLOCK, desc="Export items", unit="item", disable=not show_progress) as bar:
        for start, stop in _marked(own, table, folder):
            rows = item_embeddings.read_rows("item_embeddings", start, stop)
            encoded = [encode_items(network, batch) for batch in torch.split(rows, batch_size)]
            knowledge, categories = (torch.cat(parts) for parts in zip(*encoded, strict=True))
            _check_finite(knowledge, start)
            table.write_rows(KNOWLEDGE, start, knowledge)
            table.write_rows(CATEGORIES, start, categories)
            bar.update(BLOCK)
    distributed.wait_for_everyone()
    if distributed.is_main():
        for marks in folder.glob("*.blocks"):
            marks.unlink()


def _marked(blocks: list[Block], table: TensorFile, folder: Path) -> Iterator[Block]:
    """The blocks to do; every few seconds those that are done are marked, once they are on the disk."""
    done: list[Block] = []
    marked_at = time.monotonic()
    for block in blocks:
        yield block
        done.append(block)
        if block == blocks[-1] or time.monotonic() - marked_at > _SECONDS_BETWEEN_MARKS:
            table.sync()
            with (folder / f"{distributed.process_rank()}.blocks").open("a") as marks:
                marks.write("".join(f"{start} {stop}\n" for start, stop in done))
            done, marked_at = [], time.monotonic()


def _finished_blocks(folder: Path) -> set[Block]:
    """The blocks that were marked; a line that was cut off counts for nothing."""
    lines = [line for marks in folder.glob("*.blocks") for line in marks.read_text().splitlines(keepends=True)]
    whole = [re.fullmatch(r"(\d+) (\d+)\n", line) for line in lines]
    return {(int(found[1]), int(found[2])) for found in whole if found}


def _check_finite(knowledge: Tensor, start: int) -> None:
    bad = int((~torch.isfinite(knowledge)).any(dim=1).sum())
    if bad:
        raise LLMError(
            f"{bad} of the hidden states of items {start + 1} to {start + len(knowledge)} are not finite; run again "
            "with --export_dtype=float32, or bfloat16 where the LLM was trained in it"
        )
