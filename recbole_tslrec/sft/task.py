"""What the engine asks of a task: examples, a network, errors and metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

LOSS = "loss"


class StepExamples(Protocol):
    """The examples of an epoch, such as :class:`~recbole_tslrec.sft.examples.Examples`."""

    @property
    def chosen(self) -> NDArray[np.int64]:
        """Those that are trained on or evaluated."""

    @property
    def token_counts(self) -> NDArray[np.int64]:
        """Tokens of each prompt beside those that all prompts have, [E]."""

    @property
    def item_counts(self) -> NDArray[np.int64]:
        """Items in each prompt, [E]."""

    @property
    def fingerprint(self) -> str:
        """A hash of the chosen prompts and targets."""

    def __len__(self) -> int:
        """How many are chosen."""

    def steps(self, epoch: int) -> list[NDArray[np.int64]]:
        """The examples of each step of an epoch."""

    def interaction(self, examples: NDArray[np.int64]) -> Any:
        """RecBole's ``Interaction``: what the network's ``forward`` takes by name, and ``target``."""


class EpochExamples(Protocol):
    """Examples that may differ from epoch to epoch; :class:`~recbole_tslrec.sft.examples.Examples` do not."""

    def __len__(self) -> int:
        """How many examples an epoch has."""

    @property
    def longest_prompt(self) -> int:
        """The most tokens that a prompt has beside those that all have, in any epoch."""

    def in_epoch(self, epoch: int) -> StepExamples:
        """Those of an epoch."""


class TaskNetwork(Protocol):
    """An ``nn.Module`` whose ``forward`` takes columns of an interaction by name and gives (hidden states, scores).

    Attributes:
        llm_path: where in it the LLM is, of which adapters are trained or the whole.
        own_layers: what else is trained: the name in a checkpoint -> where it is.
    """

    llm_path: ClassVar[str]
    own_layers: ClassVar[Mapping[str, str]]

    @property
    def layout(self) -> str:
        """One of :data:`recbole_tslrec.llm.settings.LAYOUTS`."""

    @property
    def shared_tokens(self) -> int:
        """Tokens with which all prompts begin; in a prefix row they are computed once."""

    @property
    def closing_tokens(self) -> int:
        """Tokens with which all prompts end."""

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained."""

    def checkpoint_activations(self) -> None:
        """For training in little memory: compute each layer's activations a second time rather than keep them."""


class Objective(Protocol):
    """What is wrong with a prediction."""

    def errors(self, scores: Tensor, target: Tensor) -> Tensor:
        """What is minimised, of each example: scores and targets [B, ...] -> [B]."""

    def metrics(self, scores: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        """What is reported beside the error at a validation, of each example: [B] each."""


class HeadObjective(Objective, Protocol):
    """An objective whose scores a head makes of one hidden state."""

    def head(self, hidden_size: int) -> nn.Module:
        """A new head: hidden states [B, H] -> scores [B, ...]."""


@dataclass(frozen=True)
class Task:
    """What an LLM is fine-tuned for. All else is the engine's.

    Attributes:
        name: for messages.
        objective: what is wrong with a prediction.
        network: makes the untrained network.
        llm_config: the configuration of its LLM, of transformers, for the cost.
        shared_tokens: as :attr:`TaskNetwork.shared_tokens`.
        closing_tokens: as :attr:`TaskNetwork.closing_tokens`.
        train: what is trained on.
        valid: what the best epoch is chosen by.
        recipe: the settings that decide the result: a step checkpoint made under others is refused.
        valid_metric: by which: the loss, or a name that ``objective.metrics`` gives, of which more is better.
        trains_llm: whether the whole LLM is trained, although it is pretrained.
        head_weights: weights of the head, which is trained in full; one that scores all items is large.
        max_items: the most items of a prompt.
        history_lengths: training interactions of each user, to compare the cost with that of one prompt for each
            interaction; ``None`` leaves the comparison out.
        report: gives what the manifest says beside what the engine reports.
    """

    name: str
    objective: Objective
    network: Callable[[], Any]
    llm_config: Any
    shared_tokens: int
    closing_tokens: int
    train: EpochExamples
    valid: StepExamples
    recipe: Mapping[str, Any]
    valid_metric: str = LOSS
    trains_llm: bool = False
    head_weights: int = 0
    max_items: int = 0
    history_lengths: NDArray[np.int64] | None = None
    report: Callable[[], Mapping[str, Any]] = dict

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest prompt, whole."""
        return self.shared_tokens + self.train.longest_prompt + self.closing_tokens
