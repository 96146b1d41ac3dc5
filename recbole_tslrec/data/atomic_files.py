"""RecBole's atomic files, looked at before RecBole reads them: it fills, drops and reorders in silence.

A file that passes has columns of the form ``name:type``, as many fields on each line, and in its interactions no empty
user, item or time. What does not is refused with the file, the line, the column, the count and the cure.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.utils.enum_type import FeatureType

from recbole_tslrec.compatibility.atomic_files import encoding_of
from recbole_tslrec.compatibility.reading import read_columns
from recbole_tslrec.data.delimited import is_number
from recbole_tslrec.data.identifiers import MISSING
from recbole_tslrec.data.public_datasets import download_hint
from recbole_tslrec.data.times import is_mixture, units

_TYPES = ", ".join(kind.value for kind in FeatureType)
_SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", " ": "blanks"}
_SHOWN = 60  # characters of a line that a message quotes
_BLOCK = 1 << 20  # characters


class DatasetError(ValueError):
    """The dataset does not exist, cannot be read as it is, or nothing of it is left."""


@dataclass(frozen=True)
class AtomicFile:
    """A file and what its first line says.

    Attributes:
        path: the file.
        encoding: by its byte order mark, or as configured.
        separator: between two columns.
        types: the type of each column by its name, in their order.
    """

    path: Path
    encoding: str
    separator: str
    types: dict[str, str]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The fields of each line but the first, with its number; blank lines count for nothing."""
        with self.path.open(encoding=self.encoding) as file:
            for number, line in enumerate(file, start=1):
                if number > 1 and line.strip("\r\n "):
                    yield number, line.rstrip("\r\n").split(self.separator)

    def frame(self, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns as RecBole reads them: numbers where they are ``float``, text elsewhere."""
        types = {f"{name}:{self.types[name]}": np.float64 if self.types[name] == "float" else str for name in columns}
        frame = read_columns(
            self.path, self.separator, usecols=list(types), dtype=types, encoding=self.encoding, index_col=False
        )
        return frame.rename(columns={f"{name}:{self.types[name]}": name for name in columns})


def check_atomic_files(config: Any) -> None:
    """Refuse a dataset that RecBole would read wrongly or not at all.

    Args:
        config: RecBole's configuration.

    Raises:
        DatasetError: names the file, the line and the cure.
    """
    for path in check_files(config):
        _check_interactions(config, open_atomic_file(path, config))
    folder, name = Path(config["data_path"]), str(config["dataset"])
    for path in sorted(folder.glob(f"{name}.*")):
        suffix = path.name.removeprefix(f"{name}.")
        if suffix in _suffixes(config) and wanted_columns(config, suffix) != set():
            _check_columns(config, open_atomic_file(path, config), suffix)


def check_files(config: Any) -> list[Path]:
    """The files of a dataset's interactions.

    Raises:
        DatasetError: names one that is missing, what is there instead, and where to get it; or the name can be none.
    """
    folder, name = Path(config["data_path"]), str(config["dataset"])
    if not name or not name.isprintable():
        raise DatasetError(f"dataset {name!r} is no name of a folder; give the name of one in data_path")
    parts = config["benchmark_filename"]
    paths = [folder / f"{name}.{part}.inter" for part in parts] if parts else [folder / f"{name}.inter"]
    for path in paths:
        if not path.is_file():
            raise DatasetError(_missing(folder, name, path))
    return paths


def open_atomic_file(path: Path, config: Any) -> AtomicFile:
    """Read the first line of an atomic file.

    Raises:
        DatasetError: it does not name columns as RecBole writes them, or the file is in another encoding.
    """
    encoding, separator = encoding_of(path, config["encoding"]), config["field_separator"]
    try:
        with path.open(encoding=encoding) as file:
            first = file.readline().rstrip("\n")
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, encoding) from error
    columns = first.split(separator)
    types: dict[str, str] = {}
    for number, column in enumerate(columns, start=1):
        name, colon, kind = column.partition(":")
        where = f"column {number} of {len(columns)} of {path} is [{column[:_SHOWN]}]"
        if not name or not colon or ":" in kind:
            raise DatasetError(f"{where}, and must be name:type, such as user_id:token{_hint(first, separator)}")
        if column != column.strip() or name != name.strip() or kind != kind.strip():
            raise DatasetError(f"{where}, with blanks that RecBole takes for a part of the name; remove them")
        if kind not in {known.value for known in FeatureType}:
            raise DatasetError(f"{where}, and its type must be one of {_TYPES}{_hint(first, separator)}")
        if name in types:
            raise DatasetError(f"{where}, a name that an earlier column has; rename one of the two")
        types[name] = kind
    return AtomicFile(path, encoding, separator, types)


def wanted_columns(config: Any, suffix: str) -> set[str] | None:
    """The columns that ``load_col`` names for the files with a suffix; ``None`` means all of them."""
    load_col = config["load_col"]
    if load_col is None or load_col.get(suffix) == "*":
        return None
    return set(load_col.get(suffix) or ())


def loaded_columns(config: Any, file: AtomicFile) -> set[str]:
    """The columns of a file of interactions that the configuration asks for."""
    wanted = wanted_columns(config, "inter")
    unwanted = set((config["unload_col"] or {}).get("inter") or ())
    return (set(file.types) if wanted is None else wanted) - unwanted


def _suffixes(config: Any) -> tuple[str, ...]:
    return ("user", "item", "kg", "link", *(config["additional_feat_suffix"] or ()))


def _missing(folder: Path, name: str, path: Path) -> str:
    wanted = f"dataset [{name}] does not exist: there is no {path}"
    cure = download_hint(name, str(folder.parent))
    if "/" in name or "\\" in name or name.endswith(".inter"):
        whole = Path(name)
        stem, above = (whole.stem, whole.parent.parent) if whole.suffix == ".inter" else (whole.name, whole.parent)
        if whole.name == name.rstrip("/\\"):  # no folder is named in it
            above = folder.parent
        return f"{wanted}; dataset is the name of a folder: set --data_path={above} --dataset={stem}"
    found = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    if found:
        listed = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
        return (
            f"{wanted}, only {listed}; folder and files must have the dataset's name (files of a split are named by "
            f"benchmark_filename), or {cure}"
        )
    return f"{wanted}; {cure}, or set --data_path. ml-100k comes with RecBole"


def _hint(first: str, separator: str) -> str:
    """What may be behind a first line that names no columns."""
    kinds = [f":{kind.value}" for kind in FeatureType]
    if any(kind in first for kind in kinds):
        for other, name in _SEPARATORS.items():
            if separator not in first and first.count(other) >= 1:
                return f"; the columns seem to be separated by {name}: set --field_separator='{other}'"
        return ""
    return "; where this is no line of names but data, `python -m recbole_tslrec data import` writes such a file"


def _check_columns(config: Any, file: AtomicFile, suffix: str) -> None:
    wanted = wanted_columns(config, suffix)
    absent = sorted((wanted or set()) - set(file.types))
    if absent:
        raise DatasetError(
            f"{file.path} has no column {', '.join(absent)}, which load_col names; it has {', '.join(file.types)}"
        )


def _check_interactions(config: Any, file: AtomicFile) -> None:
    user, item, time = (str(config[f"{field}_FIELD"]) for field in ("USER_ID", "ITEM_ID", "TIME"))
    wanted, loaded = wanted_columns(config, "inter"), loaded_columns(config, file)
    split = bool(config["benchmark_filename"])
    needed = [user, item] if split else [user, item, time]
    unloaded = [name for name in needed if name not in loaded]
    if unloaded and wanted is not None:
        raise DatasetError(
            f"dataset [{config['dataset']}] was loaded without {', '.join(unloaded)}; name your columns with "
            f"USER_ID_FIELD, ITEM_ID_FIELD and TIME_FIELD, and list them in load_col; {file.path} has "
            f"{', '.join(file.types)}"
        )
    absent = [name for name in needed if name not in file.types]
    if absent:
        raise DatasetError(
            f"{file.path} has no column {', '.join(absent)}; it has {', '.join(file.types)}: name its columns with "
            "--USER_ID_FIELD, --ITEM_ID_FIELD and --TIME_FIELD, and list them in load_col"
        )
    if split:
        _check_list_column(config, file, loaded)
    _check_columns(config, file, "inter")
    for name in (user, item):
        if file.types[name] != "token":
            raise DatasetError(
                f"column {name} of {file.path} is of type {file.types[name]}, and ids are tokens: change its name in "
                f"the first line to {name}:token"
            )
    has_time = time in loaded and time in file.types
    if has_time and file.types[time] != "float":
        raise DatasetError(
            f"column {time} of {file.path} is of type {file.types[time]}, which RecBole orders by first appearance in "
            f"the file, not by time: change its name in the first line to {time}:float"
        )
    # some networks fail on a row without a history, others would rank from its pads
    ids = [user, item, *([f"{item}{config['LIST_SUFFIX']}"] if split else [])]
    _check_rows(file, ids, time if has_time else None)


def _check_list_column(config: Any, file: AtomicFile, loaded: Collection[str]) -> None:
    """Files that were split already hold the histories; RecBole gives them ids of their own unless it is told."""
    item = config["ITEM_ID_FIELD"]
    column = f"{item}{config['LIST_SUFFIX']}"
    if file.types.get(column) != "token_seq":
        raise DatasetError(
            f"{file.path} has no column {column}:token_seq, and files of benchmark_filename need one: the user's "
            f"items before {item}, separated by blanks"
        )
    if column not in loaded:
        listed = sorted({column, *loaded} & set(file.types))
        raise DatasetError(f"load_col leaves out {column} of {file.path}; set --load_col=\"{{'inter':{listed}}}\"")
    if column not in (config["alias_of_item_id"] or ()):
        raise DatasetError(
            f"alias_of_item_id lacks {column}, so that the items of the histories would get other ids than those of "
            f"{item}; set --alias_of_item_id=\"['{column}']\""
        )


def _check_rows(file: AtomicFile, ids: Sequence[str], time: str | None) -> None:
    try:
        frame = file.frame([*ids, *([time] if time else [])])
    except UnicodeDecodeError as error:
        raise _wrong_encoding(file.path, file.encoding) from error
    except ValueError as error:  # pandas' ParserError is one; so is text in a column of numbers
        _refuse_first_bad_line(file, time)
        raise DatasetError(f"{file.path} cannot be read: {' '.join(str(error).split())}") from error
    if frame.empty:
        raise DatasetError(f"{file.path} has a line of names, and no interaction")
    _check_sums(file, len(frame))
    for name in ids:
        empty = frame[name].isna() | frame[name].isin(_blank(frame[name]))
        if empty.any():
            number, value = _line_of(file, name, int(np.flatnonzero(empty)[0]))
            raise DatasetError(
                f"{int(empty.sum()):,} of {len(frame):,} lines of {file.path} have no {name}, the first is line "
                f"{number} with [{value}]; RecBole takes empty, NA, NULL, None and nan for missing: remove these "
                "lines, or give such an id another name"
            )
    if time:
        missing = ~np.isfinite(frame[time].to_numpy())
        if missing.any():
            number, value = _line_of(file, time, int(np.flatnonzero(missing)[0]))
            raise DatasetError(
                f"{int(missing.sum()):,} of {len(frame):,} lines of {file.path} have no finite number in column "
                f"{time}, first line {number} with [{value}]; RecBole would put the mean of all times there; fix or "
                "remove these lines"
            )
        found = units(frame[time].to_numpy())
        if is_mixture(found, len(frame)):
            counts = ", ".join(f"{count:,} in {unit}" for unit, count in found.items())
            getLogger().warning(
                f"column {time} of {file.path} seems to mix units: {counts}; their order is wrong then, so write all "
                "of them in one"
            )


def _blank(column: "pd.Series[Any]") -> list[str]:
    return [token for token in column.unique() if isinstance(token, str) and not token.strip()]


def _check_sums(file: AtomicFile, rows: int) -> None:
    """Refuse a file whose lines are not its rows, or have not as many fields as the first."""
    lines = separators = 0
    last = "\n"
    with file.path.open(encoding=file.encoding) as text:
        while block := text.read(_BLOCK):
            lines += block.count("\n")
            separators += block.count(file.separator)
            last = block[-1]
    lines += last != "\n"
    quoted = file.separator != "\t"  # then a field may hold separators
    if lines == rows + 1 and (quoted or separators == lines * (len(file.types) - 1)):
        return
    count = sum(1 for _ in file.rows())
    if count != rows:
        raise DatasetError(
            f"{file.path} has {count:,} lines behind the first, and {rows:,} interactions were read: a lone double "
            "quote swallows lines, or a field holds a line break; remove them"
        )
    if not quoted:
        _refuse_first_bad_line(file, None)


def _refuse_first_bad_line(file: AtomicFile, time: str | None) -> None:
    """Raise for the lines that have another number of fields than the first line, or text for a time."""
    wrong = [(number, len(fields)) for number, fields in file.rows() if len(fields) != len(file.types)]
    if wrong:
        number, count = wrong[0]
        raise DatasetError(
            f"{len(wrong):,} lines of {file.path} have another number of fields than the first line names "
            f"({len(file.types)}: {', '.join(file.types)}), the first is line {number} with {count}; correct or remove "
            "these lines"
        )
    if time is None:
        return
    place = list(file.types).index(time)
    texts = [
        (number, fields[place])
        for number, fields in file.rows()
        if not (is_number(fields[place]) or fields[place].strip() in MISSING)
    ]
    if texts:
        number, value = texts[0]
        raise DatasetError(
            f"{len(texts):,} lines of {file.path} have no number in column {time}, the first is line {number} with "
            f"[{value[:_SHOWN]}]; times are numbers such as unix seconds: `python -m recbole_tslrec data import` reads "
            "dates"
        )


def _line_of(file: AtomicFile, name: str, row: int) -> tuple[int, str]:
    """The number of a row's line, and what stands there in a column."""
    place = list(file.types).index(name)
    number, fields = next((line for place, line in enumerate(file.rows()) if place == row), (row + 2, []))
    return number, fields[place][:_SHOWN] if place < len(fields) else ""


def _wrong_encoding(path: Path, encoding: str) -> DatasetError:
    number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):  # noqa: B007  # the number of the line is what is looked for
            try:
                line.decode(encoding)
            except UnicodeDecodeError:
                break
    return DatasetError(f"line {number} of {path} is not in {encoding}; name its encoding, such as --encoding=latin-1")
