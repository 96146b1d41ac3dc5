"""What keeps RecBole from being imported, or makes everything slow or wrong once it is."""

import importlib
import importlib.metadata
import sys
import types
import warnings

TESTED_RECBOLE = "1.2.1"
INSTALL_RECBOLE = f"pip install --no-deps recbole=={TESTED_RECBOLE}"


def apply() -> None:
    """Make RecBole importable on this machine.

    Raises:
        ImportError: RecBole is not installed; or pandas 3 or a RecBole other than 1.2.1 is, and would give wrong
            results silently.
    """
    _refuse_versions_that_corrupt()
    _quieten_warnings()
    _restore_numpy_names()
    _import_models_without_anomaly_mode()
    _import_recbole_without_ray()


def _refuse_versions_that_corrupt() -> None:
    # pandas 3 is copy-on-write: the chained `feat[field].fillna(inplace=True)` of recbole/data/dataset/dataset.py does
    # nothing there, and the pad row of every float feature becomes -9223372036854775808.
    pandas = importlib.metadata.version("pandas")
    if int(pandas.split(".")[0]) >= 3:
        raise ImportError(f"pandas {pandas} corrupts RecBole's features silently; run: pip install 'pandas<3'")
    try:
        recbole = importlib.metadata.version("recbole")
    except importlib.metadata.PackageNotFoundError:
        raise ImportError(
            "RecBole is not installed. It asks for a ray that has no build for Python 3.12 and later, so pip leaves it "
            f"out there; run (with uv, put uv in front): {INSTALL_RECBOLE}"
        ) from None
    if recbole != TESTED_RECBOLE:
        raise ImportError(
            f"recbole {recbole} is installed, but this version of recbole_tslrec works around the faults of "
            f"{TESTED_RECBOLE}; run: {INSTALL_RECBOLE}"
        )


def _quieten_warnings() -> None:
    # RecBole's pandas idioms and its torch.cuda.amp.GradScaler warn once a call; ray warns of pkg_resources.
    for category in (FutureWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module=r"recbole\.")
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")


def _restore_numpy_names() -> None:
    # numpy 2 took the first four away; recbole's configurator, interaction and metrics use them at run time. numpy 1.24
    # took the others; RecBole puts them back in Config.__init__, which load_data_and_model never calls, so that
    # evaluating the model that it gives fails on np.float.
    import numpy as np

    gone = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "bool8": np.bool_}
    gone |= {"bool": np.bool_, "int": np.int_, "long": np.int_, "float": np.float64, "complex": np.complex128}
    gone |= {"object": np.object_, "str": np.str_, "unicode": np.str_}
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
    # recbole.quick_start imports ray for hyper-parameter search only. ray<=2.6.3 has no wheel from Python 3.12 on and
    # needs pkg_resources, which setuptools 82 dropped (RecBole#1820, ray#36742). A stub stands in while RecBole is
    # imported.
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
