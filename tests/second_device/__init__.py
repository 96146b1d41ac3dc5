"""A second device for torch, where mistakes that would end a run on a GPU end it on a machine without one.

``load`` compiles it and makes it known. It changes torch for the whole process, so it belongs into one of its own.
"""

import shutil
import subprocess
import types
from pathlib import Path

import torch
from torch.utils import cpp_extension

COMPILER = shutil.which("g++")
SECOND = "second"
TORCH = "2.13."  # whose interface to devices, which other releases change, the source has
_SOURCE = Path(__file__).with_name("device.cpp")


def load(folder: Path) -> torch.device:
    """Compile the device into ``folder`` and load it."""
    library = folder / "second_device.so"
    includes = [f"-I{path}" for path in cpp_extension.include_paths()]
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    libraries = [*(f"-L{path}" for path in cpp_extension.library_paths()), "-lc10", "-ltorch_cpu"]
    command = [COMPILER, "-shared", "-fPIC", "-std=c++20", abi, *includes, _SOURCE, *libraries, "-o", library]
    subprocess.run(list(map(str, command)), check=True)
    torch.utils.rename_privateuse1_backend(SECOND)
    torch._register_device_module(SECOND, _module())
    torch.ops.load_library(str(library))
    torch.utils.generate_methods_for_privateuse1_backend()
    return torch.device(SECOND, 0)


def _module() -> types.ModuleType:
    # what torch.cuda is for CUDA: the functions that torch calls by name
    module = types.ModuleType(SECOND)
    module.is_available = lambda: True  # type: ignore[attr-defined]
    module.device_count = lambda: 1  # type: ignore[attr-defined]
    module.current_device = lambda: 0  # type: ignore[attr-defined]
    module._is_in_bad_fork = lambda: False  # type: ignore[attr-defined]
    module.manual_seed_all = lambda seed: None  # type: ignore[attr-defined]
    module.get_rng_state = lambda *device: torch.get_rng_state()  # type: ignore[attr-defined]
    module.set_rng_state = lambda *state: None  # type: ignore[attr-defined]
    module.synchronize = lambda *device: None  # type: ignore[attr-defined]
    module.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]  # type: ignore[attr-defined]
    return module
