"""Figure 3, estimated: what the LLM would take where it is too large to be timed here."""

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.compute.memory import free_memory
from recbole_tslrec.experiments.llm_time import CONTENDERS, E4SREC, E4SREC_ROW, TSLREC, Cost, Sample
from recbole_tslrec.llm.loading import load_llm_config
from recbole_tslrec.llm.prompt import Prompt
from recbole_tslrec.sft.cost import (
    Decoder,
    MemoryPlan,
    Work,
    estimated_seconds,
    flops_per_weight,
    matmul_speed,
    plan_memory,
    prefix_row_work,
    separate_work,
)
from recbole_tslrec.sft.prompt_lengths import PromptLengths
from recbole_tslrec.sft.settings import FineTuningSettings

_MOST_SECONDS = 1800.0  # that timing one dataset may take


class Estimator:
    """Operations at half the speed of a matrix product, as ``sft/cost.py`` estimates an epoch of SFT.

    Args:
        settings: the settings of the LLM and its adapters.
        prompt: the text parts.
        data: the prompts' lengths.

    Raises:
        LLMError: the LLM's architecture cannot be loaded.
    """

    def __init__(self, settings: FineTuningSettings, prompt: Prompt, data: PromptLengths) -> None:
        self.data = data
        self.prefix, self.response = len(prompt.instruction), len(prompt.response)
        llm_config = load_llm_config(settings.llm)
        longest = self.prefix + self.response + int(data.inference_items.max())
        self.plan: MemoryPlan = plan_memory(settings, llm_config, longest)
        self.decoder = Decoder.of(llm_config)
        self.training_operations = flops_per_weight(settings.llm)
        self.speed = matmul_speed(settings.llm.device, settings.llm.dtype)
        self.free_bytes = free_memory(settings.llm.device)

    def training(self) -> dict[str, Cost]:
        """A training epoch of TSLRec, of E4SRec, and of E4SRec through the prefix row."""
        return self._costs(self.data.prompt_items, self.data.instance_items, self.training_operations)

    def inference(self) -> dict[str, Cost]:
        """TSLRec's export of all items, and E4SRec's scores for all users."""
        return self._costs(np.ones(self.data.items, dtype=np.int64), self.data.inference_items, 2)

    def too_large(self, scale: Sample) -> str | None:
        """Why the contenders cannot be timed on this machine, or ``None``."""
        # the networks are held at once, so that they can take turns
        held = len(CONTENDERS) * self.plan.fixed_bytes + self.plan.tokens_per_batch * self.plan.bytes_per_token
        if held > self.free_bytes:
            return f"timing it needs {held / 2**30:,.1f} GiB, {self.free_bytes / 2**30:,.1f} GiB are free"
        epoch = self.training()[E4SREC]
        rounds = len(CONTENDERS) * (1 + scale.rounds) + 2 * len(scale.budgets)
        seconds = rounds * scale.prompts * epoch.seconds / epoch.prompts
        if seconds > _MOST_SECONDS:
            return f"timing a sample of {scale.prompts} prompts would take about {seconds / 3600:,.1f} hours"
        return None

    def _costs(self, own: NDArray[np.int64], instances: NDArray[np.int64], per_weight: int) -> dict[str, Cost]:
        """Costs of prompts with so many items each, TSLRec's [n] and E4SRec's [m]."""
        separate = separate_work(self.prefix, instances + self.response)
        # E4SRec's head scores all items; it is trained, with two products backward for one forward
        head = (6 if per_weight > 2 else 2) * self.decoder.hidden_size * self.data.items * len(instances)
        return {
            TSLREC: self._cost(self._in_rows(own), per_weight),
            E4SREC: self._cost(separate, per_weight, head),
            E4SREC_ROW: self._cost(self._in_rows(instances), per_weight, head),
        }

    def _in_rows(self, item_counts: NDArray[np.int64]) -> Work:
        segments = item_counts + self.response
        room = max(1, self.plan.tokens_per_batch - self.prefix)
        return prefix_row_work(self.prefix, segments, int(np.ceil(segments.sum() / room)))

    def _cost(self, work: Work, per_weight: int, head: int = 0) -> Cost:
        operations = self.decoder.flops(work, per_weight) + head
        if self.plan.checkpoint_activations and per_weight > 2:
            operations *= 4 / 3  # a second forward pass
        return Cost(work.examples, estimated_seconds(operations, self.speed))
