"""How RecBole's functions are replaced."""

import functools
from collections.abc import Callable
from typing import Any


def wrap_once(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace ``owner.name`` by ``wrapper(original, ...)``; a second call with that wrapper changes nothing."""
    original = getattr(owner, name)
    wrappers = getattr(original, "wrappers_of_recbole_tslrec", ())
    if wrapper in wrappers:
        return

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    wrapped.wrappers_of_recbole_tslrec = (*wrappers, wrapper)  # type: ignore[attr-defined]
    setattr(owner, name, wrapped)
