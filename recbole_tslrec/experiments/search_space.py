"""RecBole's params_file: what a search varies, read without evaluating it."""

import ast
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from recbole_tslrec.configuration.config import check_keys
from recbole_tslrec.settings import ConfigError

NUMBERS = {"uniform": 2, "loguniform": 2, "quniform": 3}  # low, high and, for quniform, step
LINES = (
    "<key> choice [<value>,...] with text in quotes, <key> uniform <low>,<high>, <key> quniform <low>,<high>,<step> or "
    "<key> loguniform <low>,<high> with natural logarithms (-9,-4 is from 0.00012 to 0.018)"
)
FIXED = ("model", "dataset", "eval_args", "valid_metric")  # scores of others are not comparable

Space = dict[str, dict[str, list[Any]]]


def read_space(file: str | Path, fixed: Iterable[str] = ()) -> Space:
    """Read RecBole's params_file, without evaluating it.

    Args:
        file: a line per key, such as ``learning_rate choice [0.01,0.001]``; see :data:`LINES`. A line that
            begins with ``#`` is a comment.
        fixed: keys that the command line sets, and that cannot vary therefore.

    Returns:
        ``{"choice": {key: values}, "uniform": {key: [low, high]}, ...}``, RecBole's ``params_dict``.

    Raises:
        ConfigError: the file does not exist or is empty, a line has another form, a key is unknown, fixed or given
            twice, or ``loguniform`` has values in the place of their logarithms.
    """
    if not Path(file).is_file():
        raise ConfigError(f"params_file [{file}] does not exist; its lines are {LINES}")
    space: Space = {}
    seen = {*FIXED, *fixed}
    for line in map(str.strip, Path(file).read_text(encoding="utf-8").splitlines()):
        if not line or line.startswith("#"):
            continue
        key, kind, values = _read_line(line, file)
        check_keys({key: values})
        if key in seen:
            raise ConfigError(f"{file} cannot search over [{key}]: it is set already; take it out of one place")
        seen.add(key)
        if kind == "loguniform":
            _check_logarithms(key, values[0], values[1], file)
        space.setdefault(kind, {})[key] = values
    if not space:
        raise ConfigError(f"params_file [{file}] is empty; its lines are {LINES}")
    return space


def check_space(space: Space, file: str | Path, check: Callable[[dict[str, Any]], None]) -> None:
    """Check choices, the ends of ranges and a fraction between them, each beside the first value of all other keys.

    Args:
        space: what :func:`read_space` has found.
        file: where it was found.
        check: raises ``ValueError`` where the settings of a trial cannot run.

    Raises:
        ConfigError: names the line, and says what is wrong.
    """
    tried = {key: (kind, _tried(kind, values)) for kind, keys in space.items() for key, values in keys.items()}
    first = {key: values[0] for key, (_, values) in tried.items()}
    trials = [(f"the first value of each line of {file}", first)]
    for key, (kind, values) in tried.items():
        trials += [(f"line [{key} {kind} ...] of {file}", {**first, key: value}) for value in values[1:]]
    for where, params in trials:
        try:
            check(params)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error


def _tried(kind: str, values: Sequence[Any]) -> list[Any]:
    if kind == "choice":
        return list(values)
    low, high = (math.exp(bound) if kind == "loguniform" else bound for bound in values[:2])
    fraction = [] if kind == "quniform" else [low + (high - low) / math.pi]  # most that are drawn are no whole numbers
    return [low, high, *fraction]


def _read_line(line: str, file: str | Path) -> tuple[str, str, list[Any]]:
    key, kind, text = [*line.split(maxsplit=2), "", ""][:3]
    try:
        values = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        values = None
    numbers = isinstance(values, tuple) and all(isinstance(value, (int, float)) for value in values)
    if (kind == "choice" and isinstance(values, list) and values) or (numbers and NUMBERS.get(kind) == len(values)):
        return key, kind, list(values)
    raise ConfigError(f"line [{line}] of {file} cannot be read; lines are {LINES}")


def _check_logarithms(key: str, low: float, high: float, file: str | Path) -> None:
    if 0 < low < high < 1:
        raise ConfigError(
            f"line [{key} loguniform {low},{high}] of {file} would search from {math.exp(low):.3g} to "
            f"{math.exp(high):.3g}, since its bounds are natural logarithms; for {low} to {high} write "
            f"{key} loguniform {math.log(low):.2f},{math.log(high):.2f}"
        )
