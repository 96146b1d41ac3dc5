"""LoRA adapters on the decoder: peft's, put on, merged, or looked behind."""

from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from recbole_tslrec.compute.random_state import isolated_random_state
from recbole_tslrec.llm.checkpoint_files import first_line
from recbole_tslrec.llm.identity import LLMError
from recbole_tslrec.llm.settings import LoraSettings


def add_adapters(llm: nn.Module, settings: LoraSettings, seed: int) -> nn.Module:
    """Put fresh LoRA adapters on the LLM; they alone are trained.

    Raises:
        LLMError: ``lora_target_modules`` names no module of the LLM.
    """
    named = list(llm.named_modules())
    linear = sorted({name.rsplit(".", 1)[-1] for name, module in named if isinstance(module, nn.Linear)})
    # of Llama 4: a linear layer that gives two results, which an adapter cannot be added to
    routers = [name for name, module in named if type(module).__name__.endswith("Router")]
    lora = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=settings.modules,
        exclude_modules=routers or None,
        bias="none",
    )
    with isolated_random_state(seed):
        try:
            adapted: nn.Module = get_peft_model(llm, lora)
            return adapted
        except ValueError as error:
            raise LLMError(
                f"lora_target_modules [{settings.lora_target_modules}] does not fit: {first_line(error)}; linear "
                f"layers of this LLM: {', '.join(linear)}"
            ) from error


def merge_adapters(encoder: Any) -> None:
    """Make the LoRA adapters of an encoder's LLM part of its weights.

    A quantised LLM keeps both as they are: merged weights would be rounded to few bits again, where peft can merge.
    """
    if isinstance(encoder.llm, PeftModel) and not is_quantized(encoder.llm):
        encoder.llm = encoder.llm.merge_and_unload()


def is_quantized(llm: nn.Module) -> bool:
    """Whether the LLM's weights are held in few bits."""
    return getattr(base_model(llm), "hf_quantizer", None) is not None


def base_model(llm: nn.Module) -> Any:
    """The transformers model itself, without peft's wrapping."""
    return llm.get_base_model() if isinstance(llm, PeftModel) else llm
