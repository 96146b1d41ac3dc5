"""Any sequential model with the LLM's knowledge (TSLRec) or with category indices (CI), made from its class.

No backbone is written out here: a fused class is a mixin over the backbone's class.
"""

import functools
from collections.abc import Sequence
from typing import Any

from recbole.model import sequential_recommender
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import get_model

from recbole_tslrec.models.backbones import BACKBONES, HOME, REFUSED, Backbone, backbone_class, backbone_of
from recbole_tslrec.models.families import Family
from recbole_tslrec.models.mixins import FusedItemsMixin
from recbole_tslrec.models.names import add_own_model, parse_model_name

RECBOLE_MODULE = "recbole.model.sequential_recommender"


def recbole_module(name: str) -> str:
    """The module in which RecBole's ``get_model`` looks for a sequential model."""
    return f"{RECBOLE_MODULE}.{name.lower()}"


def model_class(name: str) -> type[Any]:
    """The class of a model's name; a plain name of :data:`BACKBONES` gives the class that the fused ones are made of.

    Raises:
        ValueError: no model has this name, or it cannot be made.
    """
    family, backbone = parse_model_name(name)
    if backbone not in BACKBONES:
        found: type = get_model(name)
        return found if issubclass(found, FusedItemsMixin) else backbone_of(found).trainable(found)
    return fused_class(family, backbone_class(backbone)) if family.mixin else backbone_class(backbone)


def fused_class(family: Family, model: type, tables: Sequence[str] = ()) -> type:
    """The class of a sequential model whose item tables are fused; the same one for the same arguments.

    Args:
        family: what is fused.
        model: a sequential model class of RecBole or of a user.
        tables: attributes of a user's own model, ``nn.Embedding`` of at least N + 1 rows each, that embed items; the
            first is the input's. Without it, ``item_embedding``.

    Raises:
        TypeError: ``model`` is no class of a sequential model, or is fused already.
        ValueError: the model is one that cannot be fused, or has the name of a RecBole model that it is not.
    """
    _check(model)
    name = model.__name__
    if name not in BACKBONES:
        add_own_model(family.prefix + name, name)
        own = tuple(tables) or ("item_embedding",)
        return _make(family, Backbone().trainable(model), own, recbole_module(family.prefix + name))
    known = BACKBONES[name]
    if model not in (getattr(sequential_recommender, name, None), known.base, backbone_class(name)):
        raise ValueError(f"{model} has the name of RecBole's model {name} but is another class; rename yours")
    if tuple(tables) not in ((), known.tables):
        raise ValueError(f"the item tables of {name} are {', '.join(known.tables)}; leave tables out")
    return _make(family, backbone_class(name), known.tables, HOME)


@functools.cache
def _make(family: Family, backbone: type, tables: tuple[str, ...], module: str) -> type:
    assert family.mixin is not None
    doc = f"{backbone.__name__} {family.about}."
    namespace = {"__module__": module, "__doc__": doc, "fused_tables": tables}
    return type(family.prefix + backbone.__name__, (family.mixin, backbone), namespace)


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
