"""The stages as a whole, on a toy dataset: what is built, reused, rebuilt, refused and kept."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.compute.divergence import TrainingDiverged
from recbole_tslrec.data.dataset import DatasetError
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.llm.loading import byte_level_tokenizer
from recbole_tslrec.pipeline import run_stages, stage_1
from recbole_tslrec.pipeline.run import Run
from recbole_tslrec.pipeline.stage import KINDS
from recbole_tslrec.result import Result, StageResult
from recbole_tslrec.serving.extend import extend_knowledge
from recbole_tslrec.settings import ConfigError
from recbole_tslrec.store.artifacts import ArtifactError, open_artifact
from recbole_tslrec.training import recommender
from tests.conftest import walks
from tests.decoders import tiny_decoder

MakeConfig = Callable[..., Any]
OF_TSLREC = [kind for kind in KINDS if kind not in ("index", "llm_task", "retriever", "ranker")]
ALL = [*OF_TSLREC[:-1], "evaluation of Base", "evaluation of TSLRec"]


def test_every_stage_is_built_then_reused(make_config: MakeConfig) -> None:
    first = run_stages(make_config("TSLRecSASRec"))
    assert list(first.reused) == ALL
    assert not any(first.reused.values())
    second = run_stages(make_config("TSLRecSASRec"))
    assert all(second.reused.values())
    assert {name: a.hash for name, a in first.artifacts.items()} == {n: a.hash for n, a in second.artifacts.items()}


def test_two_full_runs_with_the_same_seed_are_bit_equal(make_config: MakeConfig, tmp_path: Path) -> None:
    runs = [run_stages(make_config("TSLRecGRU4Rec", artifacts_dir=str(tmp_path / name))) for name in "ab"]
    first, second = ({n: a.manifest["files"] for n, a in run.artifacts.items() if n != "sft"} for run in runs)
    assert first == second
    adapters = [run.artifacts["sft"].manifest["files"] for run in runs]
    assert adapters[0] == adapters[1]


@pytest.mark.parametrize(
    ("changed", "first_built"),
    [
        ({"backbone_epochs": 2}, "backbone"),
        ({"seed": 7}, "backbone"),
        ({"group_count": 5}, "groups"),
        ({"sft_learning_rate": 0.01}, "sft"),
        ({"prompt_response": "Answer:"}, "sft"),
        ({"fusion_type": "sum"}, "recommender"),
        ({"show_progress": True}, None),
    ],
)
def test_a_change_rebuilds_what_depends_on_it(
    make_config: MakeConfig, changed: dict[str, Any], first_built: str | None
) -> None:
    run_stages(make_config("TSLRecSASRec"))
    reused = run_stages(make_config("TSLRecSASRec", **changed)).reused
    built = [name for name in ALL if not reused[name]]
    if first_built is None:
        assert not built
    else:
        assert built[0] == first_built
        assert built[-1] == "evaluation of TSLRec"


def test_a_stage_that_needs_no_llm_asks_for_none(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the LLM has left is found; the recommender is trained anew."""
    run_stages(make_config("TSLRecSASRec"))

    def check(*_: Any) -> None:
        raise AssertionError("the LLM was looked for")

    monkeypatch.setattr("recbole_tslrec.llm.loading.check_llm", check)
    assert not run_stages(make_config("TSLRecSASRec", fusion_type="sum")).reused["recommender"]
    with pytest.raises(AssertionError, match="the LLM was looked for"):
        run_stages(make_config("TSLRecSASRec", seed=7))


def test_other_data_rebuilds_everything(make_config: MakeConfig) -> None:
    run_stages(make_config("SASRec"))
    assert not any(run_stages(make_config("SASRec", interactions=walks(seed=1))).reused.values())


def test_another_llm_under_the_same_path_rebuilds_sft_and_knowledge(make_config: MakeConfig, tmp_path: Path) -> None:
    """Its files are as many and as long as those of the first; only its weights are other numbers."""
    tokenizer = byte_level_tokenizer()
    tokenizer.save_pretrained(tmp_path / "llm")

    def run_with(seed: int) -> Run:
        tiny_decoder("Llama", seed, vocab_size=len(tokenizer)).save_pretrained(tmp_path / "llm")
        config = make_config("TSLRecSASRec", llm_name_or_path=str(tmp_path / "llm"))
        return run_stages(config, stop_after="knowledge")

    def listing() -> dict[str, int]:
        return {path.name: path.stat().st_size for path in (tmp_path / "llm").iterdir()}

    first, listed = run_with(seed=0), listing()
    other = run_with(seed=1)
    assert listing() == listed
    assert [stage for stage, reused in other.reused.items() if not reused] == ["sft", "knowledge"]
    tables = [run.artifacts["knowledge"].tensors()["knowledge"] for run in (first, other)]
    assert (tables[0] - tables[1]).abs().max() > 1e-3
    again = run_with(seed=0)
    assert all(again.reused.values())
    assert again.artifacts["knowledge"].hash == first.artifacts["knowledge"].hash


def test_an_llm_that_was_moved_is_not_fine_tuned_again(
    make_config: MakeConfig, llama_folder: Path, tmp_path: Path
) -> None:
    first = run_stages(make_config("TSLRecSASRec", llm_name_or_path=str(llama_folder)))
    llama_folder.rename(tmp_path / "elsewhere")
    moved = make_config("TSLRecSASRec", llm_name_or_path=str(tmp_path / "elsewhere"))
    assert all(run_stages(moved).reused.values())
    anew = run_stages(moved, rebuild=["knowledge"])
    assert anew.reused["sft"]
    assert not anew.reused["knowledge"]
    assert anew.artifacts["knowledge"].hash == first.artifacts["knowledge"].hash
    with pytest.raises(LLMError, match=r"sft-\w+ was fine-tuned from an LLM that is not where it was: .*put a link"):
        extend_knowledge(first.artifacts["recommender"].folder, {"new": ["i1", "i2"]})


def test_base_ci_and_tslrec_share_a_backbone(make_config: MakeConfig) -> None:
    base = run_stages(make_config("SASRec"))
    assert list(base.reused) == ["backbone", "evaluation of Base"]
    ci = run_stages(make_config("CISASRec"))
    assert [name for name, reused in ci.reused.items() if reused] == ["backbone", "evaluation of Base"]
    assert list(ci.reused)[-1] == "evaluation of CI"
    tslrec = run_stages(make_config("P2RecSASRec"), stop_after="groups")
    assert all(tslrec.reused.values())


def test_rebuild_builds_anew_and_equal_contents_leave_the_rest_alone(make_config: MakeConfig) -> None:
    run_stages(make_config("TSLRecSASRec"))
    again = run_stages(make_config("TSLRecSASRec"), rebuild=["groups", "sft"])
    assert [name for name in ALL if not again.reused[name]] == ["groups", "sft"]


def test_a_stage_that_a_model_does_not_have_is_not_rebuilt(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match=r"SASRec has no stage \[sft\] to rebuild; it has backbone, evaluation"):
        run_stages(make_config("SASRec"), rebuild=["sft"])


@pytest.mark.parametrize("stage", OF_TSLREC)
def test_stop_after_runs_no_further(make_config: MakeConfig, stage: str) -> None:
    run = run_stages(make_config("TSLRecSASRec"), stop_after=stage)
    assert list(dict.fromkeys(each.kind for each in run.finished)) == OF_TSLREC[: OF_TSLREC.index(stage) + 1]


def test_data_stage_is_rebuilt_and_stopped_after_by_its_name(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for rebuild, said in ((), "building"), ((), "mapped from"), (("data",), "building"):
            caplog.clear()
            run = run_stages(make_config("TSLRecSASRec"), rebuild, stop_after="data")
            assert run.finished == []
            assert any("[data]" in line and said in line for line in caplog.messages)


def test_unknown_stage_is_refused(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match=r"stage \[sfd\] does not exist; the stages are data, backbone, "):
        run_stages(make_config("TSLRecSASRec"), stop_after="sfd")


@pytest.mark.parametrize("folder", ["", " ", None])
def test_artifacts_need_a_folder(make_config: MakeConfig, folder: str | None) -> None:
    """An empty name would be the working folder."""
    with pytest.raises(ConfigError, match=r"artifacts_dir must be the name of a folder, not \["):
        run_stages(make_config("SASRec", artifacts_dir=folder))


def test_a_stage_to_rebuild_that_is_not_reached_is_refused(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match=r"stage \[evaluation\] comes after \[backbone\]: rebuild an earlier one"):
        run_stages(make_config("TSLRecSASRec"), ("evaluation",), stop_after="backbone")


def test_knowledge_path_starts_from_an_export_of_another_run(make_config: MakeConfig, tmp_path: Path) -> None:
    first = run_stages(make_config("TSLRecSASRec"))
    knowledge = str(first.artifacts["knowledge"].folder)
    run = run_stages(make_config("TSLRecSASRec", knowledge_path=knowledge, artifacts_dir=str(tmp_path / "other")))
    assert list(run.reused) == ["recommender", "evaluation of TSLRec"]
    result, expected = (r.evaluations["TSLRec"].json("metrics.json") for r in (run, first))
    assert result == expected


def test_knowledge_path_shows_the_base_row_where_the_backbone_was_trained_before(make_config: MakeConfig) -> None:
    first = run_stages(make_config("TSLRecSASRec"))
    run = run_stages(make_config("TSLRecSASRec", knowledge_path=str(first.artifacts["knowledge"].folder)))
    assert set(Result.of(run).metrics) == {"Base", "TSLRec"}


def test_what_is_reused_needs_no_llm(make_config: MakeConfig, tmp_path: Path) -> None:
    """A machine without transformers, say. (An LLM that is a folder has to be there: its files are what it is.)"""
    config = make_config("TSLRecSASRec")
    run_stages(config)
    blocked = dict.fromkeys(("transformers", "peft", "recbole_tslrec.llm.loading"))
    with mock.patch.dict("sys.modules", blocked):
        assert all(run_stages(make_config("TSLRecSASRec")).reused.values())


def test_knowledge_of_another_dataset_shows_a_token_of_each(
    make_config: MakeConfig, make_knowledge: Callable[..., Any]
) -> None:
    folder = make_knowledge([f"B00{i}" for i in range(25)], torch.randn(25, 3)).folder  # the toy items are i0 to i29
    with pytest.raises(VectorsError, match=r"its tokens look like 'B000', the dataset's like 'i\d+'"):
        run_stages(make_config("TSLRecSASRec", knowledge_path=str(folder)))


def test_knowledge_path_that_does_not_exist_is_said_at_once(make_config: MakeConfig) -> None:
    with pytest.raises(ArtifactError, match="nowhere is no artifact folder"):
        run_stages(make_config("TSLRecSASRec", knowledge_path="nowhere"))


def test_llm_that_does_not_exist_is_said_before_the_backbone_is_trained(make_config: MakeConfig) -> None:
    config = make_config("TSLRecSASRec", llm_name_or_path="./no-such-llm")
    with pytest.raises(LLMError, match="is no folder with a config"):
        run_stages(config)
    assert not list(Path(config["artifacts_dir"]).rglob("*.safetensors"))


def test_damaged_artifact_is_named_and_rebuilt_when_asked(make_config: MakeConfig) -> None:
    run = run_stages(make_config("TSLRecSASRec"), stop_after="groups")
    path = run.artifacts["groups"].folder / "data.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"groups-\w+/data.safetensors differs from its hash.*--rebuild=groups"):
        run_stages(make_config("TSLRecSASRec"), stop_after="groups")
    mended = run_stages(make_config("TSLRecSASRec"), rebuild=["groups"], stop_after="groups")
    assert mended.artifacts["groups"].hash == run.artifacts["groups"].hash


def test_column_that_is_not_loaded_is_named(make_config: MakeConfig) -> None:
    with pytest.raises(DatasetError, match=r"\[toy\] was loaded without when; name your columns with USER_ID_FIELD"):
        run_stages(make_config("SASRec", TIME_FIELD="when"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group_count": 31}, r"group_count \[31\] must lie between 2 and the number of items \[30\]"),
        ({"fusion_type": "gat"}, r"fusion_type \[gat\] is not one of gate, sum"),
        ({"sft_valid_ratio": 2}, r"cannot hold out a share \[2\.0\] of 40 users; check --sft_valid_ratio"),
    ],
)
def test_settings_of_later_stages_are_checked_before_the_backbone_is_trained(
    make_config: MakeConfig, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run_stages(make_config("TSLRecSASRec", **settings))
    assert not [path for path in Path("artifacts").glob("*/*") if not path.name.startswith("data-")]


@pytest.mark.parametrize("changed", [{"target_view": "rest"}, {"sft_loss": "kl"}])
def test_another_task_trains_another_llm_on_the_same_targets(make_config: MakeConfig, changed: dict[str, Any]) -> None:
    paper = run_stages(make_config("TSLRecSASRec"), stop_after="sft")
    run = run_stages(make_config("TSLRecSASRec", **changed), stop_after="knowledge")
    assert [stage for stage, reused in run.reused.items() if not reused] == ["sft", "knowledge"]
    reports = [made.artifacts["sft"].manifest["report"] for made in (paper, run)]
    assert reports[0]["mean_target_loss"] != reports[1]["mean_target_loss"]


def test_user_without_training_interactions_is_named_with_the_cure(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match=r"'lonely' with 1 interaction.*--user_inter_num_interval="):
        run_stages(make_config("TSLRecSASRec", interactions=[*walks(), ("lonely", "i3", 0.0)]))
    cured = make_config(
        "TSLRecSASRec", interactions=[*walks(), ("lonely", "i3", 0.0)], user_inter_num_interval="[3,inf)"
    )
    assert run_stages(cured, stop_after="targets").artifacts["targets"]


def test_items_without_training_interactions_work_and_are_counted(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        interactions = [*walks(), ("u0", "unseen-valid", 98.0), ("u0", "unseen-test", 99.0)]
        run = run_stages(make_config("TSLRecSASRec", interactions=interactions))
    assert "2 of 32 items have no training interaction" in caplog.text
    assert "unseen-test" in run.artifacts["knowledge"].item_tokens()


def test_history_longer_than_the_context_is_cut_and_said_once(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """A context of 20 bytes, of which BOS, 'Predict.' and 'Response:' take 18."""
    with caplog.at_level(logging.WARNING):
        config = make_config("TSLRecSASRec", scratch_context_length=20, prompt_instruction="Predict.")
        run_stages(config, stop_after="sft")
    assert caplog.text.count("context holds 2 items; longer histories (up to 8) are cut to the most recent") == 1


def test_diverged_backbone_stops_and_keeps_the_last_good_checkpoint(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    build_model = recommender.build_model

    def build_diverging(*given: Any) -> Any:
        model: Any = build_model(*given)
        train_data = given[1]
        calculate_loss = model.calculate_loss

        def diverging(interaction: Any) -> torch.Tensor:
            steps.append(1)
            loss: torch.Tensor = calculate_loss(interaction)
            return loss * float("nan") if len(steps) == len(train_data) + 1 else loss

        model.calculate_loss = diverging
        return model

    monkeypatch.setattr(recommender, "build_model", build_diverging)
    with pytest.raises(TrainingDiverged, match=r"SASRec is nan at step \d+, learning rate 0.003.*model.safetensors"):
        run_stages(make_config("SASRec", epochs=3))
    (kept,) = Path("artifacts").glob("toy/backbone-*.partial/unfinished/model.safetensors")
    assert torch.isfinite(recommender.item_embeddings(kept.parent, "item_embedding", 30)).all()


def test_interrupt_while_saving_keeps_the_former_artifact(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run_stages(make_config("TSLRecSASRec"), stop_after="groups").artifacts["groups"]

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage_1, "write_item_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_stages(make_config("TSLRecSASRec"), stop_after="groups", rebuild=["groups"])
    assert open_artifact(before.folder, "groups").hash == before.hash


def test_result_has_metrics_seconds_and_folders(make_config: MakeConfig, tmp_path: Path) -> None:
    result = Result.of(run_stages(make_config("TSLRecSASRec")))
    result.write(tmp_path / "new" / "result.json")
    read = json.loads((tmp_path / "new" / "result.json").read_text())
    assert (read["model"], read["dataset"], read["seed"]) == ("TSLRecSASRec", "toy", 2020)
    for row in ("Base", "TSLRec"):
        for part in ("valid", "test"):
            assert set(read["metrics"][row][part]) == {"hit@5", "hit@10", "ndcg@5", "ndcg@10"}
    assert [str(StageResult(**each)) for each in read["stages"]] == ALL
    assert all((Path(each["folder"]) / "manifest.json").is_file() for each in read["stages"])
    assert {each["state"] for each in read["stages"]} == {"built"}
    header = next(line for line in result.table().splitlines() if line.startswith("test"))
    assert header.split() == ["test", "history", "HR@5", "HR@10", "NDCG@5", "NDCG@10"]


def test_artifacts_hold_only_safetensors_json_and_parquet(make_config: MakeConfig) -> None:
    """Nothing in them could be unpickled. (peft adds a README.md to an adapter.)"""
    run = run_stages(make_config("TSLRecSASRec"))
    artifacts = [each.artifact for each in run.finished]
    files = [path for artifact in artifacts for path in artifact.folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json", ".parquet"}
