"""What decides the LLM baselines."""

from dataclasses import dataclass

from recbole_tslrec.llm.settings import PromptSettings
from recbole_tslrec.settings import Settings, setting
from recbole_tslrec.settings.base import boolean, positive_integer
from recbole_tslrec.sft.settings import FineTuningSettings


@dataclass(frozen=True)
class E4SRecSettings(Settings):
    """What decides E4SRec."""

    engine: FineTuningSettings = setting()
    """The LLM and its training."""
    prompt: PromptSettings = setting()
    """How much of a history the prompt takes; its words are E4SRec's own."""


@dataclass(frozen=True)
class LlamaRecSettings(Settings):
    """What decides LlamaRec's ranker."""

    engine: FineTuningSettings = setting()
    """The LLM and its training."""
    ranker_title_tokens: int = setting(check=positive_integer)
    """(int) The most tokens of a title."""


INDICES = ("sequential", "random", "collaborative")


@dataclass(frozen=True)
class P5Settings(Settings):
    """What decides P5."""

    engine: FineTuningSettings = setting()
    """The T5 and its training."""
    p5_index: str = setting(choices=INDICES)
    """(str) What items are named by: numbers in the order of their appearance, shuffled ones, or paths of clusters."""
    p5_clusters: int = setting(check=positive_integer)
    """(int) Of the index ``collaborative``: clusters into which a group of items is divided."""
    p5_token_size: int = setting(check=positive_integer)
    """(int) Of the same: the most items of a group that is not divided."""
    p5_max_items: int = setting(check=positive_integer)
    """(int) Most recent items of a history in a prompt."""
    p5_prompts: int = setting(check=positive_integer)
    """(int) Paraphrases of each training instance and task in an epoch, of 10."""
    p5_straightforward: bool = setting(check=boolean)
    """(bool) Whether user -> item is trained too, beside history -> item."""
