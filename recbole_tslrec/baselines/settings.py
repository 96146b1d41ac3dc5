"""What decides the LLM baselines."""

from dataclasses import dataclass
from typing import Any

from recbole_tslrec.baselines.p5_prompts import TRAINED
from recbole_tslrec.llm.settings import ItemTextSettings, PromptSettings
from recbole_tslrec.settings import ConfigError, Settings, setting
from recbole_tslrec.settings.base import boolean, positive_integer
from recbole_tslrec.sft.settings import FineTuningSettings


@dataclass(frozen=True)
class E4SRecSettings(Settings):
    """What decides E4SRec."""

    model: str = setting()
    """(str) E4SRec: an artifact says whose it is."""
    engine: FineTuningSettings = setting()
    """The LLM and its training."""
    prompt: PromptSettings = setting()
    """How much of a history the prompt takes; its words are E4SRec's own."""
    eval_args: Any = setting()
    """(dict) How interactions are split: the validation items choose the epoch."""


@dataclass(frozen=True)
class LlamaRecSettings(Settings):
    """What decides LlamaRec's ranker."""

    model: str = setting()
    """(str) LlamaRec: an artifact says whose it is."""
    engine: FineTuningSettings = setting()
    """The LLM and its training."""
    text: ItemTextSettings = setting()
    """Which words of an item are its title."""
    ranker_title_tokens: int = setting(check=positive_integer)
    """(int) The most tokens of a title."""
    eval_args: Any = setting()
    """(dict) How interactions are split: the validation items choose the epoch."""


@dataclass(frozen=True)
class RetrieverSettings(Settings):
    """Whose candidates LlamaRec ranks."""

    retriever: str | None = setting(neutral="the model that finds candidates enters the recipe by its artifact")
    """(str) The model whose 20 best items are ranked; ``None`` means LRURec."""


INDICES = ("sequential", "random", "collaborative")


@dataclass(frozen=True)
class P5IndexSettings(Settings):
    """What items are named by."""

    p5_index: str = setting(choices=INDICES)
    """(str) What items are named by: numbers in the order of their appearance, shuffled ones, or paths of clusters."""
    p5_clusters: int = setting(check=positive_integer)
    """(int) Of the index ``collaborative``: clusters into which a group of items is divided."""
    p5_token_size: int = setting(check=positive_integer)
    """(int) Of the same: the most items of a group that is not divided."""
    seed: int = setting()
    """(int) Of shuffling and clustering."""
    eval_args: Any = setting()
    """(dict) How interactions are split: only the training part counts."""

    def check(self) -> None:
        """Refuse more clusters than a group that is divided may have items."""
        if not 2 <= self.p5_clusters <= self.p5_token_size:
            raise ConfigError(
                f"p5_clusters [{self.p5_clusters}] must lie between 2 and p5_token_size [{self.p5_token_size}]: larger "
                "groups are divided"
            )


@dataclass(frozen=True)
class GenerationSettings(Settings):
    """What P5 and POD share."""

    model: str = setting()
    """(str) P5 or POD: an artifact says whose it is."""
    engine: FineTuningSettings = setting()
    """The T5 and its training."""
    index: P5IndexSettings = setting()
    """What items are named by."""
    beams: int = setting(neutral="how many items the trained model generates", check=positive_integer)
    """(int) Items that are generated."""
    beam_batch_size: int = setting(neutral="users processed at once: equal up to rounding", check=positive_integer)
    """(int) Users whose items are generated at once."""


@dataclass(frozen=True)
class P5Settings(GenerationSettings):
    """What decides P5."""

    p5_max_items: int = setting(check=positive_integer)
    """(int) Most recent items of a history in a prompt."""
    p5_prompts: int = setting(check=positive_integer)
    """(int) Paraphrases of each training instance and task in an epoch, of 10."""
    p5_straightforward: bool = setting(check=boolean)
    """(bool) Whether user -> item is trained too, beside history -> item."""

    def check(self) -> None:
        """Refuse more paraphrases than there are."""
        if self.p5_prompts > TRAINED:
            raise ConfigError(
                f"p5_prompts [{self.p5_prompts}] must be at most {TRAINED}, the paraphrases that there are"
            )


@dataclass(frozen=True)
class PODSettings(GenerationSettings):
    """What decides POD."""

    pod_max_items: int = setting(check=positive_integer)
    """(int) Most recent items of a history in a prompt."""
    pod_candidates: int = setting(check=positive_integer)
    """(int) Items of which top-N names one."""
    pod_segments: int = setting(check=positive_integer)
    """(int) Random parts of each user's history in an epoch."""
    pod_soft_prompts: int = setting(check=positive_integer)
    """(int) Learned vectors before the text, for each task."""
