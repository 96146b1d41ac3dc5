"""Which names are models, and how RecBole's own tools find them.

RecBole resolves a model by importing ``recbole.model.sequential_recommender.<lower name>`` and reads its defaults from
``properties/model/<Name>.yaml``. ``register`` adds modules under those names and lets RecBole's ``Config`` read the
defaults of the backbone and of this package for them.
"""

import difflib
import importlib
import importlib.machinery
import sys
import types
from pathlib import Path
from typing import Any

import yaml
from recbole.model import sequential_recommender

BACKBONES = ("GRU4Rec", "Caser", "SASRec", "FMLPRec")
FAMILIES = ("TSLRec", "CI", "P2Rec")
RECBOLE_MODULE = "recbole.model.sequential_recommender"


def own_model_names() -> list[str]:
    """The names that this package adds to RecBole."""
    return ["FMLPRec", *(family + backbone for family in FAMILIES for backbone in BACKBONES)]


def split_model_name(name: str) -> tuple[str, str]:
    """``TSLRecSASRec`` -> (``TSLRec``, ``SASRec``); ``P2Rec`` counts as ``TSLRec``; a plain model has family ``Base``.

    Raises:
        ValueError: no model has this name; the nearest names are given.
    """
    if name not in own_model_names():
        recbole_names = [name for name, value in vars(sequential_recommender).items() if isinstance(value, type)]
        if name not in recbole_names:
            near = difflib.get_close_matches(name, [*own_model_names(), *recbole_names], n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(own_model_names())}"
            raise ValueError(f"model [{name}] does not exist{hint}")
        return "Base", name
    for family in FAMILIES:
        if name.startswith(family) and name.removeprefix(family) in BACKBONES:
            return "TSLRec" if family == "P2Rec" else family, name.removeprefix(family)
    return "Base", name


def properties_folder() -> Path:
    """The folder ``properties/``: inside an installed package, or at the top of a checkout.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "properties", package.parent / "properties"):
        if (folder / "overall.yaml").is_file():
            return folder
    raise FileNotFoundError(f"the properties of recbole_tslrec are not beside {package}; install the package again")


def read_properties(path: Path, loader: Any = yaml.SafeLoader) -> dict[str, Any]:
    """One yaml file, or nothing where it does not exist."""
    return (yaml.load(path.read_text(encoding="utf-8"), Loader=loader) or {}) if path.is_file() else {}


def own_defaults(backbone: str, dataset: str, loader: Any = yaml.SafeLoader) -> dict[str, Any]:
    """The defaults of this package: overall, embedded LLM, backbone, dataset, the later over the earlier."""
    folder = properties_folder()
    names = ("overall", "llm/scratch", f"model/{backbone}", f"dataset/{dataset}")
    defaults: dict[str, Any] = {}
    for name in names:
        defaults.update(read_properties(folder / f"{name}.yaml", loader))
    return defaults


def register() -> None:
    """Make the models of this package known to stock RecBole. Safe to call twice."""
    from recbole.config import Config

    models = importlib.import_module("recbole_tslrec.model")
    for name in own_model_names():
        module_name = f"{RECBOLE_MODULE}.{name.lower()}"
        module = types.ModuleType(module_name)
        module.__spec__ = importlib.machinery.ModuleSpec(module_name, loader=None)  # get_model asks find_spec
        setattr(module, name, getattr(models, name))
        sys.modules[module_name] = module
    if not hasattr(Config._load_internal_config_dict, "of_recbole"):
        load_with_own_defaults.of_recbole = Config._load_internal_config_dict  # type: ignore[attr-defined]
        Config._load_internal_config_dict = load_with_own_defaults


def load_with_own_defaults(config: Any, model: str, model_class: Any, dataset: str) -> None:
    """RecBole's defaults; for a model of this package those of its backbone, then ours."""
    recbole_defaults = load_with_own_defaults.of_recbole  # type: ignore[attr-defined]
    if model not in own_model_names():
        return recbole_defaults(config, model, model_class, dataset)  # type: ignore[no-any-return]
    backbone = split_model_name(model)[1]
    recbole_defaults(config, backbone, model_class, dataset)
    merge_own_defaults(config, backbone, dataset)


def merge_own_defaults(config: Any, backbone: str, dataset: str) -> None:
    """Put the defaults of this package over RecBole's in ``config``."""
    defaults = own_defaults(backbone, dataset, config.yaml_loader)
    loss_type = {**config.internal_config_dict, **defaults, **config.external_config_dict}.get("loss_type")
    if loss_type != "CE":
        del defaults["train_neg_sample_args"]  # ours is for CE; RecBole's own draws one negative
    config.internal_config_dict.update(defaults)
