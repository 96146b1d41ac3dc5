"""What SFT trains, on disk: peft's own adapter folder (or the scratch LLM), projection and head. Never a frozen LLM."""

from pathlib import Path

from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file

from recbole_tslrec.artifacts import write_tensors
from recbole_tslrec.reconstruction.network import ReconstructionNetwork

ADAPTER, SCRATCH_LLM, PROJECTION_AND_HEAD = "adapter", "llm.safetensors", "projection_and_head.safetensors"


def save_trained_weights(network: ReconstructionNetwork, folder: Path) -> None:
    """Write the trained weights into an existing folder.

    ``adapter/`` loads with plain peft (``PeftModel.from_pretrained``); a scratch LLM, which has no other home, goes
    into ``llm.safetensors``.
    """
    llm = network.encoder.llm
    if isinstance(llm, PeftModel):
        llm.save_pretrained(str(folder / ADAPTER))
    else:
        write_tensors(folder / SCRATCH_LLM, llm.state_dict())
    own = {
        **{f"linear_proj.{name}": weight for name, weight in network.encoder.linear_proj.state_dict().items()},
        **{f"head.{name}": weight for name, weight in network.head.state_dict().items()},
    }
    write_tensors(folder / PROJECTION_AND_HEAD, own)


def load_trained_weights(network: ReconstructionNetwork, folder: Path) -> None:
    """Put trained weights into a network that was built with the same settings."""
    llm = network.encoder.llm
    device = str(network.head.weight.device)
    if isinstance(llm, PeftModel):
        set_peft_model_state_dict(llm, load_file(str(folder / ADAPTER / "adapter_model.safetensors"), device=device))
    else:
        llm.load_state_dict(load_file(str(folder / SCRATCH_LLM), device=device))
    own = load_file(str(folder / PROJECTION_AND_HEAD), device=device)
    for name, module in (("linear_proj", network.encoder.linear_proj), ("head", network.head)):
        module.load_state_dict({k.removeprefix(f"{name}."): v for k, v in own.items() if k.startswith(f"{name}.")})
