"""What the LLM takes on a dataset: estimated by hand, and timed on networks that are what they are called."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_tslrec.data.statistics import held_out
from recbole_tslrec.experiments import llm_estimate
from recbole_tslrec.experiments.command import Command, parse
from recbole_tslrec.experiments.llm_costs import build_contender, prompt_lengths
from recbole_tslrec.experiments.llm_estimate import Estimator
from recbole_tslrec.experiments.llm_time import CONTENDERS, E4SREC, TSLREC, Place, Sample, Taken, training_parts
from recbole_tslrec.llm.prompt import Prompt
from recbole_tslrec.reconstruction.settings import ReconstructionSettings
from recbole_tslrec.sft.cost import Decoder, estimated_seconds
from recbole_tslrec.sft.prompt_lengths import PromptLengths
from recbole_tslrec.sft.settings import FineTuningSettings
from tests.conftest import TINY_SCRATCH, walks, write_dataset

SMALL = Sample(prompts=8, batch_size=4, published_batches=1, published_users=2, items=8, rounds=1, budgets=(200,))


@pytest.fixture
def command(tmp_path: Path) -> Command:
    write_dataset(tmp_path / "data", "toy", walks(users=20, items=15, length=6))
    settings = {"data_path": tmp_path / "data", "group_count": 4, **TINY_SCRATCH}
    keys = [f"--{key}={value}" for key, value in settings.items()]
    return parse("fig3", ["--datasets=toy", "--models=SASRec", f"--output_dir={tmp_path / 'reports'}", *keys])


def test_the_estimate_counts_operations(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two users with 3 and 1 training items: two prompts against two, the scores of 9 items beside E4SRec's."""
    monkeypatch.setattr(llm_estimate, "matmul_speed", lambda device, dtype: 1e9)
    settings = FineTuningSettings.of(command.config())
    prompt = Prompt(torch.arange(5), torch.arange(2))
    estimator = Estimator(settings, prompt, PromptLengths(2, 9, np.array([3, 1]), max_items=50))
    weights, hidden = estimator.decoder.weights, 16
    attention = 3 * 4 * estimator.decoder.attention_size  # a layer; forward and twice that backward
    tokens, keys = (5 + 1 + 2) + (5 + 2 + 2), 8 * 9 // 2 + 9 * 10 // 2
    head = 6 * hidden * 9 * 2
    assert estimator.training()[E4SREC].seconds == pytest.approx(
        estimated_seconds(6 * weights * tokens + attention * keys + head, 1e9)
    )
    own, keys = 5 + (3 + 2) + (1 + 2), 5 * 6 // 2 + (5 * 5 + 5 * 6 // 2) + (3 * 5 + 3 * 4 // 2)
    assert estimator.training()[TSLREC].seconds == pytest.approx(
        estimated_seconds(6 * weights * own + attention * keys, 1e9)
    )
    assert isinstance(estimator.decoder, Decoder)


def test_what_is_timed_is_scaled_to_all_prompts() -> None:
    assert Taken(sample=4, seconds=2.0, whole=10).scaled.seconds == 5.0


def test_all_methods_have_the_same_llm_and_their_own_layout(command: Command) -> None:
    settings = ReconstructionSettings.of(command.config())
    networks = {name: build_contender(settings, name, 15) for name in CONTENDERS}
    sizes = {sum(weight.numel() for weight in network.encoder.llm.parameters()) for network in networks.values()}
    assert len(sizes) == 1
    assert [network.encoder.layout for network in networks.values()] == ["prefix_row", "padded", "prefix_row", "padded"]
    assert [network.head.out_features for network in networks.values()] == [4, 15, 15, 15]


def test_training_lowers_the_error_that_is_timed(command: Command) -> None:
    """What is timed is training: E4SRec's steps on the same prompts lower their cross entropy."""
    config = command.config()
    settings = ReconstructionSettings.of(config)
    place = Place(lambda name, items: build_contender(settings, name, items), torch.device("cpu"))
    run = training_parts(prompt_lengths(config), SMALL, place)[E4SREC].run
    micro_batch = run.steps[0][0]
    before = float(run.loss(micro_batch).detach())
    for _ in range(5):
        run()
    assert float(run.loss(micro_batch).detach()) < before


def test_histories_are_those_that_are_trained_on(command: Command) -> None:
    assert prompt_lengths(command.config()).history.tolist() == [6 - held_out(np.array([6]))[0]] * 20
