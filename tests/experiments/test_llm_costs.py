"""The LLMs of Figure 3 on a dataset: networks that are what they are called, on the histories that are trained on."""

import numpy as np

from recbole_tslrec.data.statistics import held_out
from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.llm_costs import build_contender, prompt_lengths
from recbole_tslrec.experiments.llm_time import CONTENDERS
from recbole_tslrec.reconstruction.settings import ReconstructionSettings


def test_all_methods_have_the_same_llm_and_their_own_layout(command: Command) -> None:
    settings = ReconstructionSettings.of(command.config())
    networks = {name: build_contender(settings, name, 15) for name in CONTENDERS}
    sizes = {sum(weight.numel() for weight in network.encoder.llm.parameters()) for network in networks.values()}
    assert len(sizes) == 1
    assert [network.encoder.layout for network in networks.values()] == ["prefix_row", "padded", "prefix_row", "padded"]
    assert [network.head.out_features for network in networks.values()] == [4, 15, 15, 15]


def test_histories_are_those_that_are_trained_on(command: Command) -> None:
    assert prompt_lengths(command.config()).history.tolist() == [12 - held_out(np.array([12]))[0]] * 40
