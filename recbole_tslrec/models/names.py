"""Names of models: a family's prefix and a backbone."""

import difflib
from typing import NamedTuple

from recbole.model import sequential_recommender

from recbole_tslrec.models.backbones import BACKBONES, REFUSED
from recbole_tslrec.models.families import BASE, LLM_BASELINES, PREFIXES, Family

_own_models: dict[str, str] = {}  # the fused forms of users' own models, and their backbones


class ModelName(NamedTuple):
    """``TSLRecSASRec``, taken apart.

    Attributes:
        family: what is fused.
        backbone: into which model.
    """

    family: Family
    backbone: str

    @property
    def recommender(self) -> str:
        """The name of the recommender that RecBole builds and reads the data for."""
        return self.backbone if self.family.default_backbone else str(self)

    def __str__(self) -> str:
        return self.family.prefix + self.backbone


def parse_model_name(name: str) -> ModelName:
    """Take a model's name apart; a plain model is of the family :data:`~recbole_tslrec.models.families.BASE`.

    Raises:
        ValueError: no model has this name, and the nearest are given; or it cannot be made, and the reason is given.
    """
    for prefix, family in PREFIXES.items():
        backbone = name.removeprefix(prefix)
        if not name.startswith(prefix):
            continue
        if backbone in REFUSED:
            raise ValueError(
                f"model [{name}] cannot be made from {backbone}: {REFUSED[backbone]}; choose another backbone"
            )
        if backbone in BACKBONES or name in _own_models:
            return ModelName(family, backbone)
    for family in LLM_BASELINES.values():
        backbone = name.removeprefix(family.prefix) or family.default_backbone
        if name.startswith(family.prefix) and backbone in BACKBONES:
            return ModelName(family, backbone)
    recbole_names = [key for key, value in vars(sequential_recommender).items() if isinstance(value, type)]
    if name not in (*recbole_names, *BACKBONES, *_own_models.values()):
        raise ValueError(f"model [{name}] does not exist{_hint(name, recbole_names)}")
    return ModelName(BASE, name)


def _hint(name: str, recbole_names: list[str]) -> str:
    names = (*added_model_names(), *own_model_names(), *LLM_BASELINES, *recbole_names)
    known = {model.lower(): model for model in names}
    near = [known[found] for found in difflib.get_close_matches(name.lower(), known, n=3)]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; known are {', '.join(BACKBONES)}, each also as TSLRec<Backbone> and CI<Backbone>"


def added_model_names() -> list[str]:
    """The names of models that this package adds to RecBole's."""
    missing = [name for name in BACKBONES if not hasattr(sequential_recommender, name)]
    return [*missing, *(prefix + backbone for prefix in PREFIXES for backbone in BACKBONES)]


def own_model_names() -> list[str]:
    """The fused forms of users' own models."""
    return list(_own_models)


def add_own_model(name: str, backbone: str) -> None:
    """Let :func:`parse_model_name` know ``name``, the fused form of a user's own model ``backbone``."""
    _own_models[name] = backbone
