"""Stock RecBole and the package train on the same data in processes of their own, and the promised figures come out."""

import json
from pathlib import Path
from typing import Any

import contenders
import downstream
import gates
import interactions
import lengths
import measure
import numpy as np
import pytest
from contenders import ALL_POSITIONS, PREFIX, STOCK, Contender, run_epochs
from trial import TrialFailed

TINY: dict[str, Any] = {
    "hidden_size": 8,
    "inner_size": 16,
    "MAX_ITEM_LIST_LENGTH": 8,
    "train_batch_size": 64,
    "hidden_dropout_prob": 0.0,
    "attn_dropout_prob": 0.0,
}
SCALE = downstream.Scale(
    TINY,
    share=0.01,
    rounds=1,
    steps=1,
    best_share=0.01,
    stock_epochs=2,
    max_epochs=2,
    long_steps=1,
    knowledge_size=16,
    gates=(gates.Gate(), gates.Gate(ALL_POSITIONS, amp=False)),
)


class Scripted:
    """A contender whose validations are known; a training epoch takes 2 s and a validation 1 s."""

    def __init__(self, *scores: float) -> None:
        self.scores = list(scores)

    def ask(self, task: str, **arguments: Any) -> Any:
        return 2.0 if task == "epoch" else {"score": self.scores.pop(0), "seconds": 1.0}


def facts(users: int = 9, imports: bool = False) -> Any:
    return Contender(None, {"users": users, "items": 5, "targets": 7, "imports recbole_tslrec": imports})


def bench(tmp_path: Path, **settings: Any) -> downstream.Bench:
    return downstream.Bench(SCALE, measure.Report("downstream", tmp_path / "downstream.json"), **settings)


def test_a_walker_goes_on_from_the_last_item() -> None:
    user, item = interactions.walk(np.array([3, 2]), items=2, steps=(1,), jumps=0.0)
    assert user.tolist() == [0, 0, 0, 1, 1]
    assert (item[1] - item[0]) % 2 == (item[2] - item[1]) % 2 == (item[4] - item[3]) % 2 == 1
    assert {int(item[0]), int(item[3])} == {0, 1}  # with as many users as items every item occurs


def test_random_data_has_the_datasets_size(tmp_path: Path) -> None:
    interactions.provide(tmp_path, "beauty")
    found = lengths.count(tmp_path / "beauty" / "beauty.inter")
    assert found == json.loads(lengths.STORED.read_text())["beauty"]


def test_a_share_of_given_data_keeps_whole_users(tmp_path: Path) -> None:
    user, item = np.repeat(np.arange(4), 3), np.arange(12)
    interactions.write(tmp_path / "given", "beauty", user, item)
    text = interactions.provide(tmp_path / "data", "beauty", 0.5, tmp_path / "given")
    rows = (tmp_path / "data" / "beauty" / "beauty.inter").read_text().splitlines()[1:]
    assert [row.split("\t")[0] for row in rows] == ["u0"] * 3 + ["u2"] * 3
    assert "6 interactions" in text


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"ml-1m\.inter"):
        interactions.given_file(tmp_path, "ml1m_long")


def test_epochs_end_when_no_better_validation_comes() -> None:
    rows = run_epochs(Scripted(0.1, 0.3, 0.3, 0.2, 0.2, 0.9), most=6, stopping_step=1)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]  # RecBole waits longer than stopping_step
    assert {row["seconds"] for row in rows} == {3.0}


def test_epochs_end_when_a_validation_is_reached() -> None:
    rows = run_epochs(Scripted(0.1, 0.3, 0.9), most=6, stopping_step=1, until=0.3)
    assert [row["NDCG@10"] for row in rows] == [0.1, 0.3]


def test_contenders_with_other_data_are_not_compared() -> None:
    contenders.check_same_data({STOCK: facts(), PREFIX: facts()})
    with pytest.raises(TrialFailed, match="different data"):
        contenders.check_same_data({STOCK: facts(), PREFIX: facts(users=8)})


def test_a_stock_recbole_that_is_mended_is_not_compared() -> None:
    contenders.check_same_data({STOCK: facts(), PREFIX: facts(imports=True)})
    with pytest.raises(TrialFailed, match="imported"):
        contenders.check_same_data({STOCK: facts(imports=True), PREFIX: facts()})


def test_stock_and_prefix_train_alike_and_only_stock_in_anomaly_mode() -> None:
    """Both start with the same weights, take the same batches and give the same validation."""
    with contenders.ring("beauty", TINY) as place:
        interactions.provide(place.folder, "beauty", share=0.01)
        started = {name: place.start(name) for name in (STOCK, PREFIX)}
        contenders.check_same_data(started)
        assert {name: one.facts["anomaly mode"] for name, one in started.items()} == {STOCK: True, PREFIX: False}
        scores = {name: [row["NDCG@10"] for row in run_epochs(one, 2, 10)] for name, one in started.items()}
    assert scores[STOCK] == scores[PREFIX]
    assert max(scores[STOCK]) > 0


def test_what_fails_in_a_process_is_said_and_it_goes_on(tmp_path: Path) -> None:
    script = tmp_path / "lost.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(downstream.__file__).parent)!r})\n"
        "from trial import serve\nserve(lambda model, dataset, settings: [][0])"
    )
    with contenders.Process(script, tmp_path) as process:
        with pytest.raises(TrialFailed, match=r"lost\.py failed at \[prepare\]: IndexError"):
            process.ask("prepare", model="SASRec", dataset="toy", settings={})
        assert process.ask("peak_bytes") > 0


def test_a_process_that_cannot_start_leaves_its_last_words(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('out of luck')")
    with contenders.Process(script, tmp_path) as process, pytest.raises(TrialFailed, match="out of luck"):
        process.ask("prepare")


def test_a_part_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(bench: downstream.Bench) -> None:
        raise TrialFailed("no memory")

    monkeypatch.setattr(
        downstream, "PARTS", {"first": fail, "second": lambda bench: bench.report.add_ratios({"ratio": 2.0})}
    )
    subject = bench(tmp_path)
    downstream.measure(subject)
    found = json.loads((tmp_path / "downstream.json").read_text())
    assert (found["failures"], found["ratios"]) == ({"first": "no memory"}, {"ratio": 2.0})


@pytest.mark.slow
def test_all_parts_give_their_ratios(tmp_path: Path) -> None:
    subject = bench(tmp_path)
    downstream.measure(subject)
    assert subject.report.failures == {}
    stock_over_ours = {"prefix_step", "beauty_time_to_recbole_best", "ml1m_epoch", "ml1m_peak_memory"}
    gate = {"gate_step_bf16", "gate_step_pca", "gate_step_fp32_all_positions", "gate_step_pca_fp32_all_positions"}
    assert set(subject.report.ratios) == stock_over_ours | gate
    assert all(subject.report.ratios[name] > 0 for name in gate | {"prefix_step", "ml1m_epoch", "ml1m_peak_memory"})


def test_the_curve_of_an_earlier_run_is_taken_over(tmp_path: Path) -> None:
    subject = bench(tmp_path)
    title = f"{downstream.CURVE}, on toy, at most 2 epochs"
    rows = [{"epoch": 1, "NDCG@10": 0.25, "seconds": 1.0}]
    subject.report.add_table(title, rows)
    again = bench(tmp_path, former=downstream.former_tables(subject.report.path))
    assert downstream.prefix_curve(None, "toy", again) == rows
    assert any("earlier run" in note for note in again.report.notes)
