"""The models: each backbone, and each with category indices (CI) or with the LLM's knowledge (TSLRec, P2Rec).

The classes are made when they are asked for: ``from recbole_tslrec.model import TSLRecBERT4Rec``.
"""

from typing import Any

from recbole_tslrec.model.backbones import BACKBONES, FAMILIES

__all__ = [*BACKBONES, *(family + backbone for family in FAMILIES for backbone in BACKBONES)]


def __getattr__(name: str) -> Any:
    # A module attribute by PEP 562, since the registry reads the table of backbones before any class can be made.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from recbole_tslrec.model.tslrec import model_class

    return model_class(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
