"""What fine-tuning trains, on disk: peft's adapter folder (or the scratch LLM), projection and head; no frozen LLM."""

import json
from collections.abc import Mapping
from pathlib import Path

from peft import PeftModel, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from recbole_tslrec.sft.network import PromptNetwork
from recbole_tslrec.store.files import write_json, write_tensors

ADAPTER, SCRATCH_LLM, PROJECTION_AND_HEAD = "adapter", "llm.safetensors", "projection_and_head.safetensors"
_LLM, _OWN = "encoder.llm.", {"linear_proj.": "encoder.linear_proj.", "head.": "head."}


def save_trained_weights(network: PromptNetwork, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
    """Write the trained weights into an existing folder.

    ``adapter/`` loads with plain peft (``PeftModel.from_pretrained``); a scratch LLM, which has no other home, goes
    into ``llm.safetensors``.

    Args:
        network: what was trained.
        folder: where to.
        state: the network's whole state where its parameters are sharded over processes.
    """
    llm = network.encoder.llm
    state = network.state_dict() if state is None else state
    llm_state = _below(state, _LLM)
    if isinstance(llm, PeftModel):
        # peft would ask the hub whether the embeddings, which are not trained, are as they were
        llm.save_pretrained(str(folder / ADAPTER), state_dict=llm_state, save_embedding_layers=False)
        _sort_modules(folder / ADAPTER / "adapter_config.json")
    else:
        write_tensors(folder / SCRATCH_LLM, llm_state)
    own = {f"{ours}{name}": weight for ours, long in _OWN.items() for name, weight in _below(state, long).items()}
    write_tensors(folder / PROJECTION_AND_HEAD, own)


def _sort_modules(path: Path) -> None:
    """peft writes sets, in another order in each process; equal weights shall make equal artifacts."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for key in ("target_modules", "exclude_modules"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    write_json(path, config)


def load_trained_weights(network: PromptNetwork, folder: Path) -> None:
    """Put trained weights into a network that was built with the same settings."""
    llm = network.encoder.llm
    device = str(network.item_embeddings.device)
    if isinstance(llm, PeftModel):
        set_peft_model_state_dict(llm, load_file(str(folder / ADAPTER / "adapter_model.safetensors"), device=device))
    else:
        llm.load_state_dict(load_file(str(folder / SCRATCH_LLM), device=device))
    own = load_file(str(folder / PROJECTION_AND_HEAD), device=device)
    network.encoder.linear_proj.load_state_dict(_below(own, "linear_proj."))
    network.head.load_state_dict(_below(own, "head."))


def embedding_size(folder: Path) -> int:
    """d of the stage-0 rows that the projection of a checkpoint takes."""
    with safe_open(str(folder / PROJECTION_AND_HEAD), "pt") as file:
        return int(file.get_slice("linear_proj.weight").get_shape()[1])


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): weight for name, weight in state.items() if name.startswith(prefix)}
