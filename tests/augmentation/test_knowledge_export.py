"""Every item alone through the LLM, streamed to a file, and going on after an interruption."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from recbole_tslrec.augmentation import knowledge_export
from recbole_tslrec.augmentation.item_contexts import sample_contexts
from recbole_tslrec.augmentation.knowledge_export import export_items, prepare_for_export, warn_of_few_categories
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.llm.item_text import ItemText
from recbole_tslrec.llm.settings import LAYOUTS
from recbole_tslrec.reconstruction.settings import ReconstructionSettings
from recbole_tslrec.reconstruction.task import untuned_network
from recbole_tslrec.sft.network import PromptNetwork
from recbole_tslrec.store.artifacts import UNFINISHED
from recbole_tslrec.store.tensor_file import TensorFile

ITEMS, SIZE = 11, 5
ROWS = torch.randn(ITEMS, SIZE, generator=torch.Generator().manual_seed(0))

MakeNetwork = Callable[..., PromptNetwork]


@pytest.fixture
def make_network(make_config: Callable[..., Any], llama_folder: Path) -> MakeNetwork:
    """``make_network(item_text, **settings)``: a tiny Llama with adapters that do something (a fresh B is zero)."""

    def make(item_text: ItemText | None = None, **settings: Any) -> PromptNetwork:
        config = make_config(llm_name_or_path=str(llama_folder), lora_rank=4, **settings)
        rows = torch.cat([torch.zeros(1, SIZE), ROWS])
        network = untuned_network(ReconstructionSettings.of(config), rows, item_text)
        generator = torch.Generator().manual_seed(1)
        for name, weight in network.named_parameters():
            if "lora_B" in name:
                weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
        return network

    return make


@pytest.fixture
def item_embeddings(tmp_path: Path) -> TensorFile:
    save_file({"item_embeddings": ROWS}, tmp_path / "backbone.safetensors")
    return TensorFile(tmp_path / "backbone.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "export").mkdir()
    return tmp_path / "export"


@torch.no_grad()
def items_alone(network: PromptNetwork) -> tuple[Tensor, Tensor]:
    """h^v and g-hat^v as training computes them, one item at a time."""
    found = [network.eval()(torch.tensor([[item]]), torch.tensor([1]))[0] for item in range(1, ITEMS + 1)]
    hidden = torch.cat(found)
    return hidden, network.head.distribution(hidden)


# what is exported


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_each_row_is_the_item_alone_whatever_batch_and_layout(
    make_network: MakeNetwork, item_embeddings: TensorFile, folder: Path, batch_size: int, layout: str
) -> None:
    """With the adapters beside the LLM; the export has merged them into it."""
    network = make_network(sft_layout=layout)
    hidden, categories = items_alone(network)
    prepare_for_export(network, torch.float32)
    assert network.encoder.layout == layout
    assert not any("lora_" in name for name, _ in network.named_parameters())
    export_items(network, item_embeddings, folder, batch_size)
    table = load_file(folder / "data.safetensors")
    assert table.keys() == {"knowledge", "category_distribution"}
    assert table["knowledge"].shape == (ITEMS, 16)
    torch.testing.assert_close(table["knowledge"], hidden, rtol=0, atol=1e-5)
    torch.testing.assert_close(table["category_distribution"], categories, rtol=0, atol=1e-5)


def test_adapters_matter_to_the_table(make_network: MakeNetwork) -> None:
    """Otherwise the merge could lose them and nobody would see it."""
    network = make_network()
    with_adapters, _ = items_alone(network)
    with network.encoder.llm.disable_adapter():
        without, _ = items_alone(network)
    assert (with_adapters - without).abs().max() > 0.01


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_points_the_same_way(
    make_network: MakeNetwork, item_embeddings: TensorFile, folder: Path, layout: str
) -> None:
    network = make_network(sft_layout=layout)
    hidden, _ = items_alone(network)
    prepare_for_export(network, torch.bfloat16)
    export_items(network, item_embeddings, folder, batch_size=4)
    knowledge = load_file(folder / "data.safetensors")["knowledge"]
    assert knowledge.dtype == torch.float32
    assert torch.cosine_similarity(knowledge, hidden).min() > 0.999


def test_the_blocks_of_a_table_do_not_show(
    make_network: MakeNetwork, item_embeddings: TensorFile, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eleven items in blocks of four, each in two forward passes."""
    monkeypatch.setattr(knowledge_export, "BLOCK", 4)
    network = make_network()
    hidden, _ = items_alone(network)
    prepare_for_export(network, torch.float32)
    export_items(network, item_embeddings, folder, batch_size=3)
    torch.testing.assert_close(load_file(folder / "data.safetensors")["knowledge"], hidden, rtol=0, atol=1e-5)


# our options: texts of items, and items in histories

TEXT = ItemText.of([[], *([item] * (item % 3) for item in range(1, ITEMS + 1))])
# items 1 and 2 have two users each, item 11 one; the others stand alone
HISTORIES = Histories(["a", "b", "c"], np.array([1, 2, 2, 1, 11]), np.array([0, 2, 4, 5]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("text", [None, TEXT], ids=["no text", "text"])
def test_items_in_histories_are_averaged(
    make_network: MakeNetwork,
    item_embeddings: TensorFile,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
    text: ItemText | None,
) -> None:
    """Item 1 stands in the prompts [1] and [2 1], item 2 in [1 2] and [2], whatever blocks and batches."""
    monkeypatch.setattr(knowledge_export, "BLOCK", 4)
    network = make_network(text, sft_layout=layout)
    hidden, categories = items_alone(network)
    with torch.no_grad():
        pairs, _ = network(torch.tensor([[2, 1], [1, 2]]), torch.tensor([2, 2]))
        predicted = network.head.distribution(pairs)
    hidden[:2], categories[:2] = (hidden[:2] + pairs) / 2, (categories[:2] + predicted) / 2
    prepare_for_export(network, torch.float32)
    contexts = sample_contexts(HISTORIES, ITEMS, max_items=5, seed=0)
    export_items(network, item_embeddings, folder, batch_size=3, contexts=contexts)
    table = load_file(folder / "data.safetensors")
    torch.testing.assert_close(table["knowledge"], hidden, rtol=0, atol=1e-5)
    torch.testing.assert_close(table["category_distribution"], categories, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_row_is_the_item_alone_with_its_text(
    make_network: MakeNetwork,
    item_embeddings: TensorFile,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
) -> None:
    """In blocks of four items and batches of three, as training computes it; item 3 has no text and is as without."""
    monkeypatch.setattr(knowledge_export, "BLOCK", 4)
    network = make_network(TEXT, sft_layout=layout)
    hidden, _ = items_alone(network)
    without, _ = items_alone(make_network(sft_layout=layout))
    prepare_for_export(network, torch.float32)
    export_items(network, item_embeddings, folder, batch_size=3)
    knowledge = load_file(folder / "data.safetensors")["knowledge"]
    torch.testing.assert_close(knowledge, hidden, rtol=0, atol=1e-5)
    torch.testing.assert_close(knowledge[2], without[2], rtol=0, atol=1e-5)
    assert (knowledge[0] - without[0]).abs().max() > 1e-3


# interruptions


class Counted:
    """``encode_items`` that notes how many items it was given, and is interrupted at one of its calls."""

    def __init__(self, interrupted_at: int | None = None) -> None:
        self.encode, self.interrupted_at = knowledge_export.encode_items, interrupted_at
        self.items: list[int] = []

    def __call__(self, network: PromptNetwork, rows: Tensor, *text: Any) -> tuple[Tensor, Tensor]:
        if len(self.items) == self.interrupted_at:
            raise KeyboardInterrupt
        self.items.append(len(rows))
        return self.encode(network, rows, *text)


@pytest.mark.parametrize(
    ("seconds", "missing"),
    [(-1.0, [3, 2]), (1e9, [3, 3, 3, 2])],  # every block is marked at once; none was when it was interrupted
    ids=["marked", "not yet marked"],
)
def test_an_interrupted_export_computes_what_is_missing_and_ends_bit_equal(
    make_network: MakeNetwork,
    item_embeddings: TensorFile,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    missing: list[int],
) -> None:
    """Blocks of 3, 3, 3 and 2 items; two are done when it is interrupted."""
    monkeypatch.setattr(knowledge_export, "BLOCK", 3)
    monkeypatch.setattr(knowledge_export, "_SECONDS_BETWEEN_MARKS", seconds)
    network = make_network()
    prepare_for_export(network, torch.float32)
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    export_items(network, item_embeddings, undisturbed, batch_size=3)

    encode = knowledge_export.encode_items
    monkeypatch.setattr(knowledge_export, "encode_items", Counted(interrupted_at=2))
    with pytest.raises(KeyboardInterrupt):
        export_items(network, item_embeddings, folder, batch_size=3)
    monkeypatch.setattr(knowledge_export, "encode_items", encode)
    again = Counted()
    monkeypatch.setattr(knowledge_export, "encode_items", again)
    export_items(network, item_embeddings, folder, batch_size=3)
    assert again.items == missing
    assert (folder / "data.safetensors").read_bytes() == (undisturbed / "data.safetensors").read_bytes()


def test_a_mark_that_was_cut_off_does_not_count(
    make_network: MakeNetwork, item_embeddings: TensorFile, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are of three items; two are marked, the second but for the end of its hash."""
    monkeypatch.setattr(knowledge_export, "BLOCK", 3)
    network = make_network()
    prepare_for_export(network, torch.float32)
    export_items(network, item_embeddings, folder, batch_size=3)
    marks = folder / UNFINISHED / "0.blocks"
    first, second, *_ = marks.read_text().splitlines()
    marks.write_text(f"{first}\n{second[:-1]}")
    counted = Counted()
    monkeypatch.setattr(knowledge_export, "encode_items", counted)
    export_items(network, item_embeddings, folder, batch_size=3)
    assert counted.items == [3, 3, 2]


def test_marks_of_blocks_of_another_size_do_not_count(
    make_network: MakeNetwork, item_embeddings: TensorFile, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items 1 to 5 were marked, and 6 to 10, and 11; now blocks are of ten items."""
    network = make_network()
    prepare_for_export(network, torch.float32)
    monkeypatch.setattr(knowledge_export, "BLOCK", 5)
    export_items(network, item_embeddings, folder, batch_size=6)
    monkeypatch.setattr(knowledge_export, "BLOCK", 10)
    counted = Counted()
    monkeypatch.setattr(knowledge_export, "encode_items", counted)
    export_items(network, item_embeddings, folder, batch_size=6)
    assert counted.items == [6, 4]  # the last block, 10 to 11, is as it was


def test_a_block_that_was_changed_on_the_disk_is_computed_again(
    make_network: MakeNetwork,
    item_embeddings: TensorFile,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(knowledge_export, "BLOCK", 3)
    network = make_network()
    prepare_for_export(network, torch.float32)
    export_items(network, item_embeddings, folder, batch_size=3)
    undisturbed = (folder / "data.safetensors").read_bytes()
    TensorFile(folder / UNFINISHED / "data.safetensors").write_rows(
        "knowledge", 4, torch.zeros(1, network.encoder.hidden_size)
    )
    counted = Counted()
    monkeypatch.setattr(knowledge_export, "encode_items", counted)
    export_items(network, item_embeddings, folder, batch_size=3)
    assert counted.items == [3]
    assert "1 of 4 exported blocks differ from their hashes" in caplog.text
    assert (folder / "data.safetensors").read_bytes() == undisturbed


# what goes wrong


def test_a_hidden_state_that_is_not_finite_names_the_items_and_the_key(
    make_network: MakeNetwork, item_embeddings: TensorFile, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items 4 to 6 are the second block; the stage-0 row of the fifth is not finite."""
    monkeypatch.setattr(knowledge_export, "BLOCK", 3)
    network = make_network()
    prepare_for_export(network, torch.float32)
    item_embeddings.write_rows("item_embeddings", 4, torch.full((1, SIZE), float("inf")))
    message = r"\d of the hidden states of items 4 to 6 are not finite.*--export_dtype=float32"
    with pytest.raises(LLMError, match=message):
        export_items(network, item_embeddings, folder, batch_size=3)


def test_a_full_disk_is_said_before_anything_is_computed(
    make_network: MakeNetwork, item_embeddings: TensorFile, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    counted = Counted()
    monkeypatch.setattr(knowledge_export, "encode_items", counted)
    network = make_network()
    prepare_for_export(network, torch.float32)
    with pytest.raises(OSError, match=r"needs .* GiB, its disk has .* GiB free"):
        export_items(network, item_embeddings, folder, batch_size=3)
    assert not counted.items
    assert not [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("inferred", "told"), [([0, 2, 2, 0, 2], "2 of the 5"), ([0, 2, 2, 4, 0], "")])
def test_items_that_are_hardly_told_apart_are_spoken_of(
    folder: Path, inferred: list[int], told: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knowledge_export, "BLOCK", 2)
    distribution = 0.9 * torch.eye(5)[inferred] + 0.02
    save_file({"category_distribution": distribution}, folder / "data.safetensors")
    warn_of_few_categories(TensorFile(folder / "data.safetensors"))
    assert (told in caplog.text) if told else not caplog.text
