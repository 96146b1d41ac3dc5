"""What an ablation varies: for each axis the values that are tried, each as settings of a run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from recbole_tslrec.experiments.command import Command, override
from recbole_tslrec.experiments.jobs import Job, trials_of
from recbole_tslrec.models.families import BASE
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
    """

    axis: str
    label: str
    settings: tuple[str, ...]

    def jobs(self, command: Command) -> list[Job]:
        """The runs of all rows but Base, which no axis touches; their results lie in a folder of their own."""
        folder = re.sub(r"[^\w.]+", "-", self.label).strip("-")
        if folder != self.label:  # 1 and -1 would share one
            folder = f"{folder}-{hash_text(self.label)[:6]}"
        varied = replace(
            command,
            rows=tuple(row for row in command.rows if row != BASE.name),
            settings=override(command.settings, self.settings),
            output_dir=command.output_dir / "variants" / self.axis / folder,
            variant=(self.axis, self.label),
        )
        return [Job(trial, varied) for trial in trials_of(varied)]


def variants(command: Command) -> dict[str, list[Variant]]:
    """The values of each axis that is asked for; of all that apply where none is named.

    Raises:
        ConfigError: an axis without values, or one that is about another kind of LLM.
    """
    llm = command.config()["llm_name_or_path"]
    kind = "scratch" if llm == "scratch" else "pretrained"
    names = command.axes or [*command.values, *(name for name, axis in AXES.items() if axis.llm in ("", kind))]
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
        found[name] = [_variant(name, value) for value in values]
    return found


def _variant(axis: str, value: Any) -> Variant:
    settings: Mapping[str, Any] = value if isinstance(value, dict) else {axis: value}
    label = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)
    return Variant(axis, label, tuple(f"--{key}={each}" for key, each in settings.items()))
