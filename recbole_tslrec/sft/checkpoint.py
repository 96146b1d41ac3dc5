"""What fine-tuning trains, on disk: peft's adapter folder (or the scratch LLM), projection and head; no frozen LLM."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import PeftModel, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from recbole_tslrec.store.files import read_json, write_json, write_tensors

CHECKPOINT = "checkpoint"  # the folder of the best epoch's weights
ADAPTER, WHOLE_LLM, OWN_LAYERS = "adapter", "llm.safetensors", "own_layers.safetensors"


def save_trained_weights(network: Any, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
    """Write the trained weights into an existing folder.

    ``adapter/`` loads with plain peft (``PeftModel.from_pretrained``); an LLM that is trained in full goes into
    ``llm.safetensors``, the task's own layers into ``own_layers.safetensors``.

    Args:
        network: what was trained.
        folder: where to.
        state: the network's whole state where its parameters are sharded over processes.
    """
    llm = network.get_submodule(network.llm_path)
    state = network.state_dict() if state is None else state
    llm_state = _below(state, f"{network.llm_path}.")
    if isinstance(llm, PeftModel):
        # peft would ask the hub whether the embeddings, which are not trained, are as they were
        llm.save_pretrained(str(folder / ADAPTER), state_dict=llm_state, save_embedding_layers=False)
        _sort_modules(folder / ADAPTER / "adapter_config.json")
    else:
        write_tensors(folder / WHOLE_LLM, llm_state)
    layers = {name: _below(state, f"{path}.") for name, path in network.own_layers.items()}
    own = {f"{layer}.{name}": weight for layer, of_layer in layers.items() for name, weight in of_layer.items()}
    if own:
        write_tensors(folder / OWN_LAYERS, own)


def _sort_modules(path: Path) -> None:
    """peft writes sets, in another order in each process; equal weights shall make equal artifacts."""
    config = read_json(path)
    for key in ("target_modules", "exclude_modules"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    write_json(path, config)


def load_trained_weights(network: Any, folder: Path) -> None:
    """Put trained weights into a network that was built with the same settings."""
    llm = network.get_submodule(network.llm_path)
    if isinstance(llm, PeftModel):
        set_peft_model_state_dict(llm, load_file(str(folder / ADAPTER / "adapter_model.safetensors")))
    else:
        llm.load_state_dict(load_file(str(folder / WHOLE_LLM)))
    own = load_file(str(folder / OWN_LAYERS)) if network.own_layers else {}
    for layer, path in network.own_layers.items():
        network.get_submodule(path).load_state_dict(_below(own, f"{layer}."))


def embedding_size(folder: Path) -> int:
    """d of the stage-0 rows that the projection of a checkpoint takes."""
    with safe_open(str(folder / OWN_LAYERS), "pt") as file:
        return int(file.get_slice("linear_proj.weight").get_shape()[1])


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): weight for name, weight in state.items() if name.startswith(prefix)}
