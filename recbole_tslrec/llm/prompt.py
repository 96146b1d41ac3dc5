"""The prompt of Section 4.1: d_inst, then one position per item, then d_res."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prompt:
    """The token ids of the prompt's two text parts.

    Attributes:
        instruction: d_inst, int64 [P]; begins with the tokenizer's BOS where it has one.
        response: d_res, int64 [R].
    """

    instruction: Tensor
    response: Tensor

    def max_items(self, context_length: int, longest_text: int = 0) -> int:
        """How many items fit between the text parts.

        Args:
            context_length: the context length of the LLM, in tokens.
            longest_text: the most tokens that stand before an item's own one.

        Raises:
            ValueError: not even one does.
        """
        room = context_length - len(self.instruction) - len(self.response)
        item = 1 + longest_text
        if room < item:
            raise ValueError(
                f"the LLM's context of {context_length} tokens has no room for an item (of {item}) beside the prompt's "
                f"{len(self.instruction) + len(self.response)} tokens; choose an LLM with a longer context, or shorten "
                "prompt_instruction (TSLRec's; E4SRec's is fixed)"
            )
        return room // item


def build_prompt(tokenizer: Any, instruction: str, response: str, group_count: int) -> Prompt:
    """Tokenise the text parts.

    Args:
        tokenizer: the tokenizer of transformers.
        instruction: d_inst; ``{group_count}`` is filled in.
        response: d_res.
        group_count: K.

    Raises:
        ValueError: a part is empty.
    """
    instruction_ids = _tokenise(tokenizer, instruction.replace("{group_count}", str(group_count)))
    if tokenizer.bos_token_id is not None:
        instruction_ids = [tokenizer.bos_token_id, *instruction_ids]
    response_ids = _tokenise(tokenizer, response)
    if not instruction_ids or not response_ids:
        raise ValueError("prompt_instruction and prompt_response must not be empty: the last token of d_res is read")
    return Prompt(torch.tensor(instruction_ids), torch.tensor(response_ids))


def _tokenise(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
