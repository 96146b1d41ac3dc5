"""The encoder-decoder that is trained in full: a T5 by hub name, from a folder, or a small one of random weights."""

from typing import Any

import torch
import transformers

from recbole_tslrec.compute.random_state import isolated_random_state
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.llm.loading import check_files, load_tokenizer, load_whole, read_config
from recbole_tslrec.llm.settings import LLMSettings

_EXAMPLE = "google-t5/t5-small"


def load_t5_config(settings: LLMSettings, words: int = 0) -> Any:
    """The architecture of ``llm_name_or_path``, or that of ``scratch`` as a T5.

    Args:
        settings: which one.
        words: tokens of the vocabulary of ``scratch``; any other LLM has its own.

    Raises:
        LLMError: it cannot be loaded, or is no T5.
    """
    if settings.is_scratch:
        scratch = settings.scratch
        return transformers.T5Config(
            vocab_size=words,
            d_model=scratch.scratch_hidden_size,
            d_kv=scratch.scratch_hidden_size // scratch.scratch_heads,
            d_ff=scratch.scratch_intermediate_size,
            num_layers=scratch.scratch_layers,
            num_heads=scratch.scratch_heads,
            pad_token_id=0,
            decoder_start_token_id=0,
            eos_token_id=1,
        )
    config = read_config(settings.source)
    if config.model_type != "t5":
        raise LLMError(
            f"[{settings.source}] ({config.model_type}) is no T5, and P5 and POD generate items with one; choose one "
            f"such as {_EXAMPLE}, or llm_name_or_path=scratch"
        )
    return config


def check_t5(settings: LLMSettings) -> None:
    """What can be known before long work starts: the T5 is one, its files are whole, and it has a tokenizer.

    Raises:
        LLMError: says which of these fails and what to do.
    """
    if not settings.is_scratch:
        check_files(settings)
        load_t5_config(settings)
        load_tokenizer(settings)


def load_t5(settings: LLMSettings, vocabulary: int, fresh: torch.Tensor) -> Any:
    """``T5ForConditionalGeneration`` in float32, trained in full.

    Args:
        settings: which one.
        vocabulary: tokens that it has to know; more than its own are added.
        fresh: the tokens whose embeddings start anew as those of a T5 do, N(0, 1), int64 [S].

    Raises:
        LLMError: it cannot be loaded, or its files do not hold all weights.
    """
    config = load_t5_config(settings, vocabulary)
    with isolated_random_state(settings.seed):
        if settings.is_scratch:
            t5 = transformers.T5ForConditionalGeneration(config)
        else:
            t5 = load_whole(settings, transformers.T5ForConditionalGeneration, dtype=torch.float32)
        if vocabulary > config.vocab_size:
            t5.resize_token_embeddings(vocabulary, mean_resizing=False)
        with torch.no_grad():
            words = t5.get_input_embeddings().weight
            words[fresh] = torch.randn(len(fresh), words.shape[1])
    return t5.to(settings.device)
