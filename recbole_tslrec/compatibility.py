"""Every work-around for RecBole 1.2.1 and the libraries under it, each with its reason.

``apply()`` runs once, when ``recbole_tslrec`` is imported; plain RecBole models profit as well. Nothing outside this
module patches RecBole, but for the lookup of names and properties in :mod:`recbole_tslrec.registry`.
"""

import functools
import importlib
import importlib.metadata
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

TESTED_RECBOLE = "1.2.1"


def apply() -> None:
    """Make RecBole importable on this machine and mend the faults that touch every user. Safe to call twice.

    Raises:
        ImportError: pandas 3 or a RecBole other than 1.2.1 is installed; both would give wrong results silently.
    """
    _refuse_versions_that_corrupt()
    _quieten_warnings()
    _restore_numpy_names()
    _import_models_without_anomaly_mode()
    _import_recbole_without_ray()
    _sort_by_exact_time()
    _load_own_checkpoints()


def _refuse_versions_that_corrupt() -> None:
    # pandas 3 is copy-on-write: the chained `feat[field].fillna(inplace=True)` of recbole/data/dataset/dataset.py does
    # nothing there, and the pad row of every float feature becomes -9223372036854775808.
    pandas = importlib.metadata.version("pandas")
    if int(pandas.split(".")[0]) >= 3:
        raise ImportError(f"pandas {pandas} corrupts RecBole's features silently; run: pip install 'pandas<3'")
    recbole = importlib.metadata.version("recbole")
    if recbole != TESTED_RECBOLE:
        raise ImportError(
            f"recbole {recbole} is installed, but this version of recbole_tslrec works around the faults of "
            f"{TESTED_RECBOLE}; install it with: pip install recbole=={TESTED_RECBOLE}"
        )


def _quieten_warnings() -> None:
    # RecBole's pandas idioms and its torch.cuda.amp.GradScaler warn once a call; ray warns of pkg_resources.
    for category in (FutureWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module=r"recbole\.")
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")


def _restore_numpy_names() -> None:
    # numpy 2 took these names away; recbole's configurator, interaction and metrics use them at run time.
    import numpy as np

    gone = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "bool8": np.bool_}
    for name, value in gone.items():
        if name not in np.__dict__:
            setattr(np, name, value)


def _import_models_without_anomaly_mode() -> None:
    # recbole/model/sequential_recommender/sine.py (RecBole#1142) calls torch.autograd.set_detect_anomaly(True) at
    # import, and importing any sequential model imports it: every step of every model gets 1.3 to 1.6 times slower.
    import torch

    before = torch.is_anomaly_enabled()
    importlib.import_module("recbole.model.sequential_recommender")
    torch.autograd.set_detect_anomaly(before)


def _import_recbole_without_ray() -> None:
    # recbole.quick_start imports ray for hyper-parameter search only. ray<=2.6.3 has no wheel for Python 3.12 and needs
    # pkg_resources, which setuptools 82 dropped (RecBole#1820, ray#36742). A stub stands in while RecBole is imported.
    try:
        importlib.import_module("ray.tune")
    except (ImportError, AttributeError):
        before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "ray"}
        ray, tune = types.ModuleType("ray"), types.ModuleType("ray.tune")
        vars(tune)["report"] = lambda *args, **kwargs: None
        vars(ray)["tune"] = tune
        sys.modules.update({"ray": ray, "ray.tune": tune})
        importlib.import_module("recbole.quick_start")
        del sys.modules["ray"], sys.modules["ray.tune"]  # nobody else shall think that ray is here
        if before.get("ray", ray) is None:
            sys.modules["ray"] = before["ray"]


def _sort_by_exact_time() -> None:
    # RecBole casts times to float32 and sorts afterwards: unix seconds keep a resolution of 64 to 128 s, so that
    # histories and even test targets come out wrong (RecBole#2204, RecBole#1653). Its sorts are stable, so rows that
    # are in order by (user, float64 time) before the cast stay in order after it.
    from recbole.data.dataset import SequentialDataset

    _wrap_once(SequentialDataset, "_change_feat_format", _sorted_before_the_cast)


def _sorted_before_the_cast(change_feat_format: Callable[..., Any], dataset: Any) -> Any:
    if dataset.benchmark_filename_list is None and {dataset.uid_field, dataset.time_field} <= set(dataset.inter_feat):
        dataset.inter_feat = sort_by_time(dataset)
    return change_feat_format(dataset)


def sort_by_time(dataset: Any) -> Any:
    """The interactions of a loaded dataset by (user, float64 time); ties keep the order of the file.

    Args:
        dataset: a RecBole dataset before ``data_preparation``, so that ``inter_feat`` is still a data frame.
    """
    return dataset.inter_feat.sort_values([dataset.uid_field, dataset.time_field], kind="stable", ignore_index=True)


def _load_own_checkpoints() -> None:
    # RecBole's .pth files hold a pickled Config, which torch>=2.6 refuses to load by default (RecBole#2212); the safe
    # loader cannot be taught, it refuses the framing of pickle protocol 4. Only RecBole's own loading is let through,
    # and only while it runs. recbole_tslrec itself never unpickles: its artifacts are safetensors and JSON.
    from recbole import quick_start
    from recbole.quick_start import quick_start as quick_start_module
    from recbole.trainer import Trainer

    _wrap_once(Trainer, "evaluate", _unpickling)
    _wrap_once(Trainer, "resume_checkpoint", _unpickling)
    _wrap_once(quick_start_module, "load_data_and_model", _unpickling)
    quick_start.load_data_and_model = quick_start_module.load_data_and_model


def _unpickling(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with _torch_load_unpickles():
        return function(*args, **kwargs)


@contextmanager
def _torch_load_unpickles() -> Iterator[None]:
    name = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=f"Environment variable {name} detected")
            yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _wrap_once(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace ``owner.name`` by ``wrapper(original, ...)``; a second call changes nothing."""
    original = getattr(owner, name)
    if hasattr(original, "wrapped_by_recbole_tslrec"):
        return

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    wrapped.wrapped_by_recbole_tslrec = True  # type: ignore[attr-defined]
    setattr(owner, name, wrapped)
