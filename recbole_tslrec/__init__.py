"""TSLRec (P2Rec) for RecBole.

Importing the package mends RecBole's faults (:mod:`recbole_tslrec.compatibility`) and makes its model names known to
stock RecBole (:mod:`recbole_tslrec.registry`). It imports neither transformers nor peft.
"""

from typing import Any

from recbole_tslrec import compatibility
from recbole_tslrec.version import __version__

compatibility.apply()

from recbole_tslrec import registry  # noqa: E402  (RecBole must be importable first)

from recbole_tslrec.model.backbones import BACKBONES  # noqa: E402
from recbole_tslrec.sequential.loading import register_datasets, register_loader  # noqa: E402

registry.register()
register_datasets([*BACKBONES, *registry.own_model_names()])
register_loader()

__all__ = ["__version__", "run"]


def run(*args: Any, **kwargs: Any) -> Any:
    """Run the stages of a model on a dataset; see :func:`recbole_tslrec.quick_start.run`."""
    from recbole_tslrec.quick_start import run

    return run(*args, **kwargs)
