"""Export: every item alone through the fine-tuned LLM, the package against the loop that everyone writes.

padded loop  The fine-tuned LLM as it is, adapters unmerged, over batches of one-item prompts; float32, fastest batch
             size of several. One-item prompts are all of one length, so its pads cost nothing: its instruction does.
fp32, bf16   The package: adapters merged, the states of the instruction computed once, large batches.

The second part exports two catalogues of very different size with a small LLM, each in a process of its own, and
compares the processes' peaks of resident memory.
"""

import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from measure import Report, arguments, own_peak_bytes, say
from models import EMBEDDING_SIZE, SMALL, LLMSize, build_llm, build_network, copy_weights, item_embeddings
from recbole_tslrec.augmentation.knowledge_export import encode_items, export_items, prepare_for_export
from recbole_tslrec.compute.precision import computes_in_bfloat16
from recbole_tslrec.sft.network import PromptNetwork
from recbole_tslrec.sft.timing import fastest, interleaved
from recbole_tslrec.store.tensor_file import TensorFile
from rivals import PaddedOneItem

LOOP, FP32, BF16 = "padded loop, fp32", "package, fp32", "package, bf16"
_BATCH = 1024  # the default of export_batch_size
# wide enough to be an LLM, narrow enough that a million items take minutes
_NARROW = LLMSize(64, 1, 2, 128)


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        size: of the LLM.
        items: that are exported in one run.
        rounds: that count.
        batch_sizes: of the padded loop, to choose from.
        catalogues: numbers of items by the names that the memory ratio gives them: the small one, then the large one.
    """

    size: LLMSize = SMALL
    items: int = 4096
    rounds: int = 5
    batch_sizes: Sequence[int] = (16, 64, 256, 1024)
    catalogues: tuple[tuple[str, int], tuple[str, int]] = (("10k", 10_000), ("1m", 1_000_000))


QUICK = Scale(items=1024, rounds=3, batch_sizes=(32, 256), catalogues=(("10k", 10_000), ("100k", 100_000)))


def build_contenders(size: LLMSize, items: int, device: torch.device) -> dict[str, PromptNetwork]:
    """The three networks, with the same weights."""
    networks = {
        LOOP: build_network(build_llm(size, device), size, items, device, encoder_class=PaddedOneItem).eval(),
        FP32: build_network(build_llm(size, device), size, items, device),
        BF16: build_network(build_llm(size, device), size, items, device),
    }
    for name, dtype in ((FP32, torch.float32), (BF16, torch.bfloat16)):
        copy_weights(networks[LOOP], networks[name])
        prepare_for_export(networks[name], dtype)
    return networks


def encode_all(network: PromptNetwork, rows: Tensor, batch_size: int) -> Tensor:
    """The knowledge embeddings of all rows, [N, H]."""
    return torch.cat([encode_items(network, part)[0] for part in rows.split(batch_size)])


def measure_speed(scale: Scale, report: Report, device: torch.device) -> None:
    """Items a second of the three contenders."""
    networks = build_contenders(scale.size, scale.items, device)
    rows = item_embeddings(scale.items)[1:]

    def run(name: str, batch_size: int, count: int = scale.items) -> Callable[[], Tensor]:
        return lambda: encode_all(networks[name], rows[:count], batch_size)

    few = min(scale.items, 2 * max(scale.batch_sizes))
    batch = fastest({size: run(LOOP, size, few) for size in scale.batch_sizes}, device)
    batches = {LOOP: batch, FP32: _BATCH, BF16: _BATCH}
    contenders = {name: run(name, size) for name, size in batches.items()}
    exact = contenders[LOOP]()  # these runs are the warm-up too
    distances = {name: 1 - float(cosine_similarity(exact, contenders[name]()).min()) for name in contenders}
    seconds = interleaved(contenders, scale.rounds, device, warm_up=False)
    table = [
        {
            "contender": name,
            "items a batch": batches[name],
            "seconds": seconds[name],
            "items/s": scale.items / seconds[name],
            "largest 1 - cosine to the loop": distances[name],
        }
        for name in contenders
    ]
    report.add_table(f"export of {scale.items:,} items", table)
    served = "computes" if computes_in_bfloat16(device) else "does NOT compute"
    report.note(f"this device {served} in bfloat16 by itself")
    report.add_ratios(
        {"fp32_vs_padded": seconds[LOOP] / seconds[FP32], "bf16_vs_padded": seconds[LOOP] / seconds[BF16]}
    )


def export_and_read_peak(items: int) -> int:
    """Export a catalogue from a file into a file; the peak of this process."""
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = TensorFile.create(folder / "items.safetensors", {"item_embeddings": (items, EMBEDDING_SIZE)})
        for start in range(0, items, _BATCH):  # not in memory as a whole here either
            count = min(_BATCH, items - start)
            table.write_rows("item_embeddings", start, torch.randn(count, EMBEDDING_SIZE))
        network = build_network(build_llm(_NARROW, device), _NARROW, 1, device)
        prepare_for_export(network, torch.float32)
        export_items(network, table, folder, _BATCH)
    return own_peak_bytes()


def measure_memory(scale: Scale, report: Report) -> None:
    """The peaks of two processes, one for each catalogue."""
    peaks = {}
    for name, items in scale.catalogues:
        context = multiprocessing.get_context("spawn")  # a forked process would begin with this one's memory
        with ProcessPoolExecutor(1, mp_context=context) as process:
            peaks[name] = process.submit(export_and_read_peak, items).result()
    title = f"peak memory of exporting a catalogue, hidden size {_NARROW.hidden_size}, {_NARROW.layers} layer"
    report.add_table(title, [{"items": name, "peak MiB": peak / 2**20} for name, peak in peaks.items()])
    (small, _), (large, _) = scale.catalogues
    report.add_ratios({f"memory_{large}_vs_{small}": peaks[large] / peaks[small]})


def measure(scale: Scale, report: Report, device: torch.device) -> None:
    """Speed, then memory."""
    measure_speed(scale, report, device)
    measure_memory(scale, report)


def main() -> None:
    """Measure on the CPU."""
    chosen = arguments(__doc__).parse_args()
    report = Report("export_items", chosen.json)
    say(f"{report.name}{', quick' if chosen.quick else ''}")
    measure(QUICK if chosen.quick else Scale(), report, torch.device("cpu"))


if __name__ == "__main__":
    sys.exit(main())
