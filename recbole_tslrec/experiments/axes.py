"""What an ablation varies: for each axis the values that are tried, each as settings of a run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from recbole_tslrec.experiments.command import Command, override
from recbole_tslrec.experiments.jobs import Job, trials_of
from recbole_tslrec.experiments.trials import row_of
from recbole_tslrec.models.families import BASE
from recbole_tslrec.pipeline import plan
from recbole_tslrec.pipeline.unread_keys import keys_read
from recbole_tslrec.settings import ConfigError
from recbole_tslrec.store.files import hash_text


@dataclass(frozen=True)
class Axis:
    """One thing that is varied while all else stays.

    Attributes:
        about: for the reader of a report.
        values: the values of the key with the axis' name; a mapping sets several keys at once.
        llm: the kind of LLM that it is about, ``pretrained`` or ``scratch``; empty for both.
    """

    about: str
    values: Sequence[Any] = ()
    llm: str = ""


AXES: dict[str, Axis] = {
    "group_count": Axis("K, the number of latent categories.", (8, 16, 32, 64)),
    "lora_rank": Axis("The rank of the adapters.", (4, 8, 16, 32), llm="pretrained"),
    "fusion_type": Axis("How knowledge joins the item embedding.", ("gate", "sum")),
    "id_init": Axis("Where the ID embeddings start: as they are drawn, or from the vectors.", ("random", "knowledge")),
    "target_view": Axis("The target: of the prompt's own items, or of the rest.", ("own", "rest")),
    "sft_loss": Axis("The loss of Stage 1.", ("mse", "kl")),
    "export_context": Axis("The item alone in the prompt, or in users' histories.", ("single", "users")),
    "export_pooling": Axis("The last token's state, or the mean over the item's own.", ("last", "mean")),
    "prompt_item_text": Axis(
        "Text of the item before its vector, or alone; needs a column title in .item.",
        ("none", "title", {"prompt_item_text": "title", "prompt_item_vector": False}),
    ),
    "scratch_layers": Axis("The depth of an LLM of random weights, trained in full.", (1, 2, 4, 8), llm="scratch"),
    "pretrained": Axis("The LLM against the small one of random weights, which is not of its size.", llm="pretrained"),
}


@dataclass(frozen=True)
class Variant:
    """One value of an axis.

    Attributes:
        axis: its name.
        label: the value as a reader sees it.
        settings: ``--key=value`` arguments.
        rows: those that read a key of these.
    """

    axis: str
    label: str
    settings: tuple[str, ...]
    rows: tuple[str, ...]

    def jobs(self, command: Command) -> list[Job]:
        """The runs of its rows, Base not among them; their results lie in a folder of their own."""
        folder = re.sub(r"[^\w.]+", "-", self.label).strip("-")
        if folder != self.label:  # 1 and -1 would share one
            folder = f"{folder}-{hash_text(self.label)[:6]}"
        varied = replace(
            command,
            rows=self.rows,
            settings=override(command.settings, self.settings),
            output_dir=command.output_dir / "variants" / self.axis / folder,
            variant=(self.axis, self.label),
        )
        return [Job(trial, varied) for trial in trials_of(varied)]


def variants(command: Command) -> dict[str, list[Variant]]:
    """The values of each axis that is asked for; where none is named, of all that apply, for the rows that read them.

    Raises:
        ConfigError: an axis without values, one that is about another kind of LLM, one that Base reads too, one that a
            row does not read, or values of an axis that is not asked for; no row but Base.
    """
    if set(command.rows) <= {BASE.name}:
        raise ConfigError("--rows=Base leaves nothing to vary, for no axis touches Base; add a row such as TSLRec")
    if command.axes and (others := [name for name in command.values if name not in command.axes]):
        raise ConfigError(f"--values has values of [{', '.join(others)}], which --axes does not name; add it there")
    llm = command.config()["llm_name_or_path"]
    kind = "scratch" if llm == "scratch" else "pretrained"
    named = command.axes or tuple(command.values)
    names = command.axes or [*command.values, *(name for name, axis in AXES.items() if axis.llm in ("", kind))]
    read_by = {row: _keys_read(command, row) for row in dict.fromkeys((BASE.name, *command.rows))}
    found = {}
    for name in dict.fromkeys(names):
        axis = AXES.get(name, Axis(""))
        if axis.llm not in ("", kind):
            raise ConfigError(f"axis [{name}] is about a {axis.llm} LLM; name one with --llm_name_or_path")
        default = [{"llm_name_or_path": value} for value in (llm, "scratch")] if name == "pretrained" else axis.values
        values = command.values.get(name, default)
        if not values:
            raise ConfigError(
                f"axis [{name}] has no values; the axes are {', '.join(AXES)}, and any key with its values: "
                f'--values="{name}: [...]"'
            )
        keys = {key for value in values for key in _settings(name, value)}
        rows = _rows_that_read(name, keys, read_by, name in named)
        if rows:
            found[name] = [_variant(name, value, rows) for value in values]
    return found


def _keys_read(command: Command, row: str) -> set[str]:
    """The keys that decide the models of a row."""
    if row_of(row).family is None:
        return set()
    (trial, *_) = trials_of(replace(command, rows=(row,)))
    return keys_read(plan(Job(trial, command).config()))


def _rows_that_read(axis: str, keys: set[str], read_by: Mapping[str, set[str]], named: bool) -> tuple[str, ...]:
    """The rows but Base that an axis can change; all of them if the axis was named.

    Raises:
        ConfigError: it changes Base too, which an ablation has once; or it was named, and a row does not read it.
    """
    if keys & read_by[BASE.name]:
        raise ConfigError(
            f"axis [{axis}] changes Base too, and an ablation compares all values with one Base; make a table for each "
            f"value, as in: report table2 --{axis}=..."
        )
    rows = [row for row in read_by if row != BASE.name]
    unaffected = [row for row in rows if not keys & read_by[row]]
    if named and unaffected:
        raise ConfigError(
            f"axis [{axis}] cannot change row {', '.join(unaffected)}: no stage of it reads {', '.join(sorted(keys))} "
            "with these settings; leave the axis or the row out"
        )
    return tuple(row for row in rows if row not in unaffected)


def _settings(axis: str, value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {axis: value}


def _variant(axis: str, value: Any, rows: tuple[str, ...]) -> Variant:
    label = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)
    return Variant(axis, label, tuple(f"--{key}={each}" for key, each in _settings(axis, value).items()), rows)
