"""Figure 3's numbers for a dataset: timed where the LLM fits this machine, else estimated."""

from dataclasses import replace
from functools import partial
from logging import getLogger
from typing import Any

import torch

from recbole_tslrec.baselines.e4srec import MiddlePadded, NextItemObjective
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.data.statistics import held_out
from recbole_tslrec.experiments.llm_estimate import Estimator
from recbole_tslrec.experiments.llm_time import (
    E4SREC_PUBLISHED,
    E4SREC_ROW,
    TSLREC,
    Cost,
    Place,
    Sample,
    time_inference,
    time_training,
)
from recbole_tslrec.llm.settings import PADDED, PREFIX_ROW, PromptSettings
from recbole_tslrec.reconstruction.settings import ReconstructionSettings
from recbole_tslrec.reconstruction.task import load_prompt, untuned_network
from recbole_tslrec.sft.network import PromptNetwork, build_network
from recbole_tslrec.sft.prompt_lengths import PromptLengths

TRAINING, INFERENCE = "training epoch", "inference"
MEASURED, ESTIMATED = "measured", "estimated"
SAMPLE = Sample(prompts=128, batch_size=64, published_batches=4, published_users=32, items=1024, rounds=3)
_EMBEDDING_SIZE = 64  # d; linear_proj is no part of the cost that counts


def time_dataset(config: Any, scale: Sample) -> list[dict[str, Any]]:
    """A row for each phase and method of a dataset, with its prompts, seconds, and whether they were measured."""
    data = prompt_lengths(config)
    settings = ReconstructionSettings.of(config)
    estimator = Estimator(settings.engine, load_prompt(settings), data)
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
    settings = ReconstructionSettings.of(config)
    place = Place(partial(build_contender, settings), settings.engine.llm.device, settings.engine.llm.dtype)
    taken = {TRAINING: time_training(data, scale, place), INFERENCE: time_inference(data, scale, place)}
    return {phase: {name: one.scaled for name, one in methods.items()} for phase, methods in taken.items()}


def prompt_lengths(config: Any) -> PromptLengths:
    """The training histories of the configured dataset under leave-one-out, and the prompt's most items."""
    data = Data(config)
    lengths = data.full.lengths
    most = PromptSettings.of(config).max_items
    return PromptLengths(len(lengths), len(data.item_tokens), lengths - held_out(lengths), most)


def build_contender(settings: ReconstructionSettings, name: str, items: int) -> PromptNetwork:
    """A contender's network on the configured LLM, with random item embeddings."""
    rows = torch.randn(items + 1, _EMBEDDING_SIZE, generator=torch.Generator().manual_seed(0))  # [N + 1, d]
    if name == TSLREC:
        return untuned_network(settings, rows)
    layout = PREFIX_ROW if name == E4SREC_ROW else PADDED
    engine = replace(settings.engine, sft_layout=layout)
    network = build_network(engine, load_prompt(settings), NextItemObjective(items).head, rows)
    if name == E4SREC_PUBLISHED:
        published = MiddlePadded(network.encoder.llm, load_prompt(settings), _EMBEDDING_SIZE, _EMBEDDING_SIZE**0.5)
        network.encoder = published.to(settings.engine.llm.device)
    return network


def where(config: Any) -> str:
    """The device, and on a CPU how many threads."""
    if torch.device(config["device"]).type == "cuda":
        return torch.cuda.get_device_name()
    return f"a CPU with {torch.get_num_threads()} threads"
