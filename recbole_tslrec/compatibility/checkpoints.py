"""RecBole's own ``.pth`` checkpoints, written and read so that torch's safe loader is enough.

Such a file holds a whole ``Config``. torch>=2.6 loads with ``weights_only=True`` and refuses it (RecBole#2212): the
class is unknown to it, and so is the framing of pickle protocol 4 that RecBole asks for. Here RecBole writes protocol 2
instead, and the few classes of a configuration are declared safe, only while RecBole itself loads. Nothing is unpickled
freely; a file of a RecBole without this package needs its reader's consent.

In a process that imports RecBole alone, torch knows no class of it, and nobody can declare one: there such a file needs
``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1``. Unpickling ``Config.model_class`` then imports this package, which fixes what it
fixes before the data are read and the model is looked up.
"""

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

import numpy as np
import torch
import yaml

from recbole_tslrec.compatibility.wrapping import wrap_once


def apply() -> None:
    """Let RecBole write and read its checkpoints under torch's safe loader."""
    from recbole import quick_start
    from recbole.model.sequential_recommender import S3Rec
    from recbole.quick_start import quick_start as quick_start_module
    from recbole.trainer import PretrainTrainer, Trainer

    wrap_once(Trainer, "_save_checkpoint", _save_for_the_safe_loader)
    wrap_once(PretrainTrainer, "save_pretrained_model", _save_for_the_safe_loader)
    wrap_once(Trainer, "evaluate", _load_safely)
    wrap_once(Trainer, "resume_checkpoint", _load_safely)
    wrap_once(S3Rec, "__init__", _load_safely)  # fine-tuning begins with the checkpoint of its first phase
    wrap_once(quick_start_module, "load_data_and_model", _load_safely)
    quick_start.load_data_and_model = quick_start_module.load_data_and_model


def _save_for_the_safe_loader(save_checkpoint: Callable[..., Any], trainer: Any, *args: Any, **kwargs: Any) -> Any:
    with _protocol_2(), _enums_by_value(), _configured_for_one_process(trainer):
        return save_checkpoint(trainer, *args, **kwargs)


@contextmanager
def _protocol_2() -> Iterator[None]:
    save = torch.save

    def save_in_protocol_2(*args: Any, **kwargs: Any) -> None:
        save(*args, **{**kwargs, "pickle_protocol": 2})

    torch.save = save_in_protocol_2
    try:
        yield
    finally:
        torch.save = save


@contextmanager
def _enums_by_value() -> Iterator[None]:
    # Python 3.11.0 to 3.11.3 (Debian 12 has 3.11.2) pickle an enum's member as a call of getattr,
    # which no loader should allow
    def by_value(self: Enum, _proto: Any) -> tuple[Any, ...]:
        return type(self), (self.value,)

    reduce = Enum.__reduce_ex__
    Enum.__reduce_ex__ = by_value  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Enum.__reduce_ex__ = reduce  # type: ignore[method-assign]


@contextmanager
def _configured_for_one_process(trainer: Any) -> Iterator[None]:
    # load_data_and_model would make the loaders of the process group that is long gone
    config = trainer.config
    several = not config["single_spec"] and config["local_rank"] == 0  # the other processes save nothing
    if several:
        config["single_spec"] = True
    try:
        yield
    finally:
        if several:
            config["single_spec"] = False


def _load_safely(load: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with loading_a_checkpoint():
        return load(*args, **kwargs)


@contextmanager
def loading_a_checkpoint() -> Iterator[None]:
    """While this is open, torch's safe loader reads RecBole's checkpoints that were written under this package.

    Raises:
        pickle.UnpicklingError: the file refers to something else, or RecBole has written it without this package.
    """
    with torch.serialization.safe_globals(_classes_of_a_configuration()):
        try:
            yield
        except pickle.UnpicklingError as error:
            raise pickle.UnpicklingError(
                "torch's safe loader refuses this checkpoint: it was not written under recbole_tslrec, or its model "
                "class is not imported. If you trust its origin, set TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"
            ) from error


def _classes_of_a_configuration() -> list[Any]:
    """What a pickled ``Config`` refers to; the models are those imported so far, a user's own among them."""
    from recbole.config import Config
    from recbole.model import context_aware_recommender, general_recommender, knowledge_aware_recommender  # noqa: F401
    from recbole.model.abstract_recommender import AbstractRecommender
    from recbole.utils import enum_type

    enums = [value for value in vars(enum_type).values() if isinstance(value, type) and issubclass(value, Enum)]
    scalar = np.float64(0).__reduce__()[0]  # best_valid_score is one; numpy 2 has moved its constructor
    scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    numbers = [*scalars, np.dtype, type(np.dtype(np.float64))]
    return [yaml.FullLoader, *enums, *numbers, *_with_subclasses(Config), *_with_subclasses(AbstractRecommender)]


def _with_subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _with_subclasses(subclass)
