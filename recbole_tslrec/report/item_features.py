"""What a dataset's ``.item`` file says of its items: a title to show, and one category label to compare with."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_tslrec.data.item_file import read_item_file
from recbole_tslrec.data.item_information import TITLE_COLUMNS

_LABELS = ("categories", "category", "class", "genres", "genre")  # the first that is there is read


def item_columns(config: Any) -> pd.DataFrame:
    """The columns of the ``.item`` file without their types, as text; rows are named by the item's token.

    Empty where the dataset has no such file.

    Args:
        config: with RecBole's keys for its atomic files.
    """
    path = Path(config["data_path"]) / f"{config['dataset']}.item"
    if not path.is_file():
        return pd.DataFrame()
    table = read_item_file(path, config["ITEM_ID_FIELD"], config["field_separator"], config["encoding"])
    return table.rename(columns=lambda name: name.rpartition(":")[0])


def item_titles(config: Any, tokens: Sequence[str]) -> list[str]:
    """The title of each item, empty where it has none.

    Args:
        config: as in :func:`item_columns`.
        tokens: the external tokens of the items.
    """
    return _first_of(TITLE_COLUMNS, item_columns(config), tokens)


def item_labels(config: Any, tokens: Sequence[str]) -> list[str]:
    """One category label of each item, empty where it has none.

    An item has several labels, in no order that means anything, and a comparison of two groupings needs one: our
    choice is the commonest that at most half of the items have ("Restaurants" says little on yelp), or else the
    commonest that it has.

    Args:
        config: as in :func:`item_columns`.
        tokens: the external tokens of the items.
    """
    labels = [text.split() for text in _first_of(_LABELS, item_columns(config), tokens)]
    counts = Counter(label for item in labels for label in set(item))
    half = len(tokens) / 2
    return [max(item, key=lambda label: (counts[label] <= half, counts[label], label), default="") for item in labels]


def _first_of(names: Sequence[str], table: pd.DataFrame, tokens: Sequence[str]) -> list[str]:
    """The column that comes first in ``names``, for each token; empty texts where there is none."""
    found = [name for name in names if name in table.columns]
    if not found:
        return [""] * len(tokens)
    return table[found[0]].reindex(list(tokens), fill_value="").tolist()  # type: ignore[no-any-return]
