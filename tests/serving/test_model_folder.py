"""Which folder of a trained model is meant."""

from pathlib import Path

import pytest

from recbole_tslrec.serving.model_folder import chosen_model_folder
from recbole_tslrec.store.artifacts import Recipe, Store, write_item_table
from recbole_tslrec.store.files import write_json


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A whole artifact, and beside it what a run that was interrupted has left."""
    store = Store(tmp_path)
    (tmp_path / "backbone-0.partial").mkdir()
    return store.build("backbone", Recipe({"model": "SASRec"}), lambda folder: write_item_table(folder, [], {})).folder


def test_a_pattern_that_fits_one_model_is_that_model(model: Path) -> None:
    assert chosen_model_folder([f"{model.parent}/backbone-*/"]) == model
    assert chosen_model_folder([f"{model}/", f"{model.parent}/backbone-0.partial/"]) == model


def test_several_models_are_listed(model: Path, tmp_path: Path) -> None:
    other = Store(tmp_path).build("backbone", Recipe({"model": "GRU4Rec"}), lambda folder: None).folder
    with pytest.raises(ValueError, match="2 models fit --model_folder; give one of them:") as refused:
        chosen_model_folder([f"{tmp_path}/backbone-*"])
    assert f"{model}  SASRec, 20" in str(refused.value)
    assert f"{other}  GRU4Rec, 20" in str(refused.value)


def test_models_that_differ_in_their_knowledge_alone_are_told_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def recommender(source: str, item: str) -> Path:
        knowledge = store.build(
            "knowledge", Recipe({"knowledge_source": source}), lambda folder: write_item_table(folder, [item], {})
        )
        recipe = Recipe({"model": "TSLRecSASRec", "seed": 1}, {"knowledge": knowledge.hash})
        return store.build("recommender", recipe, lambda folder: None).folder

    first, second = recommender("tfidf", "a"), recommender("random", "b")
    with pytest.raises(ValueError, match="2 models fit") as refused:
        chosen_model_folder([f"{tmp_path}/recommender-*"])
    assert f"{first}  TSLRecSASRec, knowledge_source=tfidf, 20" in str(refused.value)
    assert f"{second}  TSLRecSASRec, knowledge_source=random, 20" in str(refused.value)


def test_models_that_were_extended_or_copied_without_their_knowledge_are_told_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def recommender(source: str, items: int) -> Path:
        recipe = Recipe({"model": "TSLRecSASRec", "new_items": source}, dataset={"items": items})
        description = {"knowledge_sources": [source]}
        return store.build("recommender", recipe, lambda folder: write_json(folder / "model.json", description)).folder

    first, second = recommender("tfidf", 30), recommender("stage0", 32)
    with pytest.raises(ValueError, match="2 models fit") as refused:
        chosen_model_folder([f"{tmp_path}/recommender-*"])
    assert f"{first}  TSLRecSASRec, items=30, knowledge_source=tfidf, 20" in str(refused.value)
    assert f"{second}  TSLRecSASRec, items=32, knowledge_source=stage0, 20" in str(refused.value)


def test_a_folder_that_is_not_there_is_left_to_be_refused() -> None:
    assert chosen_model_folder(["nowhere"]) == Path("nowhere")
