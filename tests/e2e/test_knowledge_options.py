"""Our options on the way to the knowledge rows: texts of items, items in histories, categories beside hidden states."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.serving.extend import extend_knowledge
from recbole_tslrec.settings import ConfigError
from tests.conftest import small_config

MakeConfig = Callable[..., Any]


def write_titles(folder: Path) -> None:
    """Titles and kinds of the toy dataset's items i0 to i29; i4 is not in the file."""
    rows = [f"i{item}\tname of_{item}\tkind_{item % 3}" for item in range(30) if item != 4]
    text = "\n".join(["item_id:token\ttitle:token_seq\tcategories:token_seq", *rows]) + "\n"
    (folder / "data" / "toy" / "toy.item").write_text(text)


@pytest.fixture
def titled(tmp_path: Path) -> MakeConfig:
    """A configuration of a dataset whose items have titles."""

    def make(**settings: Any) -> Any:
        config = small_config(tmp_path, "TSLRecSASRec", **settings)
        write_titles(tmp_path)
        return config

    return make


def test_texts_change_the_llm_and_nothing_before_it(titled: MakeConfig, tmp_path: Path) -> None:
    plain = run_stages(titled(), stop_after="knowledge")
    run = run_stages(titled(prompt_item_text="title"), stop_after="knowledge")
    assert [stage for stage, reused in run.reused.items() if not reused] == ["sft", "knowledge"]
    tables = [found.artifacts["knowledge"].tensors()["knowledge"] for found in (plain, run)]
    assert (tables[0] - tables[1]).abs().max() > 1e-3
    tokens = [found.artifacts["sft"].manifest["report"]["estimate"]["epoch"]["tokens"] for found in (plain, run)]
    assert tokens[1] - tokens[0] > 9 * 8 * 30  # users x items x nine bytes of "name of 1", for 38 of 40 users
    (tmp_path / "data" / "toy" / "toy.item").write_text("item_id:token\ttitle:token_seq\ni1\tanother\n")
    again = run_stages(small_config(tmp_path, "TSLRecSASRec", prompt_item_text="title"), stop_after="knowledge")
    assert not again.reused["sft"]


def test_both_layouts_train_the_same_with_texts(titled: MakeConfig) -> None:
    tables = []
    for layout in ("prefix_row", "padded"):
        config = titled(prompt_item_text=["title", "categories"], sft_layout=layout, export_dtype="float32")
        run = run_stages(config, rebuild=["sft", "knowledge"], stop_after="knowledge")
        tables.append(run.artifacts["knowledge"].tensors()["knowledge"])
    torch.testing.assert_close(tables[0], tables[1], rtol=0, atol=1e-4)


def test_a_short_context_takes_fewer_items_with_texts(titled: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    """d_inst has BOS and 26 bytes, d_res 9; a title has at most 10. So 92 - 36 tokens hold five items of 11."""
    short = {"prompt_instruction": "predict the user's taste..", "scratch_context_length": 92}
    run = run_stages(titled(prompt_item_text="title", **short), stop_after="knowledge")
    assert "the LLM's context holds 5 items" in caplog.text
    assert run.artifacts["knowledge"].tensors()["knowledge"].isfinite().all()


def test_items_in_histories_are_exported_from_the_same_llm(titled: MakeConfig) -> None:
    alone = run_stages(titled(export_dtype="float32"), stop_after="knowledge").artifacts["knowledge"]
    run = run_stages(titled(export_dtype="float32", export_context="users"))
    assert run.reused["sft"]
    knowledge = run.artifacts["knowledge"]
    assert knowledge.item_tokens() == alone.item_tokens()
    assert (knowledge.tensors()["knowledge"] - alone.tensors()["knowledge"]).abs().max() > 1e-3
    shares = knowledge.tensors()["category_distribution"].sum(dim=1)
    torch.testing.assert_close(shares, torch.ones(30))


def test_pooling_changes_the_vectors_and_not_the_categories(titled: MakeConfig) -> None:
    """The head was trained on the last token's state."""
    settings = {"prompt_item_text": "title", "export_dtype": "float32"}
    last = run_stages(titled(**settings), stop_after="knowledge")
    mean = run_stages(titled(**settings, export_pooling="mean"), stop_after="knowledge")
    assert mean.reused["sft"]
    found, expected = (run.artifacts["knowledge"].tensors() for run in (mean, last))
    assert torch.equal(found["category_distribution"], expected["category_distribution"])
    assert (found["knowledge"] - expected["knowledge"]).abs().max() > 1e-3


def test_without_vectors_equal_words_give_equal_knowledge(titled: MakeConfig) -> None:
    """Items 1, 7 and 28 are of kind 1, item 4 would be but has no words; the others are of other kinds."""
    settings = {"prompt_item_text": "categories", "prompt_item_vector": False, "export_dtype": "float32"}
    knowledge = run_stages(titled(**settings), stop_after="knowledge").artifacts["knowledge"]
    row_of = dict(zip(knowledge.item_tokens(), knowledge.tensors()["knowledge"], strict=True))
    for token in ("i7", "i28"):
        torch.testing.assert_close(row_of[token], row_of["i1"], rtol=0, atol=1e-5)
    for token in ("i4", "i2", "i3"):
        assert (row_of[token] - row_of["i1"]).abs().max() > 1e-3


def test_an_untuned_llm_takes_the_same_options(titled: MakeConfig) -> None:
    settings = {"prompt_item_text": "title", "export_context": "users", "knowledge_source": "untuned"}
    run = run_stages(titled(**settings), stop_after="knowledge")
    assert run.artifacts["knowledge"].manifest["settings"].items() >= {"export_context": "users"}.items()
    assert "item_text" in run.artifacts["knowledge"].manifest["contents"]


# what goes wrong


@pytest.mark.parametrize("key", ["export_context", "export_pooling"])
def test_an_unknown_value_is_refused_at_once(make_config: MakeConfig, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} \[other\] is not one of "):
        make_config("TSLRecSASRec", **{key: "other"})


def test_an_unknown_column_is_refused_before_the_backbone_is_trained(titled: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no column of text \[genre\]; .* title, categories"):
        run_stages(titled(prompt_item_text="genre"))
    assert not [*(tmp_path / "artifacts").glob("*/backbone*")]


def test_neither_words_nor_vectors_are_refused_before_the_backbone_is_trained(
    titled: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="prompt_item_vector=False leaves nothing of an item in the prompt"):
        run_stages(titled(prompt_item_vector=False))
    assert not [*(tmp_path / "artifacts").glob("*/backbone*")]


def test_new_items_are_refused_by_an_llm_that_reads_words_alone(titled: MakeConfig) -> None:
    recommender = run_stages(titled(prompt_item_text="title", prompt_item_vector=False)).artifacts["recommender"]
    before = sorted(path.name for path in recommender.folder.parent.iterdir())
    with pytest.raises(
        ValueError, match=r"sft-\w+ reads words of items and no vectors .* train with prompt_item_vector"
    ):
        extend_knowledge(recommender.folder, {"new": ["i1", "i2"]})
    assert sorted(path.name for path in recommender.folder.parent.iterdir()) == before


@pytest.mark.parametrize("view", ["own", "rest"])
def test_a_stage_1_that_tells_no_items_apart_is_spoken_of(
    titled: MakeConfig, caplog: pytest.LogCaptureFixture, view: str
) -> None:
    """Hardly trained, the LLM says the same of every item; with the rest as the target that may be right."""
    for _ in range(2):  # said again where the knowledge is reused
        caplog.clear()
        settings = {"group_count": 12, "sft_epochs": 1, "sft_learning_rate": 1e-9, "target_view": view}
        run_stages(titled(**settings), stop_after="knowledge")
        assert ("of the 12 categories: it was fine-tuned too little" in caplog.text) == (view == "own")
