"""Figure 3: the LLM's time for a training epoch and for inference, TSLRec against E4SRec on the same LLM.

A sample of prompts is timed and scaled by their number (``llm_time.py``); where the LLM is too large for this machine,
operations are counted instead (``llm_estimate.py``), which table and bars say.
"""

from functools import partial
from logging import getLogger
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from recbole_tslrec.config import derive
from recbole_tslrec.data import Data
from recbole_tslrec.datasets.statistics import held_out
from recbole_tslrec.experiments.command import Command
from recbole_tslrec.llm.layout import PADDED, PREFIX_ROW
from recbole_tslrec.llm.precision import llm_dtype
from recbole_tslrec.reconstruction.network import ReconstructionNetwork, build_network, configured_prompt
from recbole_tslrec.report.figures import COLOURS, new_figure
from recbole_tslrec.report.instance_level import InstanceNetwork, MiddlePadded
from recbole_tslrec.report.llm_estimate import Estimator
from recbole_tslrec.report.llm_time import (
    CONTENDERS,
    E4SREC_PUBLISHED,
    E4SREC_ROW,
    TSLREC,
    Cost,
    Place,
    Sample,
    time_inference,
    time_training,
)
from recbole_tslrec.report.page import Page, Section
from recbole_tslrec.report.prompt_lengths import PromptLengths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINING, INFERENCE = "training epoch", "inference"
MEASURED, ESTIMATED = "measured", "estimated"
SAMPLE = Sample(prompts=128, batch_size=64, published_batches=4, published_users=32, items=1024, rounds=3)
_EMBEDDING_SIZE = 64  # d; linear_proj is no part of the cost that counts
_CLAIM = (
    "The paper's claim: TSLRec's LLM is the cheaper one in both. It is fine-tuned on one prompt per user, where E4SRec "
    "has one per training interaction; and its inference is one prompt per item, once for all, where E4SRec has one "
    "per user whenever recommendations are made."
)


def build(command: Command, scale: Sample = SAMPLE) -> Page:
    """Time or estimate the LLM on every dataset.

    Texts of items in the prompt are not counted.

    Args:
        command: datasets and settings; seeds, rows and all models but the first say nothing here.
        scale: how much is timed.

    Raises:
        LLMError: the LLM, its architecture or its tokenizer cannot be loaded.
        DatasetError: a dataset is missing.
    """
    rows = [row for dataset in command.datasets for row in time_dataset(command.config(dataset=dataset), scale)]
    table = pd.DataFrame(rows)
    config = command.config()
    text = (
        f"{_CLAIM}\n\nLLM: {config['llm_name_or_path']}, {llm_dtype(config)}, on {where(config)}. Measured "
        f"seconds are scaled from up to {scale.prompts} prompts and {scale.items} items, the median of {scale.rounds} "
        "rounds in turns; estimated ones are operations at half the speed of a matrix product on this machine."
    )
    note = (
        "x tslrec: how many times TSLRec's seconds. e4srec: batched as well as it can be without a shared prefix. "
        "e4srec_prefix_row: through this package's prefix row, so that what is left is one prompt a user against one "
        "an interaction. e4srec_published: pads between instruction and response, batches of 16 in training and of 1 "
        "in inference; only where it could be measured."
    )
    seconds = Section("Seconds of the LLM", text, table, draw(table), note=note)
    return Page("fig3", "Fig. 3: time of the LLM", command.line, [seconds])


def time_dataset(config: Any, scale: Sample) -> list[dict[str, Any]]:
    """A row for each phase and method of a dataset, with its prompts, seconds, and whether they were measured."""
    data = prompt_lengths(config)
    estimator = Estimator(config, configured_prompt(config), data)
    reason = estimator.too_large(scale)
    if reason is None:
        getLogger().info(f"fig3: timing {scale.prompts} prompts of each method on {config['dataset']}")
        costs = measure(config, data, scale)
    else:
        getLogger().warning(f"fig3: {config['llm_name_or_path']} is estimated, not measured: {reason}")
        costs = {TRAINING: estimator.training(), INFERENCE: estimator.inference()}
    return [
        {
            "dataset": config["dataset"],
            "phase": phase,
            "method": name,
            "prompts": cost.prompts,
            "seconds": cost.seconds,
            "x tslrec": cost.seconds / methods[TSLREC].seconds,
            "how": MEASURED if reason is None else f"{ESTIMATED}: {reason}",
        }
        for phase, methods in costs.items()
        for name, cost in methods.items()
    ]


def measure(config: Any, data: PromptLengths, scale: Sample) -> dict[str, dict[str, Cost]]:
    """For each phase the cost of each method, scaled from a sample of its prompts."""
    place = Place(partial(build_contender, config), config["device"], llm_dtype(config))
    taken = {TRAINING: time_training(data, scale, place), INFERENCE: time_inference(data, scale, place)}
    return {phase: {name: one.scaled for name, one in methods.items()} for phase, methods in taken.items()}


def prompt_lengths(config: Any) -> PromptLengths:
    """The training histories of the configured dataset under leave-one-out, and the prompt's most items."""
    data = Data(config)
    lengths = data.full.lengths
    most = int(config["prompt_max_items"] or config["MAX_ITEM_LIST_LENGTH"])
    return PromptLengths(len(lengths), len(data.item_tokens), lengths - held_out(lengths), most)


def build_contender(config: Any, name: str, items: int) -> ReconstructionNetwork:
    """A contender's network on the configured LLM, with random item embeddings."""
    rows = torch.randn(items + 1, _EMBEDDING_SIZE, generator=torch.Generator().manual_seed(0))  # [N + 1, d]
    if name == TSLREC:
        return build_network(config, rows)
    layout = PREFIX_ROW if name == E4SREC_ROW else PADDED
    encoder = build_network(derive(config, sft_layout=layout), rows).encoder
    if name == E4SREC_PUBLISHED:
        encoder = MiddlePadded(encoder.llm, configured_prompt(config), _EMBEDDING_SIZE, _EMBEDDING_SIZE**0.5)
    network: ReconstructionNetwork = InstanceNetwork(encoder, items, rows).to(config["device"])
    return network


def where(config: Any) -> str:
    """The device, and on a CPU how many threads."""
    if torch.device(config["device"]).type == "cuda":
        return torch.cuda.get_device_name()
    return f"a CPU with {torch.get_num_threads()} threads"


def draw(table: pd.DataFrame) -> "Figure":
    """Seconds of each method, a panel a phase; estimated ones are hatched."""
    figure, [panels] = new_figure(9, 3.5, columns=2)
    datasets = list(dict.fromkeys(table["dataset"]))
    for axes, phase in zip(panels, (TRAINING, INFERENCE), strict=True):
        for number, (name, colour) in enumerate(zip(CONTENDERS, COLOURS, strict=False)):
            rows = table[(table["phase"] == phase) & (table["method"] == name)]
            if rows.empty:  # the published layout is not estimated
                continue
            places = np.array([datasets.index(dataset) for dataset in rows["dataset"]]) + 0.2 * (number - 1.5)
            bars = axes.bar(places, rows["seconds"], 0.18, color=colour, edgecolor="white", label=name)
            for bar, how in zip(bars, rows["how"], strict=True):
                bar.set_hatch("" if how == MEASURED else "///")
        axes.set_yscale("log")
        axes.set_xticks(range(len(datasets)), datasets)
        axes.set_title(phase, fontsize="medium")
        axes.set_ylabel("seconds; hatched: estimated")
    panels[0].legend(frameon=False, fontsize="small")
    return figure
