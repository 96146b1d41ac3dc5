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

from recbole_tslrec.model.backbones import BACKBONES, FAMILIES, REFUSED

RECBOLE_MODULE = "recbole.model.sequential_recommender"

_given: dict[str, str] = {}  # the names that with_knowledge and with_categories have added, and their backbones


def own_model_names() -> list[str]:
    """The names that this package adds to RecBole."""
    return ["FMLPRec", *(family + backbone for family in FAMILIES for backbone in BACKBONES), *_given]


def split_model_name(name: str) -> tuple[str, str]:
    """``TSLRecSASRec`` -> (``TSLRec``, ``SASRec``); ``P2Rec`` counts as ``TSLRec``; a plain model has family ``Base``.

    Raises:
        ValueError: no model has this name, and the nearest are given; or it cannot be made, and the reason is given.
    """
    for family in FAMILIES:
        backbone = name.removeprefix(family)
        if not name.startswith(family):
            continue
        if backbone in REFUSED:
            raise ValueError(
                f"model [{name}] cannot be made from {backbone}: {REFUSED[backbone]}; choose another backbone"
            )
        if backbone in BACKBONES or name in _given:
            return "TSLRec" if family == "P2Rec" else family, backbone
    recbole_names = [name for name, value in vars(sequential_recommender).items() if isinstance(value, type)]
    if name not in (*recbole_names, "FMLPRec", *_given.values()):
        known = {model.lower(): model for model in (*own_model_names(), *recbole_names)}
        near = [known[found] for found in difflib.get_close_matches(name.lower(), known, n=3)]
        backbones = f"; known are {', '.join(BACKBONES)}, each also as TSLRec<Backbone> and CI<Backbone>"
        hint = f"; did you mean {' or '.join(near)}?" if near else backbones
        raise ValueError(f"model [{name}] does not exist{hint}")
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


def module_name(name: str) -> str:
    """The module in which RecBole's ``get_model`` looks for a sequential model."""
    return f"{RECBOLE_MODULE}.{name.lower()}"


def register() -> None:
    """Make the models of this package known to stock RecBole. Safe to call twice."""
    from recbole.config import Config

    models = importlib.import_module("recbole_tslrec.model")
    for name in own_model_names():
        if name not in _given:
            make_known(name, getattr(models, name), split_model_name(name)[1])
    if not hasattr(Config._load_internal_config_dict, "of_recbole"):
        load_with_own_defaults.of_recbole = Config._load_internal_config_dict  # type: ignore[attr-defined]
        Config._load_internal_config_dict = load_with_own_defaults


def register_own_model(fused: type, backbone: type, family: str) -> None:
    """Make a user's own model known to stock RecBole and to this package, with and without its fused tables."""
    name = backbone.__name__
    _given[family + name] = name
    make_known(name, backbone, name)
    make_known(family + name, fused, name)


def make_known(name: str, model: type, backbone: str) -> None:
    """Let RecBole find ``model`` by ``name``, with the trainer and the dataset that it keeps for ``backbone``."""
    module = types.ModuleType(module_name(name))
    module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, loader=None)  # get_model asks find_spec
    setattr(module, name, model)
    sys.modules[module.__name__] = module
    for place, kind in (("recbole.trainer", "Trainer"), ("recbole.data.dataset", "Dataset")):
        classes = importlib.import_module(place)
        if hasattr(classes, backbone + kind):  # S3RecTrainer, GRU4RecKGDataset
            setattr(classes, name + kind, getattr(classes, backbone + kind))


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
    if loss_type in (None, "BPR"):
        del defaults["train_neg_sample_args"]  # ours is for the others; RecBole's own draws one negative
    # ours names the interactions' columns; RecBole names those of items and entities for the models that need them
    defaults["load_col"] = {**(config.internal_config_dict["load_col"] or {}), **defaults["load_col"]}
    config.internal_config_dict.update(defaults)
