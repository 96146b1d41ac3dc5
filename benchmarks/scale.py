"""Large datasets: 20 million interactions of a million users (quick: 2 million), and what grows with them.

Each loading has a process of its own: RecBole's, the package's first one, which reads the file and leaves the data
artifact, and later ones, which map that. All are given the same file and have to give the same parts, row by row. The
seconds that ratios are made of are CPU seconds; memory is what a process grows by while it loads.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import interactions
import processes
from catalogue import ITEMS, ranking_throughput, ranking_vs_fixed_chunks, recommend_throughput, sft_split_growth
from loading import ANSWER, NAME, OURS, STOCK
from measure import Report, arguments, say
from trial import TrialFailed

_HERE = Path(__file__).parent
_BYTES_A_ROW = 1_400  # of stock RecBole at its peak, for each interaction: 2,503 MiB for two million at --quick
_PAGE = 2.0**-8  # MiB; a small dataset may fit into memory that the process has already


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        users: M.
        items: N.
        mean_length: interactions of a user on average.
        rounds: mapped loadings; the fastest counts.
    """

    users: int = 1_000_000
    items: int = 300_000
    mean_length: int = 20
    rounds: int = 3

    @property
    def interactions(self) -> int:
        """How many there are, near enough."""
        return self.users * self.mean_length


QUICK = Scale(users=100_000, items=50_000)


def loading(scale: Scale, report: Report, folder: Path) -> None:
    """Reading, filtering and splitting a file: RecBole, the first run of the package, later runs."""
    settings = folder / "settings.json"
    settings.write_text(json.dumps(_settings(folder)))
    found: dict[str, dict[str, Any]] = {}
    if scale.interactions * _BYTES_A_ROW < psutil.virtual_memory().available:
        found["RecBole"] = _load(STOCK, settings)
    else:
        report.note("stock RecBole's prefixes do not fit this machine's memory at this size; --quick compares with it")
    found["first run"] = _load(OURS, settings)
    found["later run"] = min((_load(OURS, settings) for _ in range(scale.rounds)), key=lambda one: one["CPU seconds"])
    if len({one["parts"] for one in found.values()}) > 1 or found.get("RecBole", {}).get("is stock") is False:
        raise TrialFailed(f"the loadings give other parts: {found}")
    shown = ("seconds", "CPU seconds", "peak MiB", "rows")
    title = f"loading {scale.interactions:,} interactions of {scale.users:,} users with {scale.items:,} items"
    report.add_table(title, [{"loading": name, **{key: one[key] for key in shown}} for name, one in found.items()])
    report.add_ratios(ratios(found))


def ratios(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The figures by which loading is judged; those against RecBole where it was measured."""
    first, later = found["first run"], found["later run"]
    judged = {"load_again_vs_first": first["CPU seconds"] / later["CPU seconds"]}
    if "RecBole" in found:
        stock = found["RecBole"]
        judged["load_vs_recbole"] = stock["CPU seconds"] / later["CPU seconds"]
        judged["load_first_vs_recbole"] = stock["CPU seconds"] / first["CPU seconds"]
        judged["load_memory"] = stock["peak MiB"] / max(later["peak MiB"], _PAGE)
        judged["load_first_memory"] = stock["peak MiB"] / max(first["peak MiB"], _PAGE)
    return judged


def _settings(folder: Path) -> dict[str, Any]:
    return {
        "data_path": str(folder),
        "artifacts_dir": str(folder / "artifacts"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "MAX_ITEM_LIST_LENGTH": 50,
        "use_gpu": False,
        "show_progress": False,
        "state": "WARNING",
    }


def _load(contender: str, settings: Path) -> dict[str, Any]:
    say(f"loading: {contender}")
    command = [sys.executable, str(_HERE / "loading.py"), contender, str(settings)]
    done = subprocess.run(command, cwd=settings.parent, capture_output=True, text=True, check=False)
    answers = [line for line in done.stdout.splitlines() if line.startswith(ANSWER)]
    if done.returncode or not answers:
        raise TrialFailed(f"loading.py {contender} ended with status {done.returncode}: {done.stderr[-800:]}")
    answer: dict[str, Any] = json.loads(answers[-1].removeprefix(ANSWER))
    return answer


def catalogue(scale: Scale, report: Report, folder: Path) -> None:
    """What grows with the items or the users: ranking, serving, the split of a step of fine-tuning."""
    say(f"ranking and recommending among {ITEMS:,} items")
    served = {"recommend, SASRec": recommend_throughput(), "ranking the target": ranking_throughput()}
    rows = [{"task": task, "users a CPU second": users} for task, users in served.items()]
    report.add_table(f"{ITEMS:,} items, d 64", rows)
    report.add_ratios({"ranking_vs_fixed_chunks": ranking_vs_fixed_chunks(), "sft_split_growth": sft_split_growth()})


def two_processes(scale: Scale, report: Report, folder: Path) -> None:
    """A recommender's training and ranking shared by two processes of one thread."""
    say("two processes against one")
    processes.measure(processes.QUICK if scale == QUICK else processes.Scale(), report)


# what is measured at this size; each writes its table and its ratios into the report
MEASURES: list[Callable[[Scale, Report, Path], None]] = [loading, catalogue, two_processes]


def measure(scale: Scale, report: Report) -> None:
    """Write the dataset, in no order, and measure on it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        interactions.write_walks(folder, NAME, scale.users, scale.items, scale.mean_length)
        for one in MEASURES:
            try:
                one(scale, report, folder)
            except TrialFailed as error:
                report.failures[one.__name__] = str(error)
                say(f"FAILED {one.__name__}: {error}")
                report.write()


def main() -> None:
    """Measure and report."""
    given = arguments(__doc__).parse_args()
    report = Report("scale", given.json)
    measure(QUICK if given.quick else Scale(), report)
    if report.failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
