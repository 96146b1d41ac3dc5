"""RecBole's params_file: what a search varies, read without evaluating it."""

import ast
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recbole_tslrec.configuration.config import check_keys
from recbole_tslrec.configuration.numbers import check_numbers
from recbole_tslrec.settings import ConfigError

NUMBERS = {"uniform": 2, "loguniform": 2, "quniform": 3}  # low, high and, for quniform, step
LINES = (
    "<key> choice [<value>,...] (text in quotes), <key> uniform <low>,<high>, <key> quniform <low>,<high>,<step> or "
    "<key> loguniform <log of low>,<log of high>, such as -9,-4 for 1e-4 to .02"
)
FIXED = ("model", "dataset", "valid_metric")  # scores of others are not comparable

Space = dict[str, dict[str, list[Any]]]


def read_space(file: str | Path, config: Any, fixed: Iterable[str] = ()) -> Space:
    """Read RecBole's params_file, without evaluating it.

    Args:
        file: a line per key, such as ``learning_rate choice [0.01,0.001]``; see :data:`LINES`.
        config: the shared configuration; shows which keys take numbers.
        fixed: keys that the command line sets, and that cannot vary therefore.

    Returns:
        ``{"choice": {key: values}, "uniform": {key: [low, high]}, ...}``, RecBole's ``params_dict``.

    Raises:
        ConfigError: the file does not exist or is empty, a line has another form, a key is unknown, fixed or given
            twice, or a value is of the wrong type.
    """
    if not Path(file).is_file():
        raise ConfigError(f"params_file [{file}] does not exist; its lines are {LINES}")
    space: Space = {}
    seen = {*FIXED, *fixed}
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, kind, values = _read_line(line, file)
        check_keys({key: values})
        if key in seen:
            raise ConfigError(f"{file} cannot search over [{key}]: it is set already; take it out of one place")
        seen.add(key)
        if kind == "loguniform" and 0 < values[0] < values[1] <= 1:
            logs = ",".join(f"{math.log(value):.4g}" for value in values)
            raise ConfigError(
                f"line [{line.strip()}] of {file} would search near {math.exp(values[0]):.4g}, since loguniform takes "
                f"natural logarithms; write {logs}"
            )
        tried = {"choice": values, "quniform": values[:2]}.get(kind, [])  # quniform's third value is a step
        for value in tried:
            check_numbers({key: value}, config.final_config_dict)
        space.setdefault(kind, {})[key] = values
    if not space:
        raise ConfigError(f"params_file [{file}] is empty; its lines are {LINES}")
    return space


def _read_line(line: str, file: str | Path) -> tuple[str, str, list[Any]]:
    key, kind, *rest = [*line.split(), ""]
    try:
        values = ast.literal_eval("".join(rest))
    except (ValueError, SyntaxError):
        values = None
    numbers = isinstance(values, tuple) and all(isinstance(value, (int, float)) for value in values)
    if (kind == "choice" and isinstance(values, list) and values) or (numbers and NUMBERS.get(kind) == len(values)):
        return key, kind, list(values)
    raise ConfigError(f"line [{line.strip()}] of {file} cannot be read; lines are {LINES}")
