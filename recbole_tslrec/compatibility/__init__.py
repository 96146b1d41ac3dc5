"""Every work-around for RecBole 1.2.1 and the libraries under it, each with its reason; a file per subject.

``apply()`` runs once, when ``recbole_tslrec`` is imported; plain RecBole models profit as well. Outside this
package RecBole is patched in two places only, which let it find this package: names and properties in
:mod:`recbole_tslrec.configuration.registration`, datasets and loaders in :mod:`recbole_tslrec.sequential.loaders`.
"""

from recbole_tslrec.compatibility import (
    activations,
    atomic_files,
    checkpoints,
    counting,
    devices,
    id_tokens,
    loaders,
    metric_collection,
    processes,
    recbole_import,
    split_files,
    time_order,
)
from recbole_tslrec.compatibility.checkpoints import loading_a_checkpoint
from recbole_tslrec.compatibility.time_order import sort_by_time
from recbole_tslrec.compatibility.wrapping import wrap_once

__all__ = ["apply", "loading_a_checkpoint", "sort_by_time", "wrap_once"]


def apply() -> None:
    """Make RecBole importable on this machine and fix the faults that affect every user. Safe to call twice.

    Raises:
        ImportError: pandas 3 or a RecBole other than 1.2.1 is installed; both would give wrong results silently.
    """
    recbole_import.apply()  # first: the others import RecBole
    counting.apply()  # before what counts the dropped interactions wraps it
    id_tokens.apply()
    loaders.apply()
    atomic_files.apply()
    time_order.apply()
    split_files.apply()
    checkpoints.apply()
    metric_collection.apply()
    processes.apply()
    devices.apply()  # after what joins the processes, which asks torch for GPUs
    activations.apply()
