"""One GPU, no one watching: Llama2-7B and 13B with random weights, in bfloat16, with LoRA on all linear layers.

sft        Steps of the user-level SFT at the lengths of beauty, yelp and ml-1m (cut at 50), in micro-batches of
           several sizes, with each kernel of attention over a prefix row; seconds an epoch follow from its tokens.
epoch      One whole epoch of 7B on beauty, with what was fastest, where it is expected to take less than 40 s.
export     All of beauty's items through the merged LLM.
attention  benchmarks/attention.py at the size of 13B.

``TFLOP/s`` are counted at 4N a token that is computed, after the prefix is shared, without attention. Every LLM and
kernel has a process of its own, since a kernel that fails may take the GPU's whole state with it. The JSON file is
written after every part; a part that fails leaves its message there and does not stop the others. Under ten minutes
on an H200; ``--toy`` runs the same code on a CPU with a tiny LLM.
"""

import gc
import json
import multiprocessing
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import attention
import lengths
from measure import Report, arguments, peak_bytes, say
from models import (
    EMBEDDING_SIZE,
    INSTRUCTION_TOKENS,
    LLAMA2_7B,
    LLAMA2_13B,
    RESPONSE_TOKENS,
    TINY,
    LLMSize,
    build_llm,
    build_network,
    item_embeddings,
    make_examples,
)
from recbole_tslrec.augmentation.knowledge_export import export_items, prepare_for_export
from recbole_tslrec.compute.memory import free_memory
from recbole_tslrec.llm.settings import PREFIX_ROW
from recbole_tslrec.sft.batching import TokenBudget, split_step
from recbole_tslrec.sft.cost import Decoder, Work, matmul_speed, prefix_row_work
from recbole_tslrec.sft.examples import Examples
from recbole_tslrec.sft.network import PromptNetwork
from recbole_tslrec.sft.prompt_lengths import sample
from recbole_tslrec.sft.timing import seconds, synchronize
from recbole_tslrec.store.tensor_file import TensorFile
from steps import Training, budget_steps

ATTENTION, SFT, EPOCH, EXPORT = "attention", "sft", "epoch", "export"
DENSE_H200 = 790e12  # FLOP/s in bfloat16 that an H200 reaches in large products; data sheets say 989
_PER_WEIGHT = 4
_ROOM = 0.92  # of the free memory that the estimated activations may take
_EXPORT_BATCH = 1024


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        sizes: of the LLMs, by name.
        cases: of :data:`lengths.CASES`.
        budgets: tokens of a micro-batch.
        kernels: of attention over a prefix row.
        timed_tokens: in the timed sample of one setting.
        batch_size: users a step of the optimizer.
        whole_epoch: the LLM whose epoch on beauty is measured whole.
        epoch_users: of that epoch; ``None`` is all of them.
        most_epoch_seconds: beyond which it is left out.
        export_items: that are exported; ``None`` is all of beauty's.
        one_layer: for the attention of one layer.
        most_seconds: after which the process that runs is stopped, and no new one begins.
    """

    sizes: dict[str, LLMSize] = field(default_factory=lambda: {"7b": LLAMA2_7B, "13b": LLAMA2_13B})
    cases: Sequence[str] = ("beauty", "yelp", "ml1m")
    budgets: Sequence[int] = (8192, 16384)
    kernels: Sequence[str] = ("flex", "varlen")
    timed_tokens: int = 49152
    batch_size: int = 1024
    whole_epoch: str = "7b"
    epoch_users: int | None = None
    most_epoch_seconds: float = 40.0
    export_items: int | None = None
    one_layer: attention.Scale = attention.ON_GPU
    most_seconds: float = 570.0


TOY = Scale(
    sizes={"7b": TINY, "13b": TINY},
    budgets=(256,),
    kernels=("tiles", "flex"),
    timed_tokens=1024,
    batch_size=32,
    epoch_users=256,
    most_epoch_seconds=1e9,
    export_items=300,
    one_layer=attention.Scale(heads=2, head_size=16, tokens=(512,), rounds=1),
)


@contextmanager
def guarded(report: Report, name: str) -> Iterator[None]:
    """A part of a process; what it raises goes into the report."""
    started = time.perf_counter()
    say(name)
    try:
        yield
    except Exception as error:
        report.failures[name] = f"{type(error).__name__}: {error}"
        say(f"{name} failed: {''.join(traceback.format_exception(error)[-3:])}")
    finally:
        say(f"  {time.perf_counter() - started:.1f} s")
        report.write()
        _free()


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass
class Model:
    """A network and what is known of it.

    Attributes:
        name: of its size.
        size: of its LLM.
        network: TSLRec's, prompts in a prefix row.
        dtype: of the LLM.
        device: of the network.
        peak_speed: FLOP/s of a large matrix product there.
    """

    name: str
    size: LLMSize
    network: PromptNetwork
    dtype: torch.dtype
    device: torch.device
    peak_speed: float

    @property
    def decoder(self) -> Decoder:
        """The numbers that decide the LLM's cost."""
        return Decoder.of(self.size.config())

    @property
    def autocast(self) -> bool:
        """Whether training is in half precision, as accelerate makes it."""
        return self.dtype != torch.float32

    def fits(self, tokens: int) -> bool:
        """Whether the activations of a micro-batch are expected to fit."""
        needed = self.decoder.activation_bytes(self.dtype.itemsize, self.size.lora_rank) * tokens
        return needed < _ROOM * free_memory(self.device)


def build(name: str, size: LLMSize, device: torch.device, kernel: str, peak_speed: float) -> Model:
    """An LLM with random weights, made on the device in bfloat16 (on a CPU in float32)."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    started = time.perf_counter()
    torch.manual_seed(0)
    llm = build_llm(size, device, dtype)
    synchronize(device)
    say(f"{name}: built in {time.perf_counter() - started:.1f} s")
    items = lengths.load("beauty").items
    network = build_network(llm, size, items, device, kernel=kernel)
    return Model(name, size, network, dtype, device, peak_speed)


def sample_examples(case: str, tokens: int, budget: int, model: Model, batch_size: int) -> Examples:
    """Users with a dataset's lengths, about so many tokens of them, in steps of at least a full micro-batch."""
    data = lengths.load(case)
    mean = float((data.prompt_items + RESPONSE_TOKENS).mean())
    users = min(data.users, round(tokens / mean))
    full = max(1, int(budget / mean))  # users of a full micro-batch
    return make_examples(sample(data.prompt_items, users), model_items(model), max(full, batch_size))


def model_items(model: Model) -> int:
    """N of the network's table of item embeddings."""
    return len(model.network.item_embeddings) - 1


def epoch_work(case: str, budget: int, batch_size: int) -> Work:
    """What an epoch on a dataset computes, in the package's own steps."""
    segments = lengths.load(case).prompt_items + RESPONSE_TOKENS
    token_budget = TokenBudget(budget, INSTRUCTION_TOKENS, PREFIX_ROW)
    # the last micro-batch of each step is not full; so many users a step as in the package's plan
    order = np.sort(segments)
    steps = [np.arange(start, min(start + batch_size, len(order))) for start in range(0, len(order), batch_size)]
    rows = sum(len(split_step(users, order[users], token_budget)) for users in steps)
    return prefix_row_work(INSTRUCTION_TOKENS, segments, rows)


def sft_row(model: Model, case: str, budget: int, kernel: str, scale: Scale) -> dict[str, Any]:
    """Time a sample of an epoch with one kernel and one size of micro-batches.

    Raises:
        MemoryError: the micro-batches are not expected to fit.
    """
    if not model.fits(budget):
        raise MemoryError(f"micro-batches of {budget} tokens are not expected to fit")
    examples = sample_examples(case, scale.timed_tokens, budget, model, scale.batch_size)
    training = Training(
        model.network, examples, budget_steps(examples, budget, PREFIX_ROW), model.device, model.autocast
    )
    largest = max(training.steps, key=lambda step: len(step[0].examples))[:2]
    warm_up = Training(model.network, examples, [largest, training.steps[-1][:1]], model.device, model.autocast)
    peak = peak_bytes(warm_up, model.device)  # compiles kernels, too
    taken = seconds(training, model.device)
    work, epoch = training.work, epoch_work(case, budget, scale.batch_size)
    speed = _PER_WEIGHT * model.decoder.weights * work.tokens / taken
    return {
        "LLM": model.name,
        "case": case,
        "kernel": kernel,
        "micro-batch": budget,
        "timed tokens": work.tokens,
        "seconds": taken,
        "tokens/s": work.tokens / taken,
        "TFLOP/s": speed / 1e12,
        "share of 790": speed / DENSE_H200,
        "share of measured peak": speed / model.peak_speed,
        "with attention TFLOP/s": model.decoder.flops(work, _PER_WEIGHT) / taken / 1e12,
        "epoch tokens": epoch.tokens,
        "epoch seconds": epoch.tokens * taken / work.tokens,
        "peak GiB": peak / 2**30,
    }


def measure_sft(model: Model, kernel: str, scale: Scale, report: Report) -> list[dict[str, Any]]:
    """Every case and size of micro-batch with one kernel; a setting that fails is left out."""
    rows: list[dict[str, Any]] = []
    for case in scale.cases:
        for budget in scale.budgets:
            with guarded(report, f"sft {model.name} {case}, micro-batches of {budget}, {kernel}"):
                rows.append(sft_row(model, case, budget, kernel, scale))
                say(f"  {rows[-1]['TFLOP/s']:.4g} TFLOP/s, epoch {rows[-1]['epoch seconds']:.4g} s")
                report.tables[f"{SFT} {model.name} {kernel}"] = rows
    return rows


def best_rows(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The fastest setting of each case."""
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["case"] not in best or row["epoch seconds"] < best[row["case"]]["epoch seconds"]:
            best[row["case"]] = row
    return best


def measure_epoch(model: Model, row: dict[str, Any], scale: Scale) -> dict[str, Any]:
    """One whole epoch on beauty with the setting of a row.

    Raises:
        TimeoutError: it is expected to take too long.
    """
    if row["epoch seconds"] > scale.most_epoch_seconds:
        raise TimeoutError(f"an epoch is expected to take {row['epoch seconds']:.0f} s")
    prompt_items = lengths.load("beauty").prompt_items
    if scale.epoch_users is not None:
        prompt_items = sample(prompt_items, scale.epoch_users)
    examples = make_examples(prompt_items, model_items(model), scale.batch_size)
    plan = budget_steps(examples, row["micro-batch"], PREFIX_ROW)
    training = Training(model.network, examples, plan, model.device, model.autocast)
    taken = seconds(training, model.device)
    speed = _PER_WEIGHT * model.decoder.weights * training.work.tokens / taken
    return {
        "LLM": model.name,
        "kernel": row["kernel"],
        "micro-batch": row["micro-batch"],
        "users": len(examples),
        "seconds": taken,
        "TFLOP/s": speed / 1e12,
    }


def measure_export(model: Model, scale: Scale) -> dict[str, Any]:
    """All of beauty's items, from a file into a file. Merges the adapters: the network cannot be trained afterwards."""
    items = scale.export_items or lengths.load("beauty").items
    merged = seconds(lambda: prepare_for_export(model.network, model.dtype), model.device)
    with TemporaryDirectory() as name:
        folder = Path(name)
        few = min(items, 2 * _EXPORT_BATCH)

        def export(part: str, count: int) -> None:
            (folder / part).mkdir()
            table = TensorFile.create(folder / f"{part}.safetensors", {"item_embeddings": (count, EMBEDDING_SIZE)})
            table.write_rows("item_embeddings", 0, item_embeddings(count)[1:])
            export_items(model.network, table, folder / part, _EXPORT_BATCH)

        export("warm_up", few)
        taken = seconds(lambda: export("export", items), model.device)
    return {
        "LLM": model.name,
        "kernel": model.network.encoder.kernel,
        "items": items,
        "merging seconds": merged,
        "seconds": taken,
        "items/s": items / taken,
    }


def measure_llm(name: str, kernel: str, scale: Scale, device: torch.device, report: Report) -> None:
    """All parts of one LLM with one kernel."""
    peak_speed = matmul_speed(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    report.note(f"measured matmul peak: {peak_speed / 1e12:.4g} TFLOP/s")
    built: list[Model] = []
    with guarded(report, f"build {name} {kernel}"):
        built.append(build(name, scale.sizes[name], device, kernel, peak_speed))
    if not built:
        return
    model = built[0]
    best = best_rows(measure_sft(model, kernel, scale, report))
    if name == scale.whole_epoch and "beauty" in best:
        with guarded(report, f"epoch {name} {kernel}"):
            report.tables[f"{EPOCH} {name} {kernel}"] = [measure_epoch(model, best["beauty"], scale)]
    with guarded(report, f"export {name} {kernel}"):
        report.tables[f"{EXPORT} {name} {kernel}"] = [measure_export(model, scale)]


def measure_part(part: str, scale: Scale, device: torch.device, path: Path) -> None:
    """What one process does; its report goes to ``path``."""
    report = Report(part, path)
    if part == ATTENTION:
        with guarded(report, part):
            attention.measure(scale.one_layer, report, device, scale.kernels)
        return
    name, kernel = part.split()
    measure_llm(name, kernel, scale, device, report)


def parts_of(scale: Scale) -> list[str]:
    """The parts, each in a process of its own; the kernel that is tried first is measured on all LLMs first."""
    return [ATTENTION, *(f"{name} {kernel}" for kernel in scale.kernels for name in scale.sizes)]


def run_process(part: str, scale: Scale, device: torch.device, path: Path, seconds_left: float) -> str | None:
    """Measure a part in a process of its own; why it did not come to its end, or ``None``."""
    process = multiprocessing.get_context("spawn").Process(target=measure_part, args=(part, scale, device, path))
    process.start()
    process.join(max(0.0, seconds_left))
    if process.is_alive():
        process.kill()
        process.join()
        return f"stopped: {scale.most_seconds:.0f} s are over"
    return None if process.exitcode == 0 else f"its process ended with {process.exitcode}"


def gather(report: Report, part: str, path: Path, failure: str | None) -> None:
    """Take over what a process has left."""
    if failure is not None:
        report.failures[part] = failure
        say(f"{part}: {failure}")
    if not path.exists():
        return
    found = json.loads(path.read_text())
    report.failures.update(found["failures"])
    report.notes += [note for note in found["notes"] if note not in report.notes]
    report.ratios.update(found["ratios"])
    report.tables.update(found["tables"])


def summarise(report: Report) -> None:
    """The ratios of the best kernel and size of micro-batch, of every LLM and dataset."""
    rows = [row for title, table in report.tables.items() if title.startswith(SFT) for row in table]
    for name in dict.fromkeys(row["LLM"] for row in rows):
        for case, row in best_rows([row for row in rows if row["LLM"] == name]).items():
            report.ratios[f"{name}_{case}_tflops"] = row["TFLOP/s"]
            report.ratios[f"{name}_{case}_share_of_790"] = row["share of 790"]
            report.ratios[f"{name}_{case}_epoch_seconds"] = row["epoch seconds"]
    for kind, figure in ((EPOCH, "beauty_whole_epoch_seconds"), (EXPORT, "export_seconds")):
        found = [row for title, table in report.tables.items() if title.startswith(kind) for row in table]
        for name in dict.fromkeys(row["LLM"] for row in found):
            report.ratios[f"{name}_{figure}"] = min(row["seconds"] for row in found if row["LLM"] == name)


def measure(scale: Scale, report: Report, device: torch.device) -> None:
    """All parts, one process after the other."""
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        for number, part in enumerate(parts_of(scale)):
            spent = time.perf_counter() - started
            say(f"\n[{spent:.0f} s] {part}")
            path = Path(folder) / f"{number}.json"
            failure = run_process(part, scale, device, path, scale.most_seconds - spent)
            gather(report, part, path, failure)
            summarise(report)
            report.write()
    for kind in (SFT, EPOCH, EXPORT):
        rows = [row for title, table in list(report.tables.items()) if title.startswith(kind) for row in table]
        if rows:
            report.add_table(f"all {kind}", rows)
    report.add_ratios({})
    for name, ratio in report.ratios.items():
        say(f"{name} {ratio:.4g}")
    for part, message in report.failures.items():
        say(f"FAILED {part}: {message}")
    say(f"{time.perf_counter() - started:.0f} s, {len(report.failures)} failures")


def main() -> None:
    """Measure on the GPU, or with ``--toy`` on the CPU."""
    parser = arguments(__doc__)
    parser.add_argument("--toy", action="store_true", help="a tiny LLM on the CPU: does the script run?")
    chosen = parser.parse_args()
    if not chosen.toy and not torch.cuda.is_available():
        parser.error("no GPU; --toy runs the same code on the CPU")
    report = Report("gpu", chosen.json)
    scale = TOY if chosen.toy else Scale(budgets=(8192,)) if chosen.quick else Scale()
    say(f"{report.name}{', toy' if chosen.toy else ''}")
    measure(scale, report, torch.device("cpu" if chosen.toy else "cuda"))


if __name__ == "__main__":
    sys.exit(main())
