"""Which device a run computes on: a GPU where there is one and it may be used, else the CPU.

RecBole 1.2.1 documents ``use_gpu`` and never reads it (``_init_device`` in recbole/config/configurator.py). It also
overwrites ``CUDA_VISIBLE_DEVICES`` with ``gpu_id``, which is "0" where nobody has set it (RecBole issue 1955): a job
then computes on the GPU that a scheduler gave to another, or on one that was hidden.
"""

import os
from collections.abc import Callable
from typing import Any

import torch

from recbole_tslrec.compatibility.wrapping import wrap_once

VISIBLE = "CUDA_VISIBLE_DEVICES"  # by number or name, separated by commas


def apply() -> None:
    """Let RecBole read ``use_gpu`` and leave ``CUDA_VISIBLE_DEVICES`` as it is unless ``gpu_id`` is given."""
    from recbole.config import Config

    wrap_once(Config, "_init_device", _choose_device)


def may_use_gpu(use_gpu: bool, gpu_id: Any = "0") -> bool:
    """Whether GPUs may be used if there are any. No ``gpu_id`` and ``accelerate launch --cpu`` forbid it, too."""
    launched_on_cpu = os.environ.get("ACCELERATE_USE_CPU", "false").lower() == "true"
    return bool(use_gpu) and gpu_id not in ("", None) and not launched_on_cpu


def visible_gpus() -> list[str]:
    """The GPUs that runs of this machine may use, each as :data:`VISIBLE` names it."""
    if not may_use_gpu(True) or not torch.cuda.is_available():
        return []
    named = os.environ.get(VISIBLE)
    return named.split(",") if named else list(map(str, range(torch.cuda.device_count())))


def _choose_device(init_device: Callable[..., Any], config: Any) -> None:
    settings, visible = config.final_config_dict, os.environ.get(VISIBLE)
    is_given = "gpu_id" in config.external_config_dict
    settings["gpu_id"] = gpu_id = _gpu_id(settings, None if is_given else visible)
    if gpu_id:
        os.environ[VISIBLE] = gpu_id  # before anything asks torch for GPUs, which looks at it once
    init_device(config)
    if not (is_given and gpu_id):  # the default is the first GPU anyway, and the next run may use a GPU
        os.environ.pop(VISIBLE, None)
        os.environ.update({} if visible is None else {VISIBLE: visible})


def _gpu_id(settings: Any, visible: str | None) -> str:
    # the numbers of the GPUs, or "", which is RecBole's word for the CPU
    gpu_id = settings["gpu_id"]
    if not may_use_gpu(settings["use_gpu"], gpu_id):
        return ""
    if visible is not None:
        return visible
    return ",".join(map(str, gpu_id)) if isinstance(gpu_id, list | tuple) else str(gpu_id)
