"""RecBole's own ``.pth`` checkpoints, written and read so that torch's safe loader is enough.

Such a file holds a whole ``Config``. torch>=2.6 loads with ``weights_only=True`` and refuses it (RecBole#2212): the
class is unknown to it, and so is the framing of pickle protocol 4 that RecBole asks for. Here RecBole writes protocol 2
instead, and the few classes of a configuration are declared safe, only while RecBole itself loads. Nothing is unpickled
freely: a file may hold the attributes of a configuration, but not construct one, which would evaluate its strings as
Python. A file of a RecBole without this package needs its reader's consent.

In a process that imports RecBole alone, torch knows no class of it, and nobody can declare one: there such a file needs
``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1``. Unpickling ``Config.model_class`` then imports this package, which fixes what it
fixes before the data are read and the model is looked up.
"""

import pickle
import threading
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
    with _PROTOCOL_2, _ENUMS_BY_VALUE, _configured_for_one_process(trainer):
        return save_checkpoint(trainer, *args, **kwargs)


class _Replaced:
    """Something of another library that is replaced as long as a thread needs it so.

    Args:
        owner: whose attribute it is.
        name: of the attribute.
        replacement: made of the original.
    """

    def __init__(self, owner: Any, name: str, replacement: Callable[[Any], Any]) -> None:
        self.owner, self.name, self.replacement = owner, name, replacement
        self._lock, self._users = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._original = getattr(self.owner, self.name)
                setattr(self.owner, self.name, self.replacement(self._original))

    def __exit__(self, *_: Any) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                setattr(self.owner, self.name, self._original)


def _in_protocol_2(save: Callable[..., None]) -> Callable[..., None]:
    return lambda *args, **kwargs: save(*args, **{**kwargs, "pickle_protocol": 2})


def _by_value(_reduce: Any) -> Callable[..., Any]:
    # Python 3.11.0 to 3.11.3 (Debian 12 has 3.11.2) pickle an enum's member as a call of getattr,
    # which no loader should allow
    return lambda self, _proto: (type(self), (self.value,))


def _constructing_nothing(load: Callable[..., Any]) -> Callable[..., Any]:
    # what torch may look up, it also calls if a file says so; RecBole's files make objects without calling their class
    def load_attributes(*args: Any, **kwargs: Any) -> Any:
        with _one_load, _refused_constructors(threading.get_ident()):
            return load(*args, **kwargs)

    return load_attributes


_PROTOCOL_2 = _Replaced(torch, "save", _in_protocol_2)
_ENUMS_BY_VALUE = _Replaced(Enum, "__reduce_ex__", _by_value)
_ATTRIBUTES_ONLY = _Replaced(torch, "load", _constructing_nothing)
_one_load = threading.RLock()


@contextmanager
def _refused_constructors(thread: int) -> Iterator[None]:
    """No configuration and no model can be constructed by a thread."""
    constructors = {cls: cls.__init__ for cls in _with_state() if "__init__" in vars(cls)}

    def refusing(init: Callable[..., None]) -> Callable[..., None]:
        def construct(self: Any, *args: Any, **kwargs: Any) -> None:
            if threading.get_ident() == thread:
                raise pickle.UnpicklingError(f"a checkpoint may not construct {type(self).__name__}")
            init(self, *args, **kwargs)

        return construct

    for cls, init in constructors.items():
        cls.__init__ = refusing(init)
    try:
        yield
    finally:
        for cls, init in constructors.items():
            cls.__init__ = init


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
        pickle.UnpicklingError: the file refers to something else, would construct an object, or RecBole has written it
            without this package.
    """
    with torch.serialization.safe_globals(_classes_of_a_configuration()), _ATTRIBUTES_ONLY:
        try:
            yield
        except pickle.UnpicklingError as error:
            raise pickle.UnpicklingError(
                "torch's safe loader refuses this checkpoint: it was not written under recbole_tslrec, or its model "
                "class is not imported. If you trust its origin, set TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"
            ) from error


def _classes_of_a_configuration() -> list[Any]:
    """What a pickled ``Config`` refers to; the models are those imported so far, a user's own among them."""
    from recbole.model import context_aware_recommender, general_recommender, knowledge_aware_recommender  # noqa: F401
    from recbole.utils import enum_type

    enums = [value for value in vars(enum_type).values() if isinstance(value, type) and issubclass(value, Enum)]
    scalar = np.float64(0).__reduce__()[0]  # best_valid_score is one; numpy 2 has moved its constructor
    scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    numbers = [*scalars, np.dtype, type(np.dtype(np.float64))]
    return [yaml.FullLoader, *enums, *numbers, *_with_state()]


def _with_state() -> list[type[Any]]:
    """The classes of a configuration and of the models that it names."""
    from recbole.config import Config
    from recbole.model.abstract_recommender import AbstractRecommender

    return list(dict.fromkeys([*_with_subclasses(Config), *_with_subclasses(AbstractRecommender)]))


def _with_subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _with_subclasses(subclass)
