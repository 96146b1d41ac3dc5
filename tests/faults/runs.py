"""Small runs of every family in processes of their own, and what they leave."""

import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from recbole_tslrec.augmentation import knowledge_export
from recbole_tslrec.cli import console
from recbole_tslrec.store import step_checkpoints
from recbole_tslrec.store.artifacts import open_artifact
from tests.conftest import SMALL, walks, write_dataset
from tests.faults.disk import Disk, Fault, stop

# every step leaves a checkpoint, every block a mark
QUICK = {**SMALL, "epochs": 2, "sft_epochs": 2, "sft_save_steps": 2, "sft_batch_size": 16, "show_progress": False}
FAMILIES: dict[str, dict[str, object]] = {
    "SASRec": {},
    "TSLRecGRU4Rec": {},
    "CISASRec": {},
    "E4SRec": {"sft_batch_size": 128},
    "LlamaRec": {"retriever": "GRU4Rec", "ranker_title_tokens": 2, "sft_batch_size": 128, "sft_epochs": 1},
    "P5": {"p5_prompts": 1, "p5_straightforward": False, "beams": 10, "topk": [10], "sft_batch_size": 128},
    "POD": {"pod_candidates": 4, "beams": 10, "topk": [10]},
}


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: its exit status; negative for a signal.
        said: what it said last.
        places: of each change of the disk, which lines were about it; none where it was killed.
        seconds: how long it ran.
    """

    code: int
    said: str
    places: list[str]
    seconds: float

    @property
    def is_refusal(self) -> bool:
        """Whether an error that a user can mend was said, in one message."""
        return self.code == 1 and self.said.startswith("error: ") and "--state=DEBUG" not in self.said


@dataclass(frozen=True)
class Command:
    """One command of a family, on a dataset and artifacts below a folder of its own."""

    family: str
    folder: Path

    @property
    def artifacts(self) -> Path:
        """Where they lie."""
        return self.folder / "artifacts" / "toy"

    def prepare(self) -> None:
        """Write the dataset."""
        write_dataset(self.folder / "data", "toy", walks(users=30, length=8))

    def start(self, before: int = -1, fault: Fault = stop) -> int:
        """Start the command, and let a fault happen before a change of the disk; gives the process."""
        process = os.fork()
        if process == 0:
            self._child(before, fault)
        return process

    def run(self, before: int = -1, fault: Fault = stop, kill_after: float | None = None) -> Ended:
        """Run the command to its end; it may be killed after some seconds."""
        started = time.monotonic()
        process = self.start(before, fault)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(process, signal.SIGKILL)
        return self.wait(process, started)

    def wait(self, process: int, started: float) -> Ended:
        """Wait for a process that was started."""
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        said, places = self._note(process, "said"), self._note(process, "places")
        return Ended(code, said, places.splitlines(), time.monotonic() - started)

    def _note(self, process: int, name: str) -> str:
        path = self.folder / f"{process}.{name}"
        return path.read_text() if path.exists() else ""

    def _child(self, before: int, fault: Fault) -> None:
        """Never returns."""
        os.chdir(self.folder)
        log = os.open(f"{os.getpid()}.log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1), os.dup2(log, 2)
        step_checkpoints.SECONDS_BETWEEN = knowledge_export._SECONDS_BETWEEN_MARKS = -1.0
        keys = {**QUICK, **FAMILIES[self.family], "data_path": self.folder / "data", "artifacts_dir": "artifacts"}
        arguments = [f"--{key}={value}" for key, value in keys.items()]
        sys.argv = ["run", f"--model={self.family}", "--dataset=toy", *arguments]
        code, said, disk = 0, "", Disk(self.artifacts)
        try:
            with disk.watched(before, fault):
                console()
        except SystemExit as end:
            code, said = 1, str(end.code)
        except BaseException:  # nothing may go on in the child
            code, said = 2, traceback.format_exc()
        Path(f"{os.getpid()}.said").write_text(said)
        Path(f"{os.getpid()}.places").write_text("\n".join(disk.places))
        os._exit(code)

    def found(self) -> dict[str, str]:
        """The hash of each artifact, by its folder."""
        folders = [path for path in self.artifacts.iterdir() if path.is_dir()]
        return {path.name: open_artifact(path).hash for path in folders}

    def left_over(self) -> list[str]:
        """What no finished command leaves."""
        endings = (".partial", ".previous", ".discarded", ".tmp", "unfinished")
        return [str(path) for path in self.artifacts.rglob("*") if path.name.endswith(endings)]
