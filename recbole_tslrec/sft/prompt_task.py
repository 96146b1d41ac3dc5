"""A task whose prompts are of frozen item rows: d_inst, items, d_res, and a head over the last hidden state."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec.llm.item_text import ItemText
from recbole_tslrec.llm.loading import load_llm_config
from recbole_tslrec.llm.prompt import Prompt
from recbole_tslrec.llm.segment_encoder import state_size
from recbole_tslrec.sft.network import build_network
from recbole_tslrec.sft.settings import FineTuningSettings
from recbole_tslrec.sft.task import EpochExamples, HeadObjective, StepExamples, Task


def prompt_task(
    settings: FineTuningSettings,
    name: str,
    objective: HeadObjective,
    prompt: Prompt,
    item_embeddings: Tensor,
    train: EpochExamples,
    valid: StepExamples,
    max_items: int,
    recipe: Mapping[str, Any],
    item_text: ItemText | None = None,
    takes_vectors: bool = True,
    **of_task: Any,
) -> Task:
    """A task of a :class:`~recbole_tslrec.sft.network.PromptNetwork`.

    Args:
        settings: the settings of the LLM and its training.
        name: for messages.
        objective: what is predicted.
        prompt: the text parts.
        item_embeddings: the frozen rows that stand for items in the prompt, [N + 1, d]; row 0 is the pad.
        train: what is trained on.
        valid: what the best epoch is chosen by.
        max_items: the most items of a prompt.
        recipe: the settings that decide the result.
        item_text: the words of the same rows, if the prompt has words.
        takes_vectors: whether an item's place holds its vector, or what all items have.
        of_task: other attributes of :class:`~recbole_tslrec.sft.task.Task`.

    Raises:
        LLMError: the LLM's configuration cannot be loaded.
    """
    network = partial(
        build_network, settings, prompt, objective.head, item_embeddings, item_text, max_items, takes_vectors
    )
    words = len(prompt.instruction), len(prompt.response)
    llm_config = load_llm_config(settings.llm)
    with torch.device("meta"):  # the head's size, without its memory
        head = objective.head(state_size(llm_config))
    return Task(
        name,
        objective,
        network,
        llm_config,
        *words,
        train,
        valid,
        recipe,
        head_weights=sum(weight.numel() for weight in head.parameters()),
        max_items=max_items,
        **of_task,
    )
