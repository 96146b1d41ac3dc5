"""The search over settings: what a params_file may say, what a trial counts for, and what trials share."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recbole_tslrec.compute.divergence import TrainingDiverged
from recbole_tslrec.experiments import tuning
from recbole_tslrec.experiments.search_space import check_space, read_space
from recbole_tslrec.settings import ConfigError
from tests.conftest import TINY_SCRATCH, walks, write_dataset

Score = Callable[[Mapping[str, Any]], float]


def params_file(*lines: str) -> str:
    Path("hyper.test").write_text("\n".join(lines) + "\n")
    return "hyper.test"


# the params_file


def test_params_file_of_recbole_is_read() -> None:
    file = params_file(
        "learning_rate choice [0.01, 0.001]",
        "",
        "hidden_dropout_prob uniform 0,0.5",
        "weight_decay loguniform -8,-2",
        "n_layers quniform 1,3,1",
        "fusion_type choice ['gate', 'sum']",
    )
    assert read_space(file) == {
        "choice": {"learning_rate": [0.01, 0.001], "fusion_type": ["gate", "sum"]},
        "uniform": {"hidden_dropout_prob": [0, 0.5]},
        "loguniform": {"weight_decay": [-8, -2]},
        "quniform": {"n_layers": [1, 3, 1]},
    }


def test_comment_is_no_line_of_the_space() -> None:
    file = params_file("# the rate alone", "learning_rate choice [0.1]", "  # epochs choice [1, 2]")
    assert read_space(file) == {"choice": {"learning_rate": [0.1]}}


def test_blanks_in_a_text_stay() -> None:
    file = params_file("prompt_instruction  choice  ['What comes next?', 'Go on']")
    assert read_space(file) == {"choice": {"prompt_instruction": ["What comes next?", "Go on"]}}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("learning_rat choice [0.1]", "did you mean learning_rate"),
        ("fusion_type choice [gate, sum]", "text in quotes"),
        ("learning_rate choice []", "cannot be read"),
        ("learning_rate choice", "cannot be read"),
        ("learning_rate normal 0,1", "cannot be read"),
        ("learning_rate uniform 0.1", "cannot be read"),
        ("learning_rate uniform 0.1,high", "cannot be read"),
        ("learning_rate loguniform 0.0001,0.01", "write learning_rate loguniform -9.21,-4.61"),
        ("epochs choice [__import__('pathlib').Path('evaluated').touch()]", "cannot be read"),
        ("seed choice [1, 2]", r"\[seed\]: it is set already"),
        ("dataset choice ['toy', 'ml-100k']", r"\[dataset\]: it is set already"),
        ("eval_args choice [{'split': {'LS': 'test_only'}}]", r"\[eval_args\]: it is set already"),
        ("", "is empty"),
    ],
)
def test_line_that_cannot_be_searched_over_is_refused(line: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_space(params_file(line), fixed=["seed"])
    assert not Path("evaluated").exists()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("fusion_type choice ['gate', 'bogus']", r"line \[fusion_type .* of hyper.test: fusion_type \[bogus\] is not"),
        ("learning_rate choice [0.1, 'high']", r"line \[learning_rate .*learning_rate must be a number"),
        ("hidden_size choice [64, -64]", r"line \[hidden_size .*hidden_size must be a whole number of at least 1"),
        ("n_layers uniform 1,3", r"line \[n_layers uniform ...\] of hyper.test: n_layers must be a whole number"),
        ("n_layers quniform 0,3,1", "the first value of each line of hyper.test: n_layers must be a whole number"),
        ("hidden_dropout_prob uniform 0,2", r"hidden_dropout_prob \[2\] must be a number between 0 and 1"),
    ],
)
def test_value_that_no_run_takes_is_refused_before_the_first_trial(
    monkeypatch: pytest.MonkeyPatch, line: str, why: str
) -> None:
    pytest.importorskip("hyperopt")
    monkeypatch.setattr(tuning, "tune", None)
    Path("trials.json").write_text("earlier")
    file = params_file("sft_epochs choice [1, 2]", line)
    command = [f"--params_file={file}", "--model=TSLRecSASRec", "--dataset=toy", "--algo=random"]
    with pytest.raises(ConfigError, match=why):
        tuning.main([*command, "--output_file=trials.json", "--llm_name_or_path=scratch"])
    assert Path("trials.json").read_text() == "earlier"


def test_values_are_checked_beside_the_first_ones_of_the_other_lines() -> None:
    """Beside the defaults, a value might be refused that every trial of the search can take."""
    checked: list[dict[str, Any]] = []
    space = {"choice": {"epochs": [1, 2, 3], "seed": [4, 5]}, "quniform": {"learning_rate": [1, 2, 1]}}
    check_space(space, "hyper.test", checked.append)
    tried = [(params["epochs"], params["seed"], params["learning_rate"]) for params in checked]
    assert tried == [(1, 4, 1), (2, 4, 1), (3, 4, 1), (1, 5, 1), (1, 4, 2)]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--params_file=nowhere"], "nowhere"),
        (["--params_file=hyper.test", "--learning_rate=0.1"], "learning_rate"),
        (["--params_file=hyper.test", "--epoch=1"], "did you mean epochs"),
        (["--params_file=range.test"], "--algo=random"),
        (["--params_file=hyper.test", "--eval_args={'split': {'LS': 'test_only'}}"], "'test_only'} leaves none"),
        (["--params_file=hyper.test", "--eval_args={'split': {'TS': [8, 0, 2]}}"], "leaves none"),
        (["--params_file=hyper.test", "--max_evals=0"], r"--max_evals must be a whole number above 0, not \[0\]"),
        (["--params_file=hyper.test", "--max_evals=-2"], r"--max_evals must be a whole number above 0, not \[-2\]"),
    ],
)
def test_mistake_is_told_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str], why: str
) -> None:
    params_file("learning_rate choice [0.1]")
    Path("range.test").write_text("learning_rate uniform 0,1\n")
    monkeypatch.setattr(tuning, "tune", None)
    with pytest.raises(ConfigError, match=why):
        tuning.main([*arguments, "--model=SASRec", "--dataset=toy"])


# the search, with trials that only look their score up


@pytest.fixture
def search(make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """``search(score, space, ...)``: the summary of a search whose trials score ``score(params)``."""
    pytest.importorskip("hyperopt")
    monkeypatch.setenv("HYPEROPT_FMIN_SEED", "")  # the search sets it; here it is taken back

    def run(score: Score, space: Mapping[str, Any], *more: Any, **settings: Any) -> dict[str, Any]:
        config = make_config(**settings)

        def look_up(model: str, dataset: str, files: Any, params: Mapping[str, Any], argv: Any) -> Any:
            found = score(params)
            metric = config["valid_metric"].lower()
            valid = {"unmasked": {metric: found}, "strict": {metric: -found}}
            parts = {"valid": valid, "test": {mode: {metric: 0.0} for mode in valid}}
            return SimpleNamespace(modes={"Base": parts}, stages=())

        monkeypatch.setattr(tuning, "run", look_up)
        return tuning.tune(tuning.Search(config, [], [], Path("tuning.json")), space, *more)

    return run


def test_exhaustive_search_tries_everything_once(search: Callable[..., dict[str, Any]]) -> None:
    """RecBole's own would stop after ten trials without a better one."""
    space = {"choice": {"epochs": list(range(1, 6)), "seed": list(range(6))}}
    summary = search(lambda params: -params["epochs"] - params["seed"], space)
    tried = [(trial["params"]["epochs"], trial["params"]["seed"]) for trial in summary["trials"]]
    assert sorted(tried) == [(epochs, seed) for epochs in range(1, 6) for seed in range(6)]
    assert (summary["best_params"], summary["best_score"]) == ({"epochs": 1, "seed": 0}, -1)
    assert json.loads(Path("tuning.json").read_text()) == summary


def test_trials_are_scored_in_the_history_mode_of_the_validation(search: Callable[..., dict[str, Any]]) -> None:
    space = {"choice": {"epochs": [1, 2, 3]}}
    summary = search(lambda params: params["epochs"], space, valid_history="strict")
    assert (summary["best_params"], summary["best_score"]) == ({"epochs": 1}, -1)
    assert summary["valid_history"] == "strict"


def test_max_evals_limits_an_exhaustive_search_too(search: Callable[..., dict[str, Any]]) -> None:
    assert len(search(lambda params: 0.5, {"choice": {"epochs": [1, 2, 3]}}, "exhaustive", 2)["trials"]) == 2


def test_smaller_is_better_where_the_metric_says_so(search: Callable[..., dict[str, Any]]) -> None:
    summary = search(
        lambda params: params["epochs"],
        {"choice": {"epochs": [2, 1, 3]}},
        metrics=["AveragePopularity"],
        valid_metric="AveragePopularity@5",
    )
    assert summary["best_params"] == {"epochs": 1}


@pytest.mark.parametrize("algorithm", ["random", "bayes"])
def test_same_command_draws_the_same_settings(search: Callable[..., dict[str, Any]], algorithm: str) -> None:
    """So that a search that was stopped finds its finished trials."""
    space = {"loguniform": {"learning_rate": [-8, -2]}}
    first, second, other = (
        search(lambda params: params["learning_rate"], space, algorithm, 3, seed=seed) for seed in (1, 1, 2)
    )
    assert first == second
    assert first["trials"] != other["trials"]


def test_keys_that_count_get_whole_numbers(search: Callable[..., dict[str, Any]]) -> None:
    space = {"quniform": {"n_layers": [1, 3, 1], "learning_rate": [1, 3, 1]}}
    for trial in search(lambda params: 0.5, space, "random", 3)["trials"]:
        assert type(trial["params"]["n_layers"]) is int
        assert type(trial["params"]["learning_rate"]) is float


def test_trial_that_diverges_loses(search: Callable[..., dict[str, Any]]) -> None:
    def score(params: Mapping[str, Any]) -> float:
        if params["learning_rate"] > 1:
            raise TrainingDiverged("the loss is nan")
        return 0.1

    summary = search(score, {"choice": {"learning_rate": [10.0, 0.1]}})
    assert summary["best_params"] == {"learning_rate": 0.1}
    assert {trial["params"]["learning_rate"]: trial.get("error") for trial in summary["trials"]} == {
        10.0: "the loss is nan",
        0.1: None,
    }
    with pytest.raises(RuntimeError, match="every trial diverged"):
        search(score, {"choice": {"learning_rate": [10.0]}})


def test_trials_of_every_earlier_search_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hyperopt")

    def write(search: tuning.Search, *_: Any) -> dict[str, Any]:
        search.output_file.write_text(str(next(numbers)))
        return {"best_params": {}, "best_score": 0.5, "valid_metric": "NDCG@10"}

    numbers = iter((1, 2, 3))
    monkeypatch.setattr(tuning, "tune", write)
    command = [f"--params_file={params_file('learning_rate choice [0.1]')}", "--model=SASRec", "--dataset=toy"]
    for _ in range(3):
        tuning.main([*command, "--output_file=trials.json"])
    names = ("trials.json.former-1", "trials.json.former-2", "trials.json")
    assert [Path(name).read_text() for name in names] == ["1", "2", "3"]


# the whole


def test_trials_share_artifacts_and_a_second_search_finds_them_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hyperopt")
    write_dataset(tmp_path / "data", "toy", walks())
    small = {"MAX_ITEM_LIST_LENGTH": 8, "hidden_size": 8, "inner_size": 16, "epochs": 1, "sft_epochs": 1}
    keys = {**TINY_SCRATCH, **small, "group_count": 4, "data_path": tmp_path / "data"}
    file = params_file("fusion_type choice ['gate','sum']")
    command = [f"--params_file={file}", "--model=TSLRecSASRec", "--dataset=toy"]
    command += [f"--{key}={value}" for key, value in keys.items()]

    tuning.main(command)
    output = Path("artifacts", "toy", "tuning-TSLRecSASRec.json")
    first, second = json.loads(output.read_text())["trials"]
    assert "sft" in first["built"]
    assert {"backbone", "sft", "knowledge"} <= set(second["reused"])
    assert second["built"] == ["recommender", "evaluation of TSLRec"]
    assert second["score"] == second["valid"]["ndcg@10"]
    assert "trial 2: fusion_type" in capsys.readouterr().out

    tuning.main(command)
    again = json.loads(output.read_text())["trials"]
    assert [trial["built"] for trial in again] == [[], []]
    assert [trial["score"] for trial in again] == [first["score"], second["score"]]
    assert json.loads(output.with_name(f"{output.name}.former-1").read_text())["trials"] == [first, second]
