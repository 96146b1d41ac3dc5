"""Information augmentation, first half (Section 4.2): every item alone through the fine-tuned LLM."""

import re
import time
from collections.abc import Callable, Iterator
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from recbole_tslrec.augmentation.item_contexts import ItemContexts
from recbole_tslrec.augmentation.vectors import CATEGORIES, KNOWLEDGE
from recbole_tslrec.compute import distributed
from recbole_tslrec.llm.adapters import is_quantized, merge_adapters
from recbole_tslrec.llm.encoder import LAST, MEAN
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.llm.item_text import ItemText
from recbole_tslrec.sft.network import PromptNetwork
from recbole_tslrec.store.artifacts import TENSORS, UNFINISHED
from recbole_tslrec.store.files import hash_arrays, link_file
from recbole_tslrec.store.tensor_file import TensorFile

Block = tuple[int, int]  # the first item, and the one behind the last
EncodeBlock = Callable[[int, int], tuple[Tensor, Tensor]]  # a block -> knowledge [n, H], category distribution [n, K]
BLOCK = 1024  # items that are written and counted together
_SECONDS_BETWEEN_MARKS = 10.0


def prepare_for_export(network: PromptNetwork, dtype: torch.dtype, pooling: str = LAST) -> None:
    """Make a network fast at one-item prompts, for good: adapters merged, the LLM in ``dtype``, d_inst computed once.

    A quantised LLM keeps its weights and adapters as they are.

    Args:
        network: fine-tuned, or not.
        dtype: the floating-point type of ``export_dtype``.
        pooling: the value of ``export_pooling``.
    """
    encoder = network.eval().encoder
    encoder.pooling = pooling
    merge_adapters(encoder)
    if not is_quantized(encoder.llm):
        encoder.llm.to(dtype)
    encoder.compute_prefix_once()


def encode_items(network: PromptNetwork, rows: Tensor, item_text: ItemText | None = None) -> tuple[Tensor, Tensor]:
    """The prompt with d_ids = one item, for several items.

    Args:
        network: fine-tuned, in evaluation mode.
        rows: stage-0 embeddings e_v, [n, d].
        item_text: the words of the same items, if the prompt has it.

    Returns:
        The knowledge embeddings h^v, [n, H], and the inferred category distributions g-hat^v, [n, K], both float32.
    """
    return encode_prompts(network, rows, torch.ones(len(rows), dtype=torch.int64), item_text)


@torch.no_grad()
def encode_prompts(
    network: PromptNetwork, rows: Tensor, item_count: Tensor, item_text: ItemText | None = None
) -> tuple[Tensor, Tensor]:
    """Hidden states [B, H] and predicted distributions [B, K] of prompts, both float32.

    The distribution is read where it was trained, at the last token, whatever ``export_pooling`` says.

    Args:
        network: fine-tuned, in evaluation mode.
        rows: stage-0 embeddings of the prompts' items, one prompt after the other, [sum of item_count, d].
        item_count: items of each prompt, int64 [B].
        item_text: the words of the same items, if the prompts have it.
    """
    head: Any = network.head  # of :class:`recbole_tslrec.reconstruction.loss.PreferenceHead`
    device = head.weight.device
    states = network.encoder.hidden_states(rows.to(device), item_count.to(device), item_text)
    last = states.last.float()
    knowledge = states.mean_of_item if network.encoder.pooling == MEAN else last
    return knowledge.cpu(), head.distribution(last).float().cpu()


def export_items(
    network: PromptNetwork,
    item_embeddings: TensorFile,
    folder: Path,
    batch_size: int,
    show_progress: bool = False,
    contexts: ItemContexts | None = None,
) -> None:
    """Write ``knowledge`` [N, H] and ``category_distribution`` [N, K] of every item into ``folder/data.safetensors``.

    Rows are read, computed and written in blocks, so that memory does not grow with the catalogue. Blocks that an
    interrupted export left in ``folder/unfinished`` are not computed again. Several processes share the blocks.

    Args:
        network: the network from :func:`prepare_for_export`; its item texts, if any, are of the same items.
        item_embeddings: ``item_embeddings`` [N, d].
        folder: an existing folder.
        batch_size: items per forward pass.
        show_progress: whether to show a bar.
        contexts: prompts to average over (``export_context: users``); ``None`` gives each item alone.

    Raises:
        OSError: the disk has no room for the table; raised before anything is computed.
        LLMError: a hidden state is not finite.
    """
    count = item_embeddings.shapes["item_embeddings"][0]
    head: Any = network.head
    shapes = {KNOWLEDGE: (count, network.encoder.hidden_size), CATEGORIES: (count, head.out_features)}
    work = folder / UNFINISHED
    path = work / TENSORS
    if distributed.is_main() and not path.exists():
        work.mkdir(exist_ok=True)
        TensorFile.create(path, shapes)
    distributed.wait_for_everyone()
    table = TensorFile(path)
    done = _finished_blocks(work, table)
    if done:
        before = sum(stop - start for start, stop in done)
        getLogger().info(f"export goes on: {before} of {count} items were exported before")
    distributed.wait_for_everyone()  # before any process marks a block
    blocks = [(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
    pending = [block for block in blocks if block not in done]
    own = pending[distributed.process_rank() :: distributed.process_count()]
    encode_block = _alone(network, item_embeddings, batch_size)
    if contexts is not None:
        encode_block = _in_contexts(network, item_embeddings, batch_size, contexts)
    with tqdm(total=len(own) * BLOCK, desc="Export items", unit="item", disable=not show_progress) as bar:
        for start, stop in _marked(own, table, work):
            knowledge, categories = encode_block(start, stop)
            _check_finite(knowledge, start)
            table.write_rows(KNOWLEDGE, start, knowledge)
            table.write_rows(CATEGORIES, start, categories)
            bar.update(BLOCK)
    distributed.wait_for_everyone()
    if distributed.is_main():
        link_file(path, folder / TENSORS)


def warn_of_few_categories(table: TensorFile) -> None:
    """Say so where items are hardly told apart: their vectors then hold little of what Stage 1 has learned.

    The paper's task asks of an item alone that its inferred category, the largest entry of its g-hat^v, is its group;
    so every category should be some item's.

    Args:
        table: the table from :func:`export_items`.
    """
    count, group_count = table.shapes[CATEGORIES]
    is_inferred = torch.zeros(group_count, dtype=torch.bool)
    for start in range(0, count, BLOCK):
        distribution = table.read_rows(CATEGORIES, start, min(start + BLOCK, count))  # [n, K]
        is_inferred[distribution.argmax(dim=1)] = True
    found = int(is_inferred.sum())
    if 2 * found < group_count:
        getLogger().warning(
            f"alone in the prompt, all items are put into {found} of the {group_count} categories: it was fine-tuned "
            "too little, or on histories that are far from a single item. Try more --sft_epochs, or "
            "--target_view=rest, where half of the prompts have one item"
        )


def _alone(network: PromptNetwork, item_embeddings: TensorFile, batch_size: int) -> EncodeBlock:
    def encode(start: int, stop: int) -> tuple[Tensor, Tensor]:
        rows = item_embeddings.read_rows("item_embeddings", start, stop)
        batches = (torch.split(part, batch_size) for part in (rows, torch.arange(start + 1, stop + 1)))
        encoded = [encode_items(network, part, _texts(network, ids)) for part, ids in zip(*batches, strict=True)]
        knowledge, categories = (torch.cat(parts) for parts in zip(*encoded, strict=True))
        return knowledge, categories

    return encode


def _in_contexts(
    network: PromptNetwork, item_embeddings: TensorFile, batch_size: int, contexts: ItemContexts
) -> EncodeBlock:
    table = item_embeddings.read_rows("item_embeddings", 0, item_embeddings.shapes["item_embeddings"][0])  # [N, d]

    def encode(start: int, stop: int) -> tuple[Tensor, Tensor]:
        head: Any = network.head
        widths = network.encoder.hidden_size, head.out_features
        knowledge, categories = (torch.zeros(stop - start, width) for width in widths)
        share = 1 / contexts.counts(start, stop).float().unsqueeze(1)  # [n, 1]
        for items, counts, exported in contexts.batches(start, stop, batch_size):
            of_item = exported - 1 - start  # [B]
            hidden, predicted = encode_prompts(network, table[items - 1], counts, _texts(network, items))
            knowledge.index_add_(0, of_item, hidden * share[of_item])
            categories.index_add_(0, of_item, predicted * share[of_item])
        return knowledge, categories

    return encode


def _texts(network: PromptNetwork, items: Tensor) -> ItemText | None:
    """The texts of item ids, on the network's device, if its prompt has texts."""
    return None if network.item_text is None else network.item_text.rows(items.to(network.item_text.counts.device))


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
                marks.write("".join(f"{start} {stop} {_hash_block(table, start, stop)}\n" for start, stop in done))
            done, marked_at = [], time.monotonic()


def _finished_blocks(folder: Path, table: TensorFile) -> set[Block]:
    """The blocks that were marked and are as they were then; a line that was cut off counts for nothing."""
    lines = [line for marks in folder.glob("*.blocks") for line in marks.read_text().splitlines(keepends=True)]
    whole = [re.fullmatch(r"(\d+) (\d+) ([0-9a-f]{64})\n", line) for line in lines]
    marked = {(int(found[1]), int(found[2])): found[3] for found in whole if found}
    finished = {block for block, digest in marked.items() if _hash_block(table, *block) == digest}
    if len(finished) < len(marked):
        getLogger().warning(
            f"{table.path}: {len(marked) - len(finished)} of {len(marked)} exported blocks differ from their hashes, "
            "and are computed again"
        )
    return finished


def _hash_block(table: TensorFile, start: int, stop: int) -> str:
    return hash_arrays(*(table.read_rows(name, start, stop).numpy() for name in (KNOWLEDGE, CATEGORIES)))


def _check_finite(knowledge: Tensor, start: int) -> None:
    bad = int((~torch.isfinite(knowledge)).any(dim=1).sum())
    if bad:
        raise LLMError(
            f"{bad} of the hidden states of items {start + 1} to {start + len(knowledge)} are not finite; run again "
            "with --export_dtype=float32, or bfloat16 where the LLM was trained in it"
        )
