"""Any sequential model with the LLM's knowledge (TSLRec) or with category indices (CI), made from its class.

No backbone is written out here: a fused class is a mixin over the backbone's class.
"""

import functools
from collections.abc import Sequence
from typing import Any

from recbole.model import sequential_recommender
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import get_model

from recbole_tslrec import registry
from recbole_tslrec.model.backbones import BACKBONES, REFUSED
from recbole_tslrec.model.caser import Caser
from recbole_tslrec.model.fmlprec import FMLPRec
from recbole_tslrec.model.mended import MENDED
from recbole_tslrec.model.mixins import CategoryMixin, FusedItemsMixin, KnowledgeMixin
from recbole_tslrec.model.sasrec import SASRec
from recbole_tslrec.sequential.training_mode import trained

_HOME = "recbole_tslrec.model"  # the module of all named classes: pickle finds them there
_OWN = {"Caser": Caser, "FMLPRec": FMLPRec, "SASRec": SASRec, **MENDED}
_MIXINS = {"TSLRec": KnowledgeMixin, "CI": CategoryMixin}
_WHAT = {"TSLRec": "with a gated item embedding", "CI": "with the pre-grouping index as an item feature"}


def backbone_class(name: str) -> type:
    """The class of a backbone of :data:`BACKBONES`: RecBole's, or ours where that is mended, faster or missing there.

    It knows ``train_mode`` and the losses of this package.
    """
    backbone = trained(_OWN[name] if name in _OWN else _recbole_class(name))
    backbone.__module__ = _HOME
    return backbone


def model_class(name: str) -> type[Any]:
    """The class of a model's name; a plain name of :data:`BACKBONES` gives the class that the fused ones are made of.

    Raises:
        ValueError: no model has this name, or it cannot be made.
    """
    family, backbone = registry.split_model_name(name)
    if backbone not in BACKBONES:
        found: type = get_model(name)
        return trained(found) if family == "Base" else found
    return backbone_class(backbone) if family == "Base" else _fused(family, backbone_class(backbone), ())


def with_knowledge(model: type, tables: Sequence[str] = ()) -> type:
    """A sequential model whose item tables are fused with knowledge: ``TSLRec<Name>``.

    The new class reads ``knowledge_path`` and ``fusion_type``. RecBole finds it by its name from now on, so
    ``run_recbole(model=with_knowledge(MyModel), ...)`` works.

    Args:
        model: a sequential model class of RecBole or of your own.
        tables: attributes of your own model, ``nn.Embedding`` of at least N + 1 rows each, that embed items; the first
            is the input's. Without it, ``item_embedding``.

    Returns:
        The same class for the same arguments.

    Raises:
        TypeError: ``model`` is no class of a sequential model, or is fused already.
        ValueError: the model is one that cannot be fused, or has the name of a RecBole model that it is not.
    """
    return _fused("TSLRec", model, tuple(tables))


def with_categories(model: type, tables: Sequence[str] = ()) -> type:
    """A sequential model whose item tables are fused with category embeddings: ``CI<Name>``.

    The new class reads ``groups_path`` and ``ci_fusion_type``; everything else is as in :func:`with_knowledge`.
    """
    return _fused("CI", model, tuple(tables))


def _fused(family: str, model: type, tables: tuple[str, ...]) -> type:
    _check(model)
    name = model.__name__
    if name not in BACKBONES:
        fused = _make(family, trained(model), tables or ("item_embedding",), registry.module_name(family + name))
        registry.register_own_model(fused, model, family)
        return fused
    if model not in (_recbole_class(name), _OWN.get(name), backbone_class(name)):
        raise ValueError(f"{model} has the name of RecBole's model {name} but is another class; rename yours")
    known = BACKBONES[name].tables
    if tables not in ((), known):
        raise ValueError(f"the item tables of {name} are {', '.join(known)}; leave tables out")
    return _make(family, backbone_class(name), known, _HOME)


@functools.cache
def _make(family: str, backbone: type, tables: tuple[str, ...], module: str) -> type:
    doc = f"{backbone.__name__} {_WHAT[family]}."
    namespace = {"__module__": module, "__doc__": doc, "fused_tables": tables}
    return type(family + backbone.__name__, (_MIXINS[family], backbone), namespace)


def _recbole_class(name: str) -> Any:
    return getattr(sequential_recommender, name, None)  # RecBole has no FMLP-Rec


def _check(model: Any) -> None:
    if not (isinstance(model, type) and issubclass(model, SequentialRecommender)):
        raise TypeError(
            f"{model!r} is no sequential model: give a subclass of "
            "recbole.model.abstract_recommender.SequentialRecommender"
        )
    if issubclass(model, FusedItemsMixin):
        raise TypeError(f"{model.__name__} is fused already; give its backbone")
    if model.__name__ in REFUSED:
        raise ValueError(f"{model.__name__} cannot be fused: {REFUSED[model.__name__]}")
