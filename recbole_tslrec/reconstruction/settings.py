"""What decides Stage 1, information reconstruction (Section 4.1)."""

from dataclasses import dataclass

from recbole_tslrec.llm.settings import ItemTextSettings, PromptSettings
from recbole_tslrec.settings import Settings, setting
from recbole_tslrec.settings.base import positive_integer
from recbole_tslrec.sft.settings import FineTuningSettings


@dataclass(frozen=True)
class GroupSettings(Settings):
    """Pre-grouping by k-means."""

    group_count: int = setting(check=positive_integer)
    """(int) K, the number of groups."""
    seed: int = setting()
    """(int) Of the k-means++ starts."""


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
