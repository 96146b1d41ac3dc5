"""What decides the LLM and the words of its prompt."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from recbole_tslrec.compute.precision import DTYPES, named_dtype
from recbole_tslrec.llm.checkpoint_files import hub_snapshot
from recbole_tslrec.settings import ConfigError, Settings, setting
from recbole_tslrec.settings.base import boolean, listed, optional_positive_integer, positive_integer

SCRATCH = "scratch"
QUANTIZATIONS = ("none", "8bit", "4bit")
NO_TEXT = "none"
PREFIX_ROW, PADDED = LAYOUTS = ("prefix_row", "padded")  # how prompts lie in memory

_DEVICE = "where a run happens: results agree up to rounding"
_SHOWN = "what a run shows"


@dataclass(frozen=True)
class ScratchSettings(Settings):
    """The embedded LLM ``scratch``: a Llama of random weights that is trained in full."""

    scratch_hidden_size: int = setting()
    """(int) H, the width of a hidden state."""
    scratch_layers: int = setting()
    """(int) Decoder layers."""
    scratch_heads: int = setting()
    """(int) Attention heads."""
    scratch_intermediate_size: int = setting()
    """(int) Width of the feed-forward layers."""
    scratch_context_length: int = setting()
    """(int) Longest prompt, in tokens."""

    def check_sizes(self) -> None:
        """Refuse sizes of which no LLM can be made.

        Raises:
            ConfigError: one is no whole number above 0, or the width does not suit the heads.
        """
        for key, value in self.values().items():
            positive_integer(key, value)
        pairs = 2 * self.scratch_heads  # rotary embeddings turn pairs of a head's numbers
        if self.scratch_hidden_size % pairs:
            raise ConfigError(
                f"scratch_hidden_size [{self.scratch_hidden_size}] must be a multiple of {pairs}, twice scratch_heads "
                f"[{self.scratch_heads}]"
            )


@dataclass(frozen=True)
class LLMSettings(Settings):
    """Which LLM, and in which type it computes. Its files enter recipes by their content."""

    llm_name_or_path: str = setting()
    """(str) Hub name, folder or GGUF file of a decoder or text encoder, or ``scratch``."""
    llm_dtype: str = setting(choices=("auto", *DTYPES))
    """(str) Floating-point type; auto: bfloat16 on a GPU that computes in it, else float32."""
    llm_quantization: str = setting(choices=QUANTIZATIONS)
    """(str) none, 8bit or 4bit."""
    llm_attn_implementation: str | None = setting(neutral="kernels of the same attention: equal up to rounding")
    """(str) Attention of transformers for padded prompts; ``None`` lets it choose."""
    scratch: ScratchSettings = setting()
    """The embedded LLM."""
    seed: int = setting()
    """(int) Of scratch's weights and of fresh adapters."""
    device: Any = setting(neutral=_DEVICE)
    """(torch.device) Where it is."""
    show_progress: bool = setting(neutral=_SHOWN)
    """(bool) Whether loading shows a bar."""

    @property
    def is_scratch(self) -> bool:
        """Whether the LLM is the embedded one."""
        return self.llm_name_or_path == SCRATCH

    @property
    def source(self) -> str:
        """The hub name, or the path: ``~`` is the user's folder, a folder of the hub's cache its snapshot."""
        return hub_snapshot(os.path.expanduser(self.llm_name_or_path))

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type."""
        return named_dtype(self.llm_dtype, self.device)

    def check(self) -> None:
        """Refuse a quantised ``scratch``, and one of sizes that cannot be."""
        if self.is_scratch:
            self.scratch.check_sizes()
            if self.llm_quantization != "none":
                raise ConfigError(
                    "llm_quantization does not apply to scratch, which is trained in full; set it to none"
                )


@dataclass(frozen=True)
class LoraSettings(Settings):
    """The adapters that are trained in the place of the LLM's own weights."""

    lora_rank: int = setting(check=positive_integer)
    """(int) Rank r."""
    lora_alpha: float = setting()
    """(float) Scale; an adapter's output is multiplied by lora_alpha / lora_rank."""
    lora_dropout: float = setting()
    """(float) Probability of an adapter's input to be zeroed."""
    lora_target_modules: str | Sequence[str] = setting()
    """(str or list) Modules that get adapters."""

    @property
    def modules(self) -> str | list[str]:
        """What peft takes: all-linear or a pattern as it is, names with commas between as a list."""
        given = self.lora_target_modules
        several = not isinstance(given, str) or re.fullmatch(r"\s*\w+(\s*,\s*\w+)*\s*", given)
        return listed(given) if several else str(given)


@dataclass(frozen=True)
class ItemTextSettings(Settings):
    """Which words of an item stand in the prompt. The words enter recipes by their content."""

    prompt_item_text: str | Sequence[str] = setting()
    """(str or list) Text columns of the ``.item`` file, or none."""
    prompt_item_vector: bool = setting(check=boolean)
    """(bool) Whether the item's vector stands behind its words."""
    dataset: str = setting(neutral="the words enter the recipe by their content")
    """(str) Name of the dataset."""
    data_path: str = setting(neutral="the words enter the recipe by their content")
    """(str) Its folder."""
    encoding: str = setting(neutral="the words enter the recipe by their content")
    """(str) Encoding of its files."""
    field_separator: str = setting(neutral="the words enter the recipe by their content")
    """(str) Between two columns."""
    ITEM_ID_FIELD: str = setting(neutral="the words enter the recipe by their content")
    """(str) The column of the item."""

    @property
    def columns(self) -> list[str]:
        """The columns that ``prompt_item_text`` names: one, several with commas between, or a list; none for none."""
        given = self.prompt_item_text
        columns = [] if given is None else listed(given)
        return [] if columns == [NO_TEXT] else columns

    def check(self) -> None:
        """Refuse what names no columns."""
        given = self.prompt_item_text
        is_list = isinstance(given, (list, tuple)) and all(isinstance(name, str) for name in given)
        if given is not None and not isinstance(given, str) and not is_list:
            raise ConfigError(f"prompt_item_text must be none, a column of the .item file or several, not [{given}]")


@dataclass(frozen=True)
class PromptSettings(Settings):
    """The text parts of the prompt, and how much of a history it takes."""

    prompt_instruction: str = setting()
    """(str) d_inst; ``{group_count}`` becomes K."""
    prompt_response: str = setting()
    """(str) d_res; its last token's hidden state is read."""
    prompt_max_items: int | None = setting(check=optional_positive_integer)
    """(int) Most recent items of a user in the prompt; ``None`` means ``MAX_ITEM_LIST_LENGTH``."""
    MAX_ITEM_LIST_LENGTH: int = setting()
    """(int) L, the most recent items that a recommender sees."""

    @property
    def max_items(self) -> int:
        """The most recent items of a user that the prompt takes."""
        return int(self.prompt_max_items or self.MAX_ITEM_LIST_LENGTH)
