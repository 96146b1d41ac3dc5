"""What each stage costs, and how it grows."""

from pathlib import Path

import stages


def test_a_stage_is_measured_in_a_process_of_its_own_and_leaves_its_artifact(tmp_path: Path) -> None:
    stages.write(tmp_path, "toy", users=60, items=40, mean_length=8)
    cost = stages.stage(tmp_path, "toy", "data")
    assert cost["CPU seconds"] > 0
    assert cost["peak MiB"] > 50  # torch alone takes more
    assert list((tmp_path / "artifacts" / "toy").glob("data-*"))


def test_exponents_are_those_of_tenfold_data() -> None:
    costs = {"tenth": {"CPU seconds": 2.0, "peak MiB": 500.0}, "whole": {"CPU seconds": 20.0, "peak MiB": 500.0}}
    line = stages.row("groups", costs)
    assert (line["exponent of CPU seconds"], line["exponent of peak MiB"]) == (1, 0)
    assert (line["CPU seconds, tenth"], line["CPU seconds, whole"]) == (2, 20)
