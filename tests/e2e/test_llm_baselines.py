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


def test_an_llm_that_is_not_there_is_known_before_the_backbone_is_trained(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(LLMError):
        run_stages(make_config("E4SRec", llm_name_or_path=str(tmp_path / "nowhere")))
    assert not list((tmp_path / "artifacts").glob("*/backbone-*"))
