"""What of an input cannot be used: refused as a whole, each reason with its first place, or left out and counted."""

from logging import getLogger
from pathlib import Path


class Faults:
    """Faults of an input, by reason.

    Args:
        source: the file, if it is one.
        form: what a record should look like.
    """

    def __init__(self, source: Path | None, form: str) -> None:
        self._source, self._form = source, form
        self._first: dict[str, str] = {}  # of each reason, as it is said
        self._count: dict[str, int] = {}
        self._of_form = False

    def add(self, place: str, reason: str, detail: str = "", is_of_form: bool = False) -> None:
        """Note a fault.

        Args:
            place: such as ``line 3``.
            reason: as it goes on behind the place.
            detail: what is said of the first place beside.
            is_of_form: whether the record is not of the wanted form.
        """
        self._first.setdefault(reason, f"{place} {reason}{detail}")
        self._count[reason] = self._count.get(reason, 0) + 1
        self._of_form |= is_of_form

    def settle(self, total: int, skip_bad: bool) -> None:
        """Refuse the input if there was a fault; or warn, where bad records are to be skipped and others are left.

        Args:
            total: the number of all records.
            skip_bad: whether bad records are skipped.

        Raises:
            ValueError: says every reason, its first place and how often it was met.
        """
        bad = sum(self._count.values())
        if not bad:
            return
        said = "; ".join(
            first + (f" ({self._count[reason]:,} are like that)" if self._count[reason] > 1 else "")
            for reason, first in self._first.items()
        )
        where = f"{self._source}, " if self._source else ""
        if skip_bad and bad < total:
            getLogger().warning(f"{bad:,} of {total:,} were skipped: {where}{said}")
            return
        form = f". The form is {self._form}" if self._of_form else ""
        option = "--skip_bad" if self._source else "skip_bad=True"
        cure = (
            "nothing is left"
            if skip_bad
            else f"correct that, or leave {'it' if bad == 1 else 'them'} out with {option}"
        )
        raise ValueError(f"{where}{said}{form}; {cure}")
