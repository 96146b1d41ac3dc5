"""Figure 3: the LLM's time for a training epoch and for inference, TSLRec and E4SRec with the same LLM.

``experiments/llm_costs.py`` has timed a sample of prompts, or counted operations where the LLM is too large for this
machine; table and bars say which.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.llm_costs import INFERENCE, MEASURED, SAMPLE, TRAINING, time_dataset, where
from recbole_tslrec.experiments.llm_time import CONTENDERS, Sample
from recbole_tslrec.llm.settings import LLMSettings
from recbole_tslrec.report.page import Page, Section
from recbole_tslrec.report.plots import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CLAIM = (
    "The paper claims that TSLRec's LLM is cheaper in both. It is fine-tuned on one prompt per user, where E4SRec "
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
    llm = LLMSettings.of(config)
    text = (
        f"{_CLAIM}\n\nLLM: {llm.llm_name_or_path}, {llm.dtype}, on {where(config)}. Measured "
        f"seconds are scaled from up to {scale.prompts} prompts and {scale.items} items, the median of {scale.rounds} "
        "rounds in turns; estimated seconds assume operations at half the speed of a matrix product on this machine."
    )
    note = (
        "x tslrec: the seconds divided by TSLRec's. e4srec: batched as well as it can be without a shared prefix. "
        "e4srec_prefix_row: through this package's prefix row, so that what is left is one prompt a user against one "
        "an interaction. e4srec_published: pads between instruction and response, batches of 16 in training and of 1 "
        "in inference; only where it could be measured."
    )
    seconds = Section("Seconds of the LLM", text, table, draw(table), note=note)
    return Page("fig3", "Fig. 3: time of the LLM", command.line, [seconds])


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
