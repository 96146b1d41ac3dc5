"""LLM baselines as a whole, on a toy dataset: stages, what they share, and ranks recomputed by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_tslrec.baselines.e4srec import load_ranker
from recbole_tslrec.baselines.settings import E4SRecSettings
from recbole_tslrec.evaluation.held_out import held_out
from recbole_tslrec.evaluation.per_user import read_users
from recbole_tslrec.evaluation.result_files import users_file
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.pipeline.stage_0 import data_config
from recbole_tslrec.pipeline.stage_1 import stage_0_rows
from recbole_tslrec.result import Result
from recbole_tslrec.settings import ConfigError

MakeConfig = Callable[..., Any]


def test_e4srec_shares_the_backbone_of_tslrec(make_config: MakeConfig) -> None:
    run_stages(make_config("TSLRecSASRec"), stop_after="item_embeddings")
    run = run_stages(make_config("E4SRec"))
    assert run.reused == {
        "backbone": True,
        "item_embeddings": True,
        "llm_task": False,
        "evaluation of E4SRec": False,
    }
    assert all(run_stages(make_config("E4SRec")).reused.values())


def test_the_backbone_may_be_another(make_config: MakeConfig) -> None:
    first = run_stages(make_config("E4SRecGRU4Rec"), stop_after="backbone")
    assert first.artifacts["backbone"].folder == run_stages(make_config("GRU4Rec")).artifacts["backbone"].folder


def test_the_result_has_its_row_with_all_parts(make_config: MakeConfig) -> None:
    result = Result.of(run_stages(make_config("E4SRec")))
    assert set(result.metrics) == {"E4SRec"}
    assert set(result.metrics["E4SRec"]) == {"valid", "test"}
    assert "llm_name_or_path scratch" in result.table()


def test_ranks_are_those_of_the_network_prompt_by_prompt(make_config: MakeConfig) -> None:
    """Each test user alone through the padded layout: the rank is one more than the items with a higher score."""
    config = make_config("E4SRec", sft_tokens_per_batch=700)
    run = run_stages(config)
    settings = E4SRecSettings.of(make_config("E4SRec", sft_layout="padded"))
    task = run.artifacts["llm_task"]
    model = load_ranker(settings, task.folder, stage_0_rows(task, run.data.dataset), data_config(config)).eval()
    rows = held_out(run.data, "test")
    ranks = []
    for row in range(len(rows)):
        history = rows.items[rows.start[row] : rows.start[row] + rows.length[row]][-model.max_items :]
        with torch.no_grad():
            _, scores = model.network(torch.from_numpy(history)[None], torch.tensor([len(history)]))
        ranks.append(1 + int((scores[0] > scores[0, rows.target[row] - 1]).sum()))
    found = read_users(run.evaluations["E4SRec"].folder / users_file("test")).frame
    assert np.array_equal(found["rank_unmasked"].to_numpy(), np.array(ranks))


def test_the_epoch_is_chosen_by_the_validation_ndcg_of_the_table(make_config: MakeConfig) -> None:
    run = run_stages(make_config("E4SRec", sft_epochs=3))
    chosen = run.artifacts["llm_task"].manifest["report"]["valid"]["ndcg@10"]
    assert Result.of(run).metrics["E4SRec"]["valid"]["ndcg@10"] == pytest.approx(chosen, abs=1e-4)


@pytest.mark.parametrize("retriever", ["GRU4Rec", "TSLRecSASRec"])
def test_llamarec_ranks_the_candidates_of_any_model(make_config: MakeConfig, retriever: str) -> None:
    """Targets among the candidates are in the places of the candidates, all others behind; the retriever is shared."""
    first = run_stages(make_config(retriever))
    config = make_config("LlamaRec", retriever=retriever, ranker_title_tokens=4)
    run = run_stages(config)
    built = [name for name, reused in run.reused.items() if not reused]
    assert built == ["retriever", "ranker", "evaluation of LlamaRec"]
    assert run.artifacts["backbone"].folder == first.artifacts["backbone"].folder
    users = read_users(run.evaluations["LlamaRec"].folder / users_file("test")).frame
    ranks, retrieved = users["rank_unmasked"].to_numpy(), run.artifacts["retriever"]
    candidates = retrieved.tensors()["test"].numpy()
    found = (candidates == held_out(run.data, "test").target[:, None]).any(axis=1)
    assert ((ranks <= (candidates > 0).sum(axis=1)) == found).all()
    assert found.mean() == pytest.approx(retrieved.manifest["report"]["test_candidate_coverage"])
    assert all(run_stages(config).reused.values())


def test_lrurec_is_the_default_retriever(make_config: MakeConfig) -> None:
    run = run_stages(make_config("LlamaRec"), stop_after="retriever")
    assert run.artifacts["backbone"].manifest["settings"]["n_layers"] == 2
    assert run.artifacts["backbone"].folder == run_stages(make_config("LRURec")).artifacts["backbone"].folder


GENERATING = {
    "P5": {"p5_prompts": 1, "sft_epochs": 2, "p5_clusters": 2, "p5_token_size": 5},
    "POD": {"pod_candidates": 5, "sft_epochs": 2, "beams": 10},
}


@pytest.mark.parametrize("index", ["sequential", "collaborative"])
@pytest.mark.parametrize("name", GENERATING)
def test_items_are_generated_and_ranked(make_config: MakeConfig, name: str, index: str) -> None:
    """A target's rank is its place in the list of its user, or the last one."""
    config = make_config(name, p5_index=index, **GENERATING[name])
    run = run_stages(config)
    assert list(run.reused) == ["index", "llm_task", f"evaluation of {name}"]
    users = read_users(run.evaluations[name].folder / users_file("test")).frame
    ranks = users["rank_unmasked"].to_numpy()
    items = len(run.data.item_tokens)
    assert ((ranks <= 10) | (ranks == items)).all()
    assert all(run_stages(config).reused.values())


def test_more_beams_need_no_training(make_config: MakeConfig) -> None:
    run_stages(make_config("POD", **GENERATING["POD"]))
    run = run_stages(make_config("POD", **{**GENERATING["POD"], "beams": 12}))
    assert run.reused == {"index": True, "llm_task": True, "evaluation of POD": False}


@pytest.mark.parametrize("name", GENERATING)
def test_fewer_beams_than_the_longest_list_are_refused_before_anything_is_built(
    make_config: MakeConfig, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match=r"beams \[5\] give shorter lists than topk .* --beams=10 or more"):
        run_stages(make_config(name, **{**GENERATING[name], "beams": 5}))
    assert not list((tmp_path / "artifacts").glob("*/index-*"))


@pytest.mark.parametrize("name", GENERATING)
def test_a_decoder_is_no_t5(make_config: MakeConfig, llama_folder: Path, name: str) -> None:
    with pytest.raises(LLMError, match="is no T5, and P5 and POD generate items with one"):
        run_stages(make_config(name, **{**GENERATING[name], "llm_name_or_path": str(llama_folder)}))


def test_an_llm_that_is_not_there_is_known_before_the_backbone_is_trained(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(LLMError):
        run_stages(make_config("E4SRec", llm_name_or_path=str(tmp_path / "nowhere")))
    assert not list((tmp_path / "artifacts").glob("*/backbone-*"))
