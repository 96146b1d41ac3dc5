"""A T5 is looked at before long work starts, and loaded as a whole."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from recbole_tslrec.llm.encoder_decoder import check_t5, load_t5
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.llm.settings import LLMSettings

NO_TOKENS = torch.zeros(0, dtype=torch.int64)
WEIGHTS = "model.safetensors"


@pytest.fixture
def settings(make_config: Callable[..., object], t5_folder: Path) -> LLMSettings:
    return LLMSettings.of(make_config(llm_name_or_path=str(t5_folder)))


def test_weights_are_those_of_the_folder(settings: LLMSettings, t5_folder: Path) -> None:
    check_t5(settings)
    t5 = load_t5(settings, 0, NO_TOKENS)
    assert torch.equal(t5.shared.weight, load_file(t5_folder / WEIGHTS)["shared.weight"])


def test_weights_that_are_missing_are_named(settings: LLMSettings, t5_folder: Path) -> None:
    weights = load_file(t5_folder / WEIGHTS)
    name = "decoder.final_layer_norm.weight"
    del weights[name]
    save_file(weights, t5_folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(LLMError, match=name):
        load_t5(settings, 0, NO_TOKENS)


def test_a_pointer_in_the_place_of_weights_is_refused_before_work(settings: LLMSettings, t5_folder: Path) -> None:
    (t5_folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(LLMError, match="Git LFS"):
        check_t5(settings)


def test_a_decoder_is_no_t5(make_config: Callable[..., object], llama_folder: Path) -> None:
    with pytest.raises(LLMError, match=r"\(llama\) is no T5"):
        check_t5(LLMSettings.of(make_config(llm_name_or_path=str(llama_folder))))
