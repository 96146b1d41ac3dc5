"""A step of the user-level SFT: the package's prefix row against padded prompts, on the same users.

A run goes once over a sample of users with a dataset's distribution of lengths: forward and backward, and the optimizer
after every 128 users. Rivals:

padded_causal_lm  ForCausalLM as everyone writes it: random batches, padded behind, logits at all positions.
padded_sorted     The base model without LM head, users sorted by length, micro-batches cut to a budget of tokens.

Each rival runs with the batch size or budget that is fastest for it. ``real tokens`` are those of every user's whole
prompt; ``computed tokens`` are those that go through the LLM, without pads: the prefix row needs fewer of them.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

import lengths
from measure import Report, arguments, peak_bytes, say
from models import SMALL, LLMSize, build_llm, build_network, copy_weights, make_examples
from recbole_tslrec.llm.settings import PADDED, PREFIX_ROW
from recbole_tslrec.sft.batching import MicroBatch
from recbole_tslrec.sft.cost import MOST_TOKENS, Decoder, matmul_speed
from recbole_tslrec.sft.examples import Examples
from recbole_tslrec.sft.network import PromptNetwork
from recbole_tslrec.sft.prompt_lengths import sample
from recbole_tslrec.sft.timed_runs import random_steps
from recbole_tslrec.sft.timing import fastest, interleaved
from rivals import PaddedCausalLM
from steps import Training, budget_steps, full_tokens

OURS, CAUSAL_LM, SORTED = "prefix_row", "padded_causal_lm", "padded_sorted"
_ITEMS = 1000  # of the tables of random item embeddings; more make no difference to a step
_PEAK_SECONDS = 0.5  # for measuring the speed of a matrix product
_PER_WEIGHT = 4  # operations a token and frozen weight: forward, and backward to the activations


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        size: of the LLM.
        users: in a run.
        long_users: in a run of the case with long histories.
        batch_size: users a step of the optimizer.
        rounds: that count.
        tuning_users: on which the rivals' batch sizes are chosen.
        batch_sizes: of padded_causal_lm, to choose from.
        budgets: of padded_sorted, in tokens, to choose from.
        cases: of :data:`lengths.CASES`.
    """

    size: LLMSize = SMALL
    users: int = 256
    long_users: int = 128
    batch_size: int = 128
    rounds: int = 5
    tuning_users: int = 64
    batch_sizes: Sequence[int] = (16, 32)
    budgets: Sequence[int] = (512, 1024, 2048, 4096)
    cases: Sequence[str] = tuple(lengths.CASES)


QUICK = Scale(
    users=64, batch_size=32, rounds=2, tuning_users=16, budgets=(1024, 4096), cases=("beauty", "ml1m", "yelp")
)


def build_contenders(size: LLMSize, device: torch.device) -> dict[str, PromptNetwork]:
    """The three networks, with the same weights."""
    networks = {
        OURS: build_network(build_llm(size, device), size, _ITEMS, device),
        SORTED: build_network(build_llm(size, device), size, _ITEMS, device, PADDED),
        CAUSAL_LM: build_network(
            build_llm(size, device, causal_lm=True), size, _ITEMS, device, encoder_class=PaddedCausalLM
        ),
    }
    for rival in (SORTED, CAUSAL_LM):
        copy_weights(networks[OURS], networks[rival])
    return networks


def plan(name: str, examples: Examples, setting: int) -> list[list[MicroBatch]]:
    """The steps and micro-batches of a contender; ``setting`` is its batch size or its budget of tokens."""
    if name == CAUSAL_LM:
        return random_steps(examples, setting)
    return budget_steps(examples, setting, PADDED if name == SORTED else PREFIX_ROW)


def choose_settings(
    networks: dict[str, PromptNetwork], examples: Examples, scale: Scale, device: torch.device
) -> dict[str, int]:
    """The rivals' fastest batch sizes; the package's own budget is its default."""
    settings = {OURS: MOST_TOKENS[device.type]}
    users = np.arange(min(scale.tuning_users, len(examples)))  # examples are in random order
    few = replace(examples, chosen=users)
    for name, choices in ((CAUSAL_LM, scale.batch_sizes), (SORTED, scale.budgets)):
        runs = {choice: Training(networks[name], few, plan(name, few, choice), device) for choice in choices}
        settings[name] = fastest(runs, device)
    return settings


def measure_case(
    case: str, networks: dict[str, PromptNetwork], scale: Scale, device: torch.device
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The rows and ratios of a dataset."""
    users = scale.long_users if case == "ml1m_long" else scale.users
    examples = make_examples(sample(lengths.load(case).prompt_items, users), _ITEMS, scale.batch_size)
    settings = choose_settings(networks, examples, scale, device)
    runs = {
        name: Training(network, examples, plan(name, examples, settings[name]), device)
        for name, network in networks.items()
    }
    contenders: dict[str, Callable[[], object]] = dict(runs)
    peaks = [matmul_speed(device, torch.float32, _PEAK_SECONDS)]
    seconds = interleaved(contenders, scale.rounds, device)
    peaks.append(matmul_speed(device, torch.float32, _PEAK_SECONDS))  # it may be slow for a moment, too
    decoder = Decoder.of(scale.size.config())
    rows = []
    for name, run in runs.items():
        speed = decoder.flops(run.work, _PER_WEIGHT) / seconds[name]
        rows.append(
            {
                "contender": name,
                "batch": f"{settings[name]} {'users' if name == CAUSAL_LM else 'tokens'}",
                "seconds": seconds[name],
                "real tokens/s": full_tokens(examples) / seconds[name],
                "computed tokens/s": run.work.tokens / seconds[name],
                "TFLOP/s": speed / 1e12,
                "share of matmul peak": speed / max(peaks),
                "peak MiB": peak_bytes(run, device) / 2**20,
            }
        )
    ratios = {f"{case}_vs_{rival}": seconds[rival] / seconds[OURS] for rival in (CAUSAL_LM, SORTED)}
    return rows, ratios


def measure(scale: Scale, report: Report, device: torch.device) -> None:
    """All cases."""
    report.note("the matmul peak is that of a float32 product, measured before and after each case")
    report.note(f"FLOPs are counted at {_PER_WEIGHT}N a computed real token, and attention; pads do not count")
    networks = build_contenders(scale.size, device)
    for case in scale.cases:
        rows, ratios = measure_case(case, networks, scale, device)
        report.add_table(f"{case}: one pass over the same users", rows)
        report.add_ratios(ratios)


def main() -> None:
    """Measure on the CPU."""
    chosen = arguments(__doc__).parse_args()
    report = Report("sft_step", chosen.json)
    say(f"{report.name}{', quick' if chosen.quick else ''}")
    measure(QUICK if chosen.quick else Scale(), report, torch.device("cpu"))


if __name__ == "__main__":
    sys.exit(main())
