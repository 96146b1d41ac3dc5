"""Information augmentation, first half (Section 4.2): every item alone through the fine-tuned LLM."""

from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from recbole_tslrec.artifacts import write_item_table
from recbole_tslrec.reconstruction.network import ReconstructionNetwork


@torch.no_grad()
def export_items(
    network: ReconstructionNetwork, item_count: int, batch_size: int, show_progress: bool = False
) -> tuple[Tensor, Tensor]:
    """The prompt with d_ids = one item, for every item.

    Args:
        network: fine-tuned.
        item_count: N.
        batch_size: items per forward pass.
        show_progress: whether to show a bar.

    Returns:
        The knowledge embeddings h^v, [N, H], and the inferred category distributions g-hat^v, [N, K]; row i is of item
        id i + 1.
    """
    network.eval()
    device = network.head.weight.device
    knowledge, categories = [], []
    items = torch.arange(1, item_count + 1)
    with tqdm(total=item_count, desc="Export items", unit="item", disable=not show_progress) as bar:
        for batch in torch.split(items, batch_size):
            hidden, category = network(batch.unsqueeze(1).to(device), torch.ones_like(batch).to(device))
            knowledge.append(hidden.cpu())
            categories.append(category.cpu())
            bar.update(len(batch))
    return torch.cat(knowledge), torch.cat(categories)


def write_knowledge(folder: Path, item_tokens: list[str], knowledge: Tensor, categories: Tensor) -> None:
    """Write a ``knowledge`` artifact's files: ``knowledge`` [N, H] and ``category_distribution`` [N, K]."""
    write_item_table(folder, item_tokens, {"knowledge": knowledge, "category_distribution": categories})
