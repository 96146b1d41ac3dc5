"""TSLRec (P2Rec) for RecBole.

Importing the package fixes RecBole's faults (:mod:`recbole_tslrec.compatibility`) and makes its model names known to
stock RecBole (:mod:`recbole_tslrec.configuration.registration`): it calls :func:`install`, unless the environment has
``RECBOLE_TSLREC_NO_INSTALL=1``. It imports neither transformers nor peft.
"""

import os
from collections.abc import Sequence
from typing import Any

from recbole_tslrec.install import install
from recbole_tslrec.version import __version__

__all__ = ["__version__", "extend_knowledge", "extend_with_vectors", "install", "recommend", "run", "with_knowledge"]

if os.environ.get("RECBOLE_TSLREC_NO_INSTALL") != "1":
    install()


def run(*args: Any, **kwargs: Any) -> Any:
    """Run the stages of a model on a dataset; see :func:`recbole_tslrec.quick_start.run`."""
    from recbole_tslrec.quick_start import run

    install()
    return run(*args, **kwargs)


def with_knowledge(model: type, tables: Sequence[str] = ()) -> type:
    """Fuse a model class with knowledge; see :func:`recbole_tslrec.configuration.registration.with_knowledge`."""
    from recbole_tslrec.configuration.registration import with_knowledge

    return with_knowledge(model, tables)


def recommend(*args: Any, **kwargs: Any) -> Any:
    """The best next items for new users; see :func:`recbole_tslrec.serving.recommend.recommend`."""
    from recbole_tslrec.serving.recommend import recommend

    return recommend(*args, **kwargs)


def extend_knowledge(*args: Any, **kwargs: Any) -> Any:
    """Put new items into a trained model; see :func:`recbole_tslrec.serving.extend.extend_knowledge`."""
    from recbole_tslrec.serving.extend import extend_knowledge

    return extend_knowledge(*args, **kwargs)


def extend_with_vectors(*args: Any, **kwargs: Any) -> Any:
    """Put new items into a model of item vectors; see :func:`recbole_tslrec.serving.extend_with_vectors`."""
    from recbole_tslrec.serving.extend_with_vectors import extend_with_vectors

    return extend_with_vectors(*args, **kwargs)
