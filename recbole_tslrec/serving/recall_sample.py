"""What an approximate index misses, counted on some of the users who were answered."""

from collections.abc import Iterable, Iterator, Sequence

from recbole_tslrec.serving.histories import History

USERS = 256


class RecallSample:
    """Users spread evenly over all of them.

    Args:
        total: how many users there are.
    """

    def __init__(self, total: int) -> None:
        self._step = -(-total // USERS) or 1
        self._found: dict[str, set[str]] = {}
        self.histories: list[History] = []

    def watch(self, histories: Iterable[History]) -> Iterator[History]:
        """The histories as they are, of which some are kept."""
        for place, history in enumerate(histories):
            if place % self._step == 0:
                self.histories.append(history)
                self._found[history.user] = set()
            yield history

    def add(self, user: str, items: Sequence[str]) -> None:
        """Note the answer to a user, if it is of the sample."""
        if user in self._found:
            self._found[user].update(items)

    def recall(self, exact: Iterable[tuple[str, Sequence[str]]]) -> float:
        """The mean share of the exact best items that were found.

        Args:
            exact: the users of the sample with their exact best items.
        """
        shares = [len(self._found[user].intersection(items)) / len(items) for user, items in exact]
        return sum(shares) / len(shares)
