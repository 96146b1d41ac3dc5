"""Every item alone through the LLM."""

from collections.abc import Callable
from typing import Any

import torch

from recbole_tslrec.augmentation.export import export_items
from recbole_tslrec.reconstruction.network import build_network


def test_each_row_is_the_item_alone_whatever_the_batch(make_config: Callable[..., Any]) -> None:
    rows = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    network = build_network(make_config(), rows)
    knowledge, categories = export_items(network, item_count=7, batch_size=3)
    assert knowledge.shape == (7, 16)
    assert categories.shape == (7, 4)
    for item in range(1, 8):
        with torch.no_grad():
            hidden, category = network(torch.tensor([[item]]), torch.tensor([1]))
        torch.testing.assert_close(knowledge[item - 1], hidden[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(categories[item - 1], category[0], rtol=0, atol=1e-5)
