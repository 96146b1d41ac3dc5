"""Small data and models for all tests. No test needs the network, and none writes into the checkout."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["ACCELERATE_USE_CPU"] = "true"  # also where there are GPUs: a test that needs one takes it itself

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.store.artifacts import Artifact, Recipe, Store, write_item_table
from tests.hub import Hub

Interactions = Iterable[tuple[str, str, float]]

# a Llama small enough that a stage takes seconds
TINY_SCRATCH = {
    "scratch_hidden_size": 16,
    "scratch_layers": 1,
    "scratch_heads": 2,
    "scratch_intermediate_size": 32,
}

SMALL = {
    "MAX_ITEM_LIST_LENGTH": 8,
    "hidden_size": 8,
    "embedding_size": 8,
    "inner_size": 16,
    "train_batch_size": 64,
    "epochs": 1,
    "group_count": 4,
    "sft_epochs": 1,
    "sft_batch_size": 8,
    **TINY_SCRATCH,
}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RecBole writes log/ and log_tensorboard/ into the working directory."""
    monkeypatch.chdir(tmp_path)


def write_dataset(folder: Path, name: str, interactions: Interactions) -> Path:
    """Write ``folder/name/name.inter`` with (user token, item token, time) rows; gives ``folder``."""
    rows = [f"{user}\t{item}\t{time!r}" for user, item, time in interactions]
    (folder / name).mkdir(parents=True, exist_ok=True)
    text = "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n"
    (folder / name / f"{name}.inter").write_text(text)
    return folder


def walks(users: int = 40, items: int = 30, length: int = 12, seed: int = 0) -> list[tuple[str, str, float]]:
    """Users who walk through the items with small steps: something that a sequential model can learn."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for user in range(users):
        item = int(torch.randint(items, (1,), generator=generator))
        for time in range(length):
            rows.append((f"u{user}", f"i{item}", float(time)))
            item = (item + 1 + int(torch.randint(3, (1,), generator=generator))) % items
    return rows


def small_config(
    folder: Path, model: str = "SASRec", interactions: Interactions | None = None, **settings: Any
) -> Config:
    """A small, quick configuration on a dataset called toy, with everything below ``folder``."""
    data = write_dataset(folder / "data", "toy", walks() if interactions is None else interactions)
    small: Mapping[str, Any] = {
        "data_path": str(data),
        "artifacts_dir": str(folder / "artifacts"),
        **SMALL,
    }
    return Config(model, "toy", [], {**small, **settings})


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Config]:
    """``make_config(model, interactions=..., **settings)``: :func:`small_config` in the test's own folder."""
    return functools.partial(small_config, tmp_path)


@pytest.fixture
def make_knowledge(tmp_path: Path) -> Callable[[Sequence[str], torch.Tensor], Artifact]:
    """``make_knowledge(tokens, rows [N, H])``: a knowledge artifact."""

    def make(tokens: Sequence[str], rows: torch.Tensor) -> Artifact:
        settings = {"tokens": list(tokens), "rows": rows.tolist()}
        return Store(tmp_path / "given").build(
            "knowledge", Recipe(settings), lambda folder: write_item_table(folder, tokens, {"knowledge": rows})
        )

    return make


@pytest.fixture
def make_groups(tmp_path: Path) -> Callable[[Sequence[str], torch.Tensor, int], Artifact]:
    """``make_groups(tokens, groups [N], group_count)``: a groups artifact."""

    def make(tokens: Sequence[str], groups: torch.Tensor, group_count: int) -> Artifact:
        tensors = {"groups": groups, "centers": torch.zeros(group_count, 2)}
        recipe = Recipe({"tokens": list(tokens), "groups": groups.tolist()})
        return Store(tmp_path / "given").build(
            "groups", recipe, lambda folder: write_item_table(folder, tokens, tensors)
        )

    return make


@pytest.fixture
def llama_folder(tmp_path: Path) -> Path:
    """A tiny Llama of two layers with its tokenizer, in the Hugging Face layout."""
    import transformers  # here, since most tests need none of it

    from recbole_tslrec.llm.loading import byte_level_tokenizer

    tokenizer = byte_level_tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2
    )
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    tokenizer.save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@pytest.fixture
def t5_folder(tmp_path: Path) -> Path:
    """A tiny T5 of two layers with its tokenizer, in the Hugging Face layout."""
    import transformers

    from recbole_tslrec.llm.loading import byte_level_tokenizer

    tokenizer = byte_level_tokenizer()
    config = transformers.T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    torch.manual_seed(0)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    return tmp_path / "t5"


@pytest.fixture
def exact_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """RMSNorm computes in float32 whatever it is given; here it must not."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm
    from transformers.models.mistral.modeling_mistral import MistralRMSNorm
    from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

    def forward(self: Any, hidden: torch.Tensor) -> torch.Tensor:
        variance = hidden.square().mean(-1, keepdim=True)
        return self.weight * hidden * torch.rsqrt(variance + self.variance_epsilon)

    for norm in (LlamaRMSNorm, MistralRMSNorm, Qwen2RMSNorm, Qwen3RMSNorm):
        monkeypatch.setattr(norm, "forward", forward)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on this machine that huggingface_hub asks, with an empty cache and no token."""
    from huggingface_hub import constants

    stand_in = Hub()
    cache = tmp_path / "hub_cache"
    monkeypatch.setattr(constants, "ENDPOINT", stand_in.address)
    url = f"{stand_in.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield stand_in
    stand_in.close()
