"""How RecBole's own tools find the models of this package.

RecBole resolves a model by importing ``recbole.model.sequential_recommender.<lower name>`` and reads its defaults from
``properties/model/<Name>.yaml``. Here modules are added under those names, and RecBole's ``Config`` is let read the
defaults of the backbone and of this package for them.
"""

import importlib
import importlib.machinery
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from recbole.config import Config
from recbole.data import dataset as recbole_datasets

from recbole_tslrec.compatibility import wrap_once
from recbole_tslrec.configuration.properties import merge_own_defaults
from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.models.factory import fused_class, model_class, recbole_module
from recbole_tslrec.models.families import CI, TSLREC, Family
from recbole_tslrec.models.names import added_model_names, own_model_names, parse_model_name


def register_models() -> None:
    """Make the models of this package known to stock RecBole. Safe to call twice."""
    for name in added_model_names():
        register_model(name, model_class(name), parse_model_name(name).backbone)
    for name in (*BACKBONES, *added_model_names()):
        dataset = BACKBONES[parse_model_name(name).backbone].dataset
        if dataset:
            _set_dataset(f"{name}Dataset", dataset)
    wrap_once(Config, "_load_internal_config_dict", _load_with_own_defaults)


def _set_dataset(name: str, dataset: type) -> None:
    """Put a class where ``create_dataset`` looks for it, in the place of RecBole's own but not of a user's."""
    there = getattr(recbole_datasets, name, None)
    if there is None or there.__module__.startswith("recbole."):
        setattr(recbole_datasets, name, dataset)


def with_knowledge(model: type, tables: Sequence[str] = ()) -> type:
    """A sequential model whose item tables are fused with knowledge: ``TSLRec<Name>``.

    The new class reads ``knowledge_path`` and ``fusion_type``. From now on RecBole finds it by its name, so
    ``run_recbole(model=with_knowledge(MyModel), ...)`` works. Arguments and errors are those of
    :func:`recbole_tslrec.models.factory.fused_class`.
    """
    return _registered(TSLREC, model, tables)


def with_categories(model: type, tables: Sequence[str] = ()) -> type:
    """A sequential model whose item tables are fused with category embeddings: ``CI<Name>``.

    The new class reads ``groups_path`` and ``ci_fusion_type``; all else is as in :func:`with_knowledge`.
    """
    return _registered(CI, model, tables)


def _registered(family: Family, model: type, tables: Sequence[str]) -> type:
    fused = fused_class(family, model, tables)
    if fused.__name__ in own_model_names():
        register_model(model.__name__, model, model.__name__)
        register_model(fused.__name__, fused, model.__name__)
    return fused


def register_model(name: str, model: type, backbone: str) -> None:
    """Let RecBole find ``model`` by ``name``, with the trainer and the dataset that it keeps for ``backbone``."""
    module = types.ModuleType(recbole_module(name))
    module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, loader=None)  # get_model asks find_spec
    setattr(module, name, model)
    sys.modules[module.__name__] = module
    for place, kind in (("recbole.trainer", "Trainer"), ("recbole.data.dataset", "Dataset")):
        classes = importlib.import_module(place)
        if hasattr(classes, backbone + kind):  # S3RecTrainer, GRU4RecKGDataset
            setattr(classes, name + kind, getattr(classes, backbone + kind))


def _load_with_own_defaults(
    recbole_defaults: Callable[..., None], config: Any, model: str, model_class: Any, dataset: str
) -> None:
    """RecBole's defaults; for a model of this package those of its backbone, then those of this package."""
    if model not in (*added_model_names(), *own_model_names()):
        recbole_defaults(config, model, model_class, dataset)
        return
    backbone = parse_model_name(model).backbone
    recbole_defaults(config, backbone, model_class, dataset)
    merge_own_defaults(config, backbone, dataset)
