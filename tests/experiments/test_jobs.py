"""Trials, the arguments of their processes, and which of them have finished."""

from dataclasses import replace

import pytest

from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.data.dataset import DatasetError
from recbole_tslrec.experiments import jobs
from recbole_tslrec.experiments.command import override
from recbole_tslrec.experiments.jobs import Job, chains, check_jobs, trials_of
from recbole_tslrec.experiments.trials import ROWS, Outcome, Trial
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.pipeline import plan
from recbole_tslrec.pipeline.knowledge_sources import KNOWLEDGE_SOURCES
from recbole_tslrec.settings import ConfigError
from tests.results import stages_of


def test_the_rows_of_one_backbone_and_seed_follow_each_other(command):
    command = replace(command, models=("SASRec", "GRU4Rec"))
    assert [(trial.backbone, trial.seed, trial.row) for trial in trials_of(command)] == [
        (backbone, seed, row) for backbone in ("SASRec", "GRU4Rec") for seed in (1, 2) for row in ("Base", "TSLRec")
    ]


def test_a_model_free_row_has_one_trial_and_an_llm_baseline_one_for_each_seed(command):
    trials = trials_of(replace(command, rows=("POD", "popularity"), seeds=(1, 2)))
    assert trials == [Trial("toy", "", "popularity", 1), Trial("toy", "", "POD", 1), Trial("toy", "", "POD", 2)]


def test_a_chain_is_what_shares_a_backbone(command):
    jobs = [Job(trial, command) for trial in trials_of(command)]
    assert chains(jobs) == [jobs[:2], jobs[2:]]


@pytest.mark.parametrize(
    ("row", "model"), [("Base", "SASRec"), ("CI", "CISASRec"), ("TSLRec", "TSLRecSASRec"), ("random", "TSLRecSASRec")]
)
def test_a_row_decides_the_model(row, model):
    assert Trial("toy", "SASRec", row, 1).model == model


@pytest.mark.parametrize("row", [row for row, how in ROWS.items() if how.family])
def test_the_settings_of_every_row_make_a_configuration(command, row):
    config = Job(Trial("toy", "SASRec", row, 7), command).config()
    assert config["seed"] == 7
    assert config["epochs"] == 1
    if row in KNOWLEDGE_SOURCES:
        assert config["knowledge_source"] == row


def test_what_makes_the_row_wins_over_what_is_given(command):
    command = replace(command, settings=(*command.settings, "--llm_name_or_path=/a/llm"))
    scratch, ours = (Job(Trial("toy", "SASRec", row, 1), command).keys for row in ("scratch", "TSLRec"))
    assert "--llm_name_or_path=scratch" in scratch
    assert "--llm_name_or_path=/a/llm" not in scratch
    assert "--llm_name_or_path=/a/llm" in ours


@pytest.mark.parametrize(("row", "vectors"), [("TSLRec", "v.csv"), ("Base", None), ("stage0", None), ("CI", None)])
def test_item_vectors_of_the_user_stand_beside_their_controls(command, row, vectors):
    command = replace(command, settings=(*command.settings, "--knowledge_path=v.csv"))
    config = Job(Trial("toy", "SASRec", row, 1), command).config()
    assert config["knowledge_path"] == vectors
    if row != "TSLRec":
        plan(config)


@pytest.mark.parametrize(("retriever", "vectors"), [(None, None), ("SASRec", None), ("TSLRecSASRec", "v.csv")])
def test_a_retriever_reads_the_users_item_vectors_if_it_fuses_knowledge(command, retriever, vectors):
    given = ("--knowledge_path=v.csv", *([f"--retriever={retriever}"] if retriever else []))
    config = Job(Trial("toy", "", "LlamaRec", 1), replace(command, settings=(*command.settings, *given))).config()
    assert config["knowledge_path"] == vectors
    plan(config)


@pytest.mark.parametrize(("backbone", "mode"), [("SASRec", "all_positions"), ("Caser", "prefix")])
def test_a_file_for_all_backbones_may_leave_the_mode_to_each(command, tmp_path, backbone, mode):
    (tmp_path / "all.yaml").write_text("train_mode: auto")
    command = replace(command, config_files=(str(tmp_path / "all.yaml"),))
    assert Job(Trial("toy", backbone, "Base", 1), command).config()["train_mode"] == mode


def test_a_result_is_taken_for_the_settings_that_made_it_only(command, finish, tmp_path):
    job = Job(Trial("toy", "SASRec", "Base", 1), command)
    finish(job, {"backbone": 1.0, "evaluation of Base": 1.0})
    assert isinstance(job.outcome(), Outcome)
    others = [("--epochs=2",), ("--eval_history=strict",)]
    found = [
        replace(job, command=replace(command, settings=override(command.settings, other))).outcome() for other in others
    ]
    assert found[0] is None
    assert found[1] is not None  # an evaluation holds every mode


def test_a_configuration_file_with_other_contents_makes_another_result(command, finish, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("learning_rate: 0.01")
    job = Job(Trial("toy", "SASRec", "Base", 1), replace(command, config_files=(str(file),)))
    finish(job, {"evaluation of Base": 1.0})
    assert job.outcome()
    file.write_text("learning_rate: 0.02")
    assert job.outcome() is None


@pytest.mark.parametrize("changed", ["data/toy/toy.inter", "data/toy/toy.item", "vectors.csv", "llm/config.json"])
def test_other_contents_of_what_a_run_reads_make_another_result(command, tmp_path, changed):
    for file in ("data/toy/toy.item", "vectors.csv", "llm/config.json"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("as it was")
    given = (f"--knowledge_path={tmp_path / 'vectors.csv'}", f"--llm_name_or_path={tmp_path / 'llm'}")
    command = replace(command, settings=(*command.settings, *given))
    job = Job(trials_of(command)[1], command)
    before = job.request
    assert job.request == before
    (tmp_path / changed).write_text("otherwise")
    assert job.request != before


def test_a_version_with_other_results_makes_another_result(command, monkeypatch):
    job = Job(trials_of(command)[0], command)
    before = job.request
    monkeypatch.setattr(jobs, "RECIPE_VERSION", 0)
    jobs._recipe.cache_clear()
    assert job.request != before
    jobs._recipe.cache_clear()


def test_a_result_whose_artifacts_are_gone_is_none(command, finish, tmp_path):
    job = Job(Trial("toy", "SASRec", "Base", 1), command)
    finish(job, {"evaluation of Base": 1.0})
    job.outcome().folder("evaluation").rmdir()
    assert job.outcome() is None


def test_half_a_result_is_none(command):
    job = Job(Trial("toy", "SASRec", "Base", 1), command)
    job.file.parent.mkdir(parents=True)
    job.file.write_text('{"stages": [')
    assert job.outcome() is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"settings": ("--epoch=3",)}, ConfigError, "did you mean epochs"),
        ({"settings": ("--seed=3",)}, ConfigError, "--seeds=1,2,3 in the place of --seed"),
        ({"settings": ("--llm_name_or_path=./nowhere",)}, LLMError, r"llm_name_or_path \[./nowhere\] is no folder"),
        ({"settings": ("--knowledge_path=nowhere.csv",)}, VectorsError, "nowhere.csv"),
        ({"settings": ("--eval_args={'mode': 'uni10'}",)}, ConfigError, r"mode \[.*uni10.*\]; set it to full"),
        (
            {"settings": ("--llm_name_or_path=owner/name",), "rows": ("P5", "Base", "TSLRec")},
            ConfigError,
            "P5 need a T5, TSLRec a decoder",
        ),
        ({"settings": ("--eval_history=all_of_it",)}, ValueError, r"eval_history \[all_of_it\] is not one of"),
        ({"settings": ("--fusion_type=gates",)}, ValueError, r"fusion_type \[gates\]"),
        ({"settings": ("--knowledge_source=untuned",)}, ConfigError, "give --rows=untuned in its place"),
        ({"settings": ("--eval_args={'split': {'LS': 'valid_only'}}",)}, ConfigError, "reports are of the test items"),
        ({"datasets": ("nowhere",)}, DatasetError, r"dataset \[nowhere\] does not exist"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(command, change, error, message):
    command = replace(command, **{**change, "settings": (*command.settings, *change.get("settings", ()))})
    with pytest.raises(error, match=message):
        check_jobs([Job(trial, command) for trial in trials_of(command)])


def test_a_stage_that_a_run_does_not_have_is_named(command):
    outcome = Outcome(Trial("toy", "SASRec", "Base", 1), {"stages": stages_of({"backbone": "x"})})
    with pytest.raises(RuntimeError, match=r"SASRec-Base-seed1 on toy left no \[sft\], it left backbone"):
        outcome.folder("sft")
