"""What the LLM would take on a dataset, counted by hand."""

import numpy as np
import pytest
import torch

from recbole_tslrec.experiments import llm_estimate
from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.llm_estimate import Estimator
from recbole_tslrec.experiments.llm_time import E4SREC, TSLREC
from recbole_tslrec.llm.prompt import Prompt
from recbole_tslrec.sft.cost import Decoder, estimated_seconds
from recbole_tslrec.sft.prompt_lengths import PromptLengths
from recbole_tslrec.sft.settings import FineTuningSettings


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
