"""Each LLM baseline learns planted categories: it ranks far better than popularity."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recbole_tslrec.pipeline import run_model_free, run_stages
from recbole_tslrec.pipeline.run import Run
from recbole_tslrec.result import Result
from tests.planted import plant

MakeConfig = Callable[..., Any]
PLANTED = plant(users=300, items=40, categories=4, length=8, shares=(0.95, 0.03))
# so small a ranker shuffles the 20 candidates: of 40 items they would be half
MORE_ITEMS = plant(users=300, items=90, categories=9, length=8, shares=(0.95, 0.03))
SMALL = {
    "scratch_hidden_size": 32,
    "scratch_layers": 2,
    "scratch_heads": 2,
    "scratch_intermediate_size": 64,
    "scratch_context_length": 2048,
    "hidden_size": 32,
    "embedding_size": 32,
    "inner_size": 64,
    "epochs": 20,
    "learning_rate": 0.003,
    "sft_learning_rate": 3e-3,
    "topk": [10],
}
GENERATING = {
    "p5_index": "collaborative",
    "p5_clusters": 4,
    "p5_token_size": 10,
    "scratch_hidden_size": 64,
    "scratch_layers": 1,
    "scratch_heads": 4,
    "sft_learning_rate": 5e-3,
    "sft_batch_size": 16,
    "beams": 10,
}
LEARNS: dict[str, dict[str, Any]] = {
    # every user has 8 items: without the bound, the test prompts would be longer than all those of training
    "E4SRec": {"prompt_max_items": 5, "sft_epochs": 6},
    "LlamaRec": {"retriever": "LRURec", "ranker_title_tokens": 4, "sft_epochs": 1},
    "P5": {**GENERATING, "p5_straightforward": False, "p5_prompts": 1, "sft_epochs": 6},
    "POD": {**GENERATING, "pod_candidates": 10, "sft_epochs": 12, "sft_stopping_step": 12},
}


@pytest.mark.parametrize("name", LEARNS)
def test_a_baseline_beats_popularity(make_config: MakeConfig, name: str) -> None:
    """By NDCG@10 on the test items; E4SRec's loss is also below what the items' frequencies alone would give."""
    planted = MORE_ITEMS if name == "LlamaRec" else PLANTED
    config = make_config(name, planted.interactions, **{**SMALL, **LEARNS[name]})
    popularity = Result.of(run_model_free(config, "popularity")).metrics["popularity"]["test"]["ndcg@10"]
    run = run_stages(config)
    assert Result.of(run).metrics[name]["test"]["ndcg@10"] > 1.5 * popularity
    if name == "E4SRec":
        assert run.artifacts["llm_task"].manifest["report"]["valid"]["loss"] < entropy_of_items(run)


def entropy_of_items(run: Run) -> float:
    """The cross entropy of items drawn by their shares in training, in nats."""
    items = np.concatenate([run.data.histories[user] for user in range(len(run.data.histories))])
    count = np.bincount(items, minlength=len(run.data.item_tokens) + 1)[1:] + 1.0  # none has the chance 0
    share = count / count.sum()
    return float(-(share * np.log(share)).sum())
