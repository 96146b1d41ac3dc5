"""What decides Stage 1, information reconstruction (Section 4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recbole_tslrec.llm.settings import ItemTextSettings, PromptSettings
from recbole_tslrec.settings import ConfigError, Settings, setting
from recbole_tslrec.sft.settings import FineTuningSettings


def group_count_or_list(key: str, value: Any) -> None:
    """Refuse what is neither a whole number above 1 nor a list of different ones."""
    counts = list(value) if isinstance(value, (list, tuple)) else [value]
    if not counts or not all(isinstance(count, int) and not isinstance(count, bool) for count in counts):
        raise ConfigError(f"{key} must be a whole number or a list of such, not [{value}]")
    if len(set(counts)) < len(counts):
        raise ConfigError(f"{key} {counts} has a number twice; give each once")


@dataclass(frozen=True)
class GroupSettings(Settings):
    """Pre-grouping by k-means."""

    group_count: int | Sequence[int] = setting(check=group_count_or_list)
    """(int or list) K, the number of groups; a list clusters once for each (an option of this package)."""
    seed: int = setting()
    """(int) Of the k-means++ starts."""

    @property
    def counts(self) -> list[int]:
        """K of each grouping."""
        return [self.group_count] if isinstance(self.group_count, int) else list(self.group_count)


@dataclass(frozen=True)
class ReconstructionSettings(Settings):
    """The paper's task: each user's distribution over the groups is reconstructed from the history."""

    engine: FineTuningSettings = setting()
    """The LLM and its training."""
    groups: GroupSettings = setting()
    """What is predicted."""
    prompt: PromptSettings = setting()
    """From which prompt."""
    text: ItemTextSettings = setting()
    """Which words of items stand in it."""
    target_view: str = setting(choices=("own", "rest"))
    """(str) The target is of the prompt's own items (the paper's), or of the rest of the history."""
    sft_loss: str = setting(choices=("mse", "kl"))
    """(str) Eq. 3, or the Kullback-Leibler divergence."""
    sft_valid_ratio: float = setting()
    """(float) Share of the users held out to choose the best epoch."""
