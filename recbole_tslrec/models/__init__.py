"""The models: each backbone, and each with category indices (CI) or with the LLM's knowledge (TSLRec, P2Rec).

The classes are made when they are asked for: ``from recbole_tslrec.models import TSLRecBERT4Rec``.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    # a module attribute by PEP 562: the modules of this package import each other before any class can be made
    from recbole_tslrec.models.backbones import BACKBONES
    from recbole_tslrec.models.factory import model_class
    from recbole_tslrec.models.names import added_model_names

    names = sorted({*BACKBONES, *added_model_names()})
    if name == "__all__":
        return names
    if name not in names:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return model_class(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__getattr__("__all__")])
