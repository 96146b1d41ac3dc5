"""What goes wrong when an LLM is loaded, as one sentence that says which LLM, why, and what to do."""

from collections.abc import Iterator
from typing import Any

import torch
import transformers
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)

from recbole_tslrec.llm.checkpoint_files import first_line
from recbole_tslrec.llm.identity import LLMError, looks_like_a_path

LESS_MEMORY = "choose a smaller LLM, llm_dtype=bfloat16 or llm_quantization=4bit"
EXAMPLE = "Qwen/Qwen3-0.6B"
_UNREACHABLE = (ConnectionError, TimeoutError, LocalEntryNotFoundError, HfHubHTTPError)
# an error in the chain, words in it, and what they mean
_REASONS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str], ...] = (
    (GatedRepoError, "", "its repository is gated; accept its licence on its hub page, then run `hf auth login`"),
    (
        RemoteEntryNotFoundError,
        "config.json",
        "its repository has no config.json, but adapters or GGUF files: give the base model, or fetch one file with "
        "`hf download` and give its path",
    ),
    (
        RepositoryNotFoundError,
        "",
        "the hub has no such repository, or it is private; check the name, or run `hf auth login`",
    ),
    ((MemoryError, torch.OutOfMemoryError), "", f"not enough memory; {LESS_MEMORY}"),
    (
        OSError,
        "does not appear to have a file named",
        "it lacks files of weights, in the local cache or on the hub; fetch them all: hf download and its hub name",
    ),
    (
        ValueError,
        "trust_remote_code",
        f"it needs Python code of its own, which is not run; choose an LLM that transformers has, such as {EXAMPLE}",
    ),
    (
        ValueError,
        "does not recognize this architecture",
        f"transformers {transformers.__version__} does not know its architecture; pip install -U transformers, or "
        "choose another LLM",
    ),
    (
        ValueError,
        "Unrecognized model",
        f"its config.json has no model_type that transformers {transformers.__version__} knows; fetch it again",
    ),
    (
        ValueError,
        "GGUF model with architecture",
        "transformers does not read GGUF files of its architecture; take the model as a folder with a config.json",
    ),
)


class explained:
    """Turns the many errors of loading from the hub or a folder into one that says which and what to do."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, Exception):  # of whatever a file makes of transformers
            raise LLMError(f"[{self.source}] cannot be loaded: {self._reason(error)}") from error

    def _reason(self, error: BaseException) -> str:
        chain = list(_chain(error))
        for link in chain:
            for kinds, words, reason in _REASONS:
                if isinstance(link, kinds) and words in str(link):
                    return reason
        if looks_like_a_path(self.source):
            return f"its files do not fit each other or are damaged ({first_line(error)}); fetch all from one place"
        if any(isinstance(link, _UNREACHABLE) or "connect" in str(link).lower() for link in chain):
            return (
                "the hub cannot be reached and the model is not in the local cache; go online, give the folder of a "
                "downloaded model, or use llm_name_or_path=scratch"
            )
        return first_line(error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came from."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__
