"""What is done with a user's history when the items are ranked.

It moves the figures more than most methods do, so every figure says its mode:

- ``unmasked``: the history stays in the ranking. RecBole's only mode for sequential models.
- ``keep_target``: the history is taken out of the ranking, but for the target.
- ``strict``: all of the history is taken out; a target that is in it counts as the last of all, at items + 1,
  and is in no list.

The history is every item before the target, also where the model reads the latest only. ``eval_history`` is the mode
that is shown; ``valid_history`` is the one whose ``valid_metric`` chooses the best epoch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNMASKED = "unmasked"
MODES = (UNMASKED, "keep_target", "strict")
ALL = "all"


@dataclass(frozen=True)
class Ranks:
    """The ranks of targets, from one pass over the scores.

    Attributes:
        unmasked: among all items, from 1, int64 [R].
        seen_before: items of the history among those before the target, int64 [R].
    """

    unmasked: NDArray[np.int64]
    seen_before: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Iterable["Ranks"]) -> "Ranks":
        """The ranks of some rows after those of others."""
        parts = list(parts)
        if not parts:  # numpy joins one array at least
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))
        unmasked, seen_before = ([getattr(part, name) for part in parts] for name in ("unmasked", "seen_before"))
        return cls(np.concatenate(unmasked), np.concatenate(seen_before))

    def by_mode(self, repeat: NDArray[np.bool_], items: int, longest: int) -> dict[str, NDArray[np.int64]]:
        """The ranks in each of :data:`MODES`, int64 [R].

        Args:
            repeat: whether the target is in the history, [R].
            items: N.
            longest: the longest list of ``topk``, which a target that is masked itself is not in, however few items
                there are.
        """
        keep_target = self.unmasked - self.seen_before
        strict = np.where(repeat, max(items, longest) + 1, keep_target)
        return dict(zip(MODES, (self.unmasked, keep_target, strict), strict=True))


def shown_modes(eval_history: str) -> tuple[str, ...]:
    """The modes that a table shows; the first gives the flat figures of a result."""
    return MODES if eval_history == ALL else (eval_history,)


def ranks_all_items(eval_args: Mapping[str, Any]) -> bool:
    """Whether RecBole ranks all items on both parts, and not some that it draws."""
    mode = eval_args["mode"]
    return all(of_part == "full" for of_part in (mode.values() if isinstance(mode, dict) else [mode]))
