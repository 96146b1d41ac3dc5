"""What decides the LLM baselines."""

from dataclasses import dataclass

from recbole_tslrec.llm.settings import PromptSettings
from recbole_tslrec.settings import Settings, setting
from recbole_tslrec.settings.base import positive_integer
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
