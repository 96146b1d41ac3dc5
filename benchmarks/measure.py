"""What all benchmarks share: peak memory, the printed table and the JSON file."""

import argparse
import ctypes
import gc
import importlib.metadata
import json
import platform
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil
import torch
from tabulate import tabulate

_PACKAGES = ("torch", "transformers", "peft", "numpy")
_SAMPLES_A_SECOND = 500  # of the resident memory, where the device does not count by itself


def say(line: str = "") -> None:
    """Print a line at once, so that a run without a terminal shows how far it is."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The arguments that all benchmarks take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--quick", action="store_true", help="smaller samples and fewer rounds: under three minutes")
    return parser


@dataclass
class Report:
    """What a benchmark found.

    Attributes:
        name: of the benchmark.
        path: the JSON file, or ``None``.
        tables: rows by title.
        ratios: the figures by which a result is judged.
        notes: what one has to know to read the figures.
        failures: messages by part, of parts that could not be measured.
    """

    name: str
    path: Path | None = None
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Keep and print a note, once."""
        if text not in self.notes:
            self.notes.append(text)
            say(text)

    def add_table(self, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep and print rows, and write the file."""
        self.tables[title] = [dict(row) for row in rows]
        say(f"\n{title}\n{tabulate(self.tables[title], headers='keys', floatfmt=',.4g')}")
        self.write()

    def add_ratios(self, ratios: Mapping[str, float]) -> None:
        """Keep and print ratios, and write the file."""
        self.ratios.update(ratios)
        for name, ratio in ratios.items():
            say(f"{name} {ratio:.3g}")
        self.write()

    def write(self) -> None:
        """Write what there is so far, so that a run that is cut off leaves it."""
        if self.path is None:
            return
        found = {
            "benchmark": self.name,
            "command": " ".join(["python", *sys.argv]),
            "machine": machine(),
            "notes": self.notes,
            "tables": self.tables,
            "ratios": self.ratios,
            "failures": self.failures,
        }
        beside = self.path.with_name(self.path.name + ".partial")
        beside.write_text(json.dumps(found, indent=1) + "\n")
        beside.replace(self.path)


def machine() -> dict[str, Any]:
    """The machine, the versions and the time."""
    from recbole_tslrec.compute.precision import (
        computes_in_bfloat16,  # not above: stock.py must stay free of the package
    )

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=False),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": gpu,
        "computes_in_bfloat16": computes_in_bfloat16("cuda" if gpu else "cpu"),
        "load_average": psutil.getloadavg()[0],
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """What a run takes at its peak, weights included on a GPU; on a CPU what the process grows by."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device)
    _return_free_memory()
    process = psutil.Process()
    before = peak = process.memory_info().rss
    finished = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not finished.wait(1 / _SAMPLES_A_SECOND):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    run()
    finished.set()
    watcher.join()
    return peak - before


def _return_free_memory() -> None:
    """Hand memory that earlier runs left in the C library's pools back, or later runs would seem to need none."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def own_peak_bytes() -> int:
    """The largest resident memory of this process since it began."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the process that started this one
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
