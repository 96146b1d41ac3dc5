"""LLM baselines in use: scores as in the evaluation, and what cannot be served."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_tslrec.evaluation.held_out import held_out
from recbole_tslrec.evaluation.per_user import read_users
from recbole_tslrec.evaluation.result_files import users_file
from recbole_tslrec.pipeline.run import Run
from recbole_tslrec.serving.model_export import export
from recbole_tslrec.serving.recommend import recommend
from recbole_tslrec.store.artifacts import ArtifactError

SERVED = {"E4SRec": "llm_task", "LlamaRec": "ranker"}
SETTINGS: dict[str, dict[str, Any]] = {
    "E4SRec": {},
    "LlamaRec": {"retriever": "SASRec", "ranker_title_tokens": 4, "scratch_context_length": 2048},
    "P5": {"p5_prompts": 1},
    "POD": {"pod_candidates": 5},
}


@pytest.fixture
def run_of(trained: Callable[..., Run]) -> Callable[[str], Run]:
    """``run_of(name)``: the finished run of a baseline."""
    return lambda name: trained(name, **SETTINGS[name])


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("E4SRec", {}),
        ("E4SRecGRU4Rec", {"prompt_max_items": 12}),  # more than the rows of an evaluation hold
        ("LlamaRec", {}),
        ("LlamaRec", {"retriever": "FMLPRec"}),  # which needs rows of full length
        ("LlamaRec", {"retriever": "BERT4Rec"}),  # which reads keys that no other retriever does
    ],
)
def test_a_test_users_target_has_the_place_that_the_evaluation_gave_it(
    trained: Callable[..., Run], model: str, settings: dict[str, Any]
) -> None:
    """Of every test user's history, unmasked, all items in order."""
    name = "LlamaRec" if model.startswith("LlamaRec") else "E4SRec"
    run = trained(model, **{**SETTINGS[name], **settings})
    rows, tokens = held_out(run.data, "test"), np.array(run.data.item_tokens, dtype=object)
    histories = {
        str(user): tokens[rows.items[start : start + length] - 1].tolist()
        for user, start, length in zip(rows.user_tokens, rows.start, rows.length, strict=True)
    }
    folder = run.artifacts[SERVED[name]].folder
    found = recommend(folder, histories, k=len(tokens), mask_history=False)
    places = [
        1 + [item for item, _ in found[str(user)]].index(tokens[target - 1])
        for user, target in zip(rows.user_tokens, rows.target, strict=True)
    ]
    users = read_users(run.evaluations[name].folder / users_file("test")).frame
    assert places == users["rank_unmasked"].tolist()


@pytest.mark.parametrize("name", ["P5", "POD"])
def test_models_that_name_users_say_why_they_are_not_served(run_of: Callable[[str], Run], name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} calls users by the numbers that it was trained with"):
        recommend(run_of(name).artifacts["llm_task"].folder, {"a": ["i1"]})


def test_a_retriever_that_knows_users_is_not_served(trained: Callable[..., Run]) -> None:
    run = trained("LlamaRec", **{**SETTINGS["LlamaRec"], "retriever": "Caser"})
    with pytest.raises(ValueError, match="Caser has an embedding per user"):
        recommend(run.artifacts["ranker"].folder, {"a": ["i1"]})


@pytest.mark.parametrize("name", SERVED)
def test_export_is_refused(run_of: Callable[[str], Run], name: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="an LLM that ranks; it has no table of items to export"):
        export(run_of(name).artifacts[SERVED[name]].folder, "parquet", tmp_path / "items.parquet")


def test_a_missing_retriever_is_named(run_of: Callable[[str], Run], tmp_path: Path) -> None:
    ranker = run_of("LlamaRec").artifacts["ranker"].folder
    alone = shutil.copytree(ranker, tmp_path / ranker.name)
    with pytest.raises(ArtifactError, match=r"was made of a \[retriever\] artifact that is not in"):
        recommend(alone, {"a": ["i1"]})
