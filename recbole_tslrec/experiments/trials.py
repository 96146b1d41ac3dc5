"""What a report is made from: a trial is one row of a table with one seed, an outcome what its run has left."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_tslrec.evaluation.history_modes import UNMASKED
from recbole_tslrec.evaluation.per_user import UserResults, read_users
from recbole_tslrec.evaluation.result_files import METRICS, users_file
from recbole_tslrec.models.families import BASE, CI, E4SREC, LLAMAREC, P5, POD, TSLREC, Family
from recbole_tslrec.pipeline.knowledge_sources import KNOWLEDGE_SOURCES, SFT
from recbole_tslrec.settings import ConfigError
from recbole_tslrec.store.artifacts import ArtifactError
from recbole_tslrec.store.files import read_json


@dataclass(frozen=True)
class Row:
    """How a row of Table 2 is made.

    Attributes:
        family: the family of its model; ``None`` where no model is trained.
        settings: ``--key=value`` arguments that make it this row.
        about: one phrase for the reader of a report.
        needs_words: whether its dataset needs words of items, as few have.
    """

    family: Family | None
    settings: tuple[str, ...]
    about: str
    needs_words: bool = False


ROWS: dict[str, Row] = {
    "POD": Row(POD, (), "a T5 with soft prompts generates items; published lists are unmasked"),
    "P5": Row(P5, (), "a T5 generates the tokens of items; published lists are unmasked"),
    "LlamaRec": Row(LLAMAREC, (), "an LLM ranks a retriever's candidates; published figures are strict"),
    "E4SRec": Row(E4SREC, (), "an LLM scores all items, one prompt per interaction; published figures are strict"),
    "popularity": Row(None, (), "no model: items by training interactions"),
    "last_items": Row(None, (), "no model: the user's last distinct items"),
    "Base": Row(BASE, (), "the ID backbone"),
    "CI": Row(CI, (), "the pre-grouping index as an item feature"),
    **{
        name: Row(TSLREC, (f"--knowledge_source={name}",), f"{source.about}, fused", source.needs_words)
        for name, source in KNOWLEDGE_SOURCES.items()
        if name != SFT
    },
    "scratch": Row(TSLREC, ("--llm_name_or_path=scratch",), "TSLRec with an LLM of random weights, trained in full"),
    "TSLRec": Row(TSLREC, (), "both stages, with the settings above"),
}


def row_of(name: str) -> Row:
    """The row of a name: one of :data:`ROWS`, or several sources of knowledge with ``+`` between, side by side.

    Raises:
        ConfigError: there is no such row.
    """
    if name in ROWS:
        return ROWS[name]
    sources = name.split("+")
    if len(sources) < 2 or not all(source in KNOWLEDGE_SOURCES for source in sources):
        raise ConfigError(
            f"row [{name}] does not exist; the rows are {', '.join(ROWS)}, or all, or sources of knowledge side by "
            f"side, such as sft+co_occurrence ({', '.join(KNOWLEDGE_SOURCES)})"
        )
    needs_words = any(KNOWLEDGE_SOURCES[source].needs_words for source in sources)
    about = f"vectors of {', '.join(sources)} side by side, fused"
    return Row(TSLREC, (f"--knowledge_source={','.join(sources)}",), about, needs_words)


PAPER_ROWS = ("POD", "P5", "LlamaRec", "E4SRec", "Base", "CI", "TSLRec")


@dataclass(frozen=True)
class Trial:
    """One row of a table with one seed.

    Attributes:
        dataset: its name below ``data_path``.
        backbone: a sequential model's name; empty for a model-free row, which needs none, and for an LLM baseline.
        row: a name that :func:`row_of` knows.
        seed: RecBole's.
    """

    dataset: str
    backbone: str
    row: str
    seed: int

    @property
    def model(self) -> str:
        """The model's name on the command line; RecBole's SASRec stands in where the row has none."""
        family = row_of(self.row).family
        return "SASRec" if family is None else family.prefix + self.backbone

    @property
    def name(self) -> str:
        """What names its files, e.g. ``SASRec-TSLRec-seed1``."""
        return "-".join(part for part in (self.backbone, self.row, f"seed{self.seed}") if part)

    def file(self, output_dir: Path) -> Path:
        """Where its result lies."""
        return output_dir / "runs" / self.dataset / f"{self.name}.json"


@dataclass(frozen=True)
class Outcome:
    """A finished trial.

    Attributes:
        trial: which.
        result: the JSON of ``Result.write``.
    """

    trial: Trial
    result: Mapping[str, Any]

    def folder(self, stage: str) -> Path:
        """The folder of a stage's artifact; ``evaluation`` is that of the trial's own row.

        Raises:
            ArtifactError: the run had no such stage.
        """
        rows = [""]
        if stage == "evaluation":  # of the row's own name, or of its family's: scratch is TSLRec with another LLM
            family = row_of(self.trial.row).family
            rows = [self.trial.row, family.name if family else ""]
        folders = {(each["stage"], each["row"]): each["folder"] for each in self.result["stages"]}
        for row in rows:
            if (stage, row) in folders:
                return Path(folders[stage, row])
        names = dict.fromkeys(name for name, _ in folders)
        raise ArtifactError(
            f"the run {self.trial.name} on {self.trial.dataset} left no [{stage}], it left {', '.join(names)}; "
            "give a row that has that stage"
        )

    def users(self) -> UserResults:
        """The per-user results on the test items; see ``evaluation/per_user.py``."""
        return read_users(self.folder("evaluation") / users_file("test"))

    @property
    def valid_history(self) -> str:
        """The history mode in which its epochs were chosen."""
        return str(self.result.get("settings", {}).get("valid_history") or UNMASKED)

    def metrics(self, mode: str, part: str = "test") -> dict[str, float]:
        """Metric name (``ndcg@10``) to value in a history mode.

        Raises:
            ArtifactError: the evaluation was written by a version that knew no modes.
        """
        path = self.folder("evaluation") / METRICS
        modes = read_json(path)[part]
        if mode not in modes:
            raise ArtifactError(f"{path} has no eval_history [{mode}]; run again with --rebuild=evaluation")
        found: dict[str, float] = modes[mode]
        return found
