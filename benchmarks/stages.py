"""Every stage of TSLRecSASRec at one size and at a tenth of it: seconds, peak memory, how both grow.

Each stage is the command line with ``--stop_after``, in a process of its own, which finds the stages before it. What
such a process costs that finds its stage as well, for imports and for mapping the data artifact, is taken off the CPU
seconds, and has a line of its own. The training of a recommender and of the LLM is one epoch.
"""

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import interactions
from measure import Report, arguments, own_peak_bytes, say
from trial import TrialFailed

_ANSWER = "answer: "  # before the line of JSON
_ONE = "--one"  # a stage, in a process of its own
_START = "start"  # of a later process: its stage is there
STAGES = {
    "data": "reading, filters, ids, split",
    _START: "imports, mapping the data",
    "backbone": "an epoch, all positions, 1,024 negatives",
    "groups": "k-means, K 32",
    "targets": "preference targets",
    "sft": "an epoch, scratch LLM, H 64, a layer",
    "knowledge": "export",
    "recommender": "an epoch, gate",
}
SETTINGS = {
    "MAX_ITEM_LIST_LENGTH": 50,
    "epochs": 1,
    "eval_step": 0,  # ranking grows with users times items, and has a row of its own
    "loss_type": "sampled_softmax",
    "train_batch_size": 2048,
    "sft_epochs": 1,
    "sft_batch_size": 256,
    "scratch_hidden_size": 64,
    "scratch_intermediate_size": 172,
    "scratch_layers": 1,
    "scratch_heads": 2,
    "use_gpu": False,
    "show_progress": False,
    "state": "WARNING",
}


def stage_costs(folder: Path, users: int, items: int, mean_length: int, report: Report) -> None:
    """Run all stages at a tenth and at the whole size, and write their table.

    Raises:
        TrialFailed: a stage ended with an error.
    """
    sizes = {"tenth": 10, "whole": 1}
    found: dict[str, dict[str, Any]] = {name: {} for name in STAGES}
    for size, divisor in sizes.items():
        write(folder, size, users // divisor, items // divisor, mean_length)
        for name in STAGES:
            cost = stage(folder, size, "data" if name == _START else name)
            if name not in ("data", _START):
                cost["CPU seconds"] -= found[_START][size]["CPU seconds"]
            found[name][size] = cost
        rows = [row(name, found[name]) for name in STAGES]
        report.add_table(f"stages at {users:,} users, {items:,} items, {users * mean_length:,} interactions", rows)


def write(folder: Path, name: str, users: int, items: int, mean_length: int) -> None:
    """Write a dataset and its settings."""
    interactions.write_walks(folder, name, users, items, mean_length)
    places = {"data_path": str(folder), "artifacts_dir": str(folder / "artifacts")}
    (folder / f"{name}.yaml").write_text(json.dumps({**SETTINGS, **places}))  # JSON is YAML


def row(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """A stage's line: CPU seconds and peak memory at both sizes, and the exponents of both between them."""
    line: dict[str, Any] = {"stage": name, "what": STAGES[name]}
    for key in ("CPU seconds", "peak MiB"):
        line.update({f"{key}, {size}": one[key] for size, one in found.items()})
        if len(found) == 2:
            line[f"exponent of {key}"] = math.log10(found["whole"][key] / found["tenth"][key])
    return line


def stage(folder: Path, dataset: str, name: str) -> dict[str, Any]:
    """CPU seconds and peak memory of a process that runs up to a stage; the earlier stages are found.

    Raises:
        TrialFailed: it ended with an error.
    """
    say(f"{dataset}: {name}")
    command = [sys.executable, str(Path(__file__).resolve()), _ONE, "run", "--model=TSLRecSASRec"]
    command += [f"--dataset={dataset}", f"--config_files={folder / dataset}.yaml", f"--stop_after={name}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    answers = [line for line in done.stdout.splitlines() if line.startswith(_ANSWER)]
    if done.returncode or not answers:
        raise TrialFailed(f"stage {name} of {dataset} ended with status {done.returncode}: {done.stderr[-800:]}")
    answer: dict[str, Any] = json.loads(answers[-1].removeprefix(_ANSWER))
    return answer


def one(argv: Sequence[str]) -> dict[str, float]:
    """Run the command line in this process; what that took since the process began, imports included."""
    from recbole_tslrec.cli import console

    sys.argv = ["recbole_tslrec", *argv]
    console()
    return {"CPU seconds": time.process_time(), "peak MiB": own_peak_bytes() / 2**20}


def main() -> None:
    """Measure and report, or be the process of a stage."""
    if sys.argv[1:2] == [_ONE]:
        sys.stdout.write(f"{_ANSWER}{json.dumps(one(sys.argv[2:]))}\n")
        return
    given = arguments(__doc__).parse_args()
    divisor = 20 if given.quick else 1
    with tempfile.TemporaryDirectory() as folder:
        stage_costs(Path(folder), 1_000_000 // divisor, 300_000 // divisor, 20, Report("stages", given.json))


if __name__ == "__main__":
    main()
