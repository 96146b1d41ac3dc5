"""Real data: ml-100k, which RecBole ships; and Beauty with a pretrained Llama where both lie beside the checkout."""

import gzip
from pathlib import Path

import pytest
import torch

import recbole_tslrec
from recbole_tslrec.pipeline.stage import KINDS
from recbole_tslrec.store.artifacts import open_artifact

SHARED = Path(recbole_tslrec.__file__).parents[2] / "shared"


@pytest.mark.slow
def test_ml_100k_two_epochs_a_stage() -> None:
    settings = {"epochs": 2, "sft_epochs": 2, "MAX_ITEM_LIST_LENGTH": 5, "train_batch_size": 2048, "hidden_size": 32}
    result = recbole_tslrec.run("TSLRecSASRec", "ml-100k", config_dict=settings)
    assert {each.stage for each in result.stages} == {*KINDS} - {"index", "llm_task", "retriever", "ranker"}
    chance = 10 / 1682
    for row in ("Base", "TSLRec"):
        assert result.metrics[row]["test"]["hit@10"] > 2 * chance


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data" / "beauty").is_dir(), reason="needs ../shared/data/beauty and ../shared/llm")
def test_beauty_with_a_pretrained_llama(tmp_path: Path) -> None:
    """The LLM's path on real data: one short epoch a stage on the busiest users, then the export of all their items."""
    (tmp_path / "data" / "beauty").mkdir(parents=True)
    packed = gzip.decompress((SHARED / "data" / "beauty" / "beauty.inter.gz").read_bytes())
    (tmp_path / "data" / "beauty" / "beauty.inter").write_bytes(packed)
    settings = {
        "data_path": str(tmp_path / "data"),
        "epochs": 1,
        "sft_epochs": 1,
        "user_inter_num_interval": "[20,inf)",
        "MAX_ITEM_LIST_LENGTH": 3,
        "train_batch_size": 4096,
        "hidden_size": 16,
        "n_layers": 1,
        "llm_name_or_path": str(SHARED / "llm" / "stories260K"),
        "sft_batch_size": 128,
    }
    result = recbole_tslrec.run("TSLRecSASRec", "beauty", config_dict=settings, stop_after="knowledge")
    knowledge = open_artifact(result.folders["knowledge"], "knowledge")
    assert (Path(result.folders["sft"]) / "checkpoint" / "adapter" / "adapter_model.safetensors").is_file()
    item_count = knowledge.manifest["dataset"]["items"]
    assert item_count > 5000
    assert knowledge.tensors()["knowledge"].shape == (item_count, 64)  # stories260K has hidden size 64
    assert knowledge.tensors()["category_distribution"].sum(dim=1).allclose(torch.ones(item_count))
