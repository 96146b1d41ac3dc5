"""Stock RecBole's own entry points find and run the models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.quick_start import load_data_and_model, run_recbole

from recbole_tslrec.data import Data


@pytest.mark.parametrize("backbone", ["SASRec", "Caser"])
def test_run_recbole_and_load_data_and_model(
    make_config: Callable[..., Any],
    make_knowledge: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    backbone: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["run_recbole.py"])
    config = make_config(backbone)
    tokens = Data(config).item_tokens
    rows = torch.randn(len(tokens), 5, generator=torch.Generator().manual_seed(0))
    shared = ("MAX_ITEM_LIST_LENGTH", "hidden_size", "embedding_size", "inner_size", "epochs", "train_batch_size")
    settings = {key: config[key] for key in shared}
    settings |= {
        "data_path": config["data_path"].rpartition("/")[0],
        "checkpoint_dir": "saved",
        "knowledge_path": str(make_knowledge(tokens, rows).folder),
    }
    result = run_recbole(f"TSLRec{backbone}", "toy", config_dict=settings)

    (checkpoint,) = Path("saved").glob("TSLRec*.pth")
    _, model, _, _, _, test_data = load_data_and_model(str(checkpoint))
    assert type(model).__name__ == f"TSLRec{backbone}"
    with torch.no_grad():
        interaction = next(iter(test_data))[0]
        scores = model.eval().full_sort_predict(interaction)
    assert scores.shape == (len(interaction), len(tokens) + 1)
    assert set(result["test_result"]) == {"hit@5", "hit@10", "ndcg@5", "ndcg@10"}
