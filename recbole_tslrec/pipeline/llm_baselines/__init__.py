"""LLM baselines of Table 2 as stages: what an LLM is fine-tuned for, and the ranks that it gives.

E4SRec    backbone -> item_embeddings -> llm_task -> evaluation
LlamaRec  (the stages of its retriever) -> retriever -> ranker -> evaluation
P5, POD   index -> llm_task -> evaluation
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_tslrec.baselines.ranking_prompt import CANDIDATES
from recbole_tslrec.baselines.settings import P5Settings, PODSettings
from recbole_tslrec.evaluation.held_out import HeldOut
from recbole_tslrec.evaluation.history_modes import Ranks, ranks_all_items
from recbole_tslrec.evaluation.result_files import write_evaluation
from recbole_tslrec.evaluation.settings import EvaluationSettings
from recbole_tslrec.models.families import Family
from recbole_tslrec.pipeline.evaluate import RowSettings, trained_kinds
from recbole_tslrec.pipeline.llm_baselines import e4srec, llamarec
from recbole_tslrec.pipeline.llm_baselines.generation import Generation, index
from recbole_tslrec.pipeline.llm_baselines.llamarec import upstream
from recbole_tslrec.pipeline.llm_baselines.rows import part_of
from recbole_tslrec.pipeline.stage import Inputs, Stage
from recbole_tslrec.settings import ConfigError

__all__ = ["BASELINES", "check_full_ranking", "evaluation", "upstream"]


@dataclass(frozen=True)
class LLMBaseline:
    """One baseline.

    Attributes:
        stages: what makes each of its own stages.
        ranker: from the configuration and the artifacts to a function that gives ranks.
        parents: from the configuration to the kinds of the artifacts that the ranker reads.
        candidates: from the configuration to how many items of a user it can put in order; ``None`` for all.
    """

    stages: Mapping[str, Callable[[Any], Stage]]
    ranker: Callable[[Any, Inputs], Callable[[HeldOut], Ranks]]
    parents: Callable[[Any], tuple[str, ...]]
    candidates: Callable[[Any], int | None] = lambda config: None


@dataclass(frozen=True)
class CandidateSettings(RowSettings):
    """What the evaluation of an LLM baseline reads.

    Attributes:
        candidates: how many items of a user are put in order; ``None`` for all.
    """

    candidates: int | None

    def recipe(self) -> dict[str, Any]:
        """As of any row, and the candidates."""
        return {**super().recipe(), "candidates": self.candidates}


def check_full_ranking(config: Any) -> None:
    """Refuse an evaluation on drawn items, which the baselines do not have.

    Raises:
        ConfigError: names the key.
    """
    if not ranks_all_items(config["eval_args"]):
        raise ConfigError(
            f"{config['model']} ranks all items, and eval_args mode {config['eval_args']['mode']} draws some; leave "
            "mode out, or set it to full"
        )


def evaluation(config: Any, family: Family) -> Stage:
    """The metrics of an LLM baseline on the validation and test items, full ranking, in each history mode."""
    baseline = BASELINES[family.name]
    candidates = baseline.candidates(config)
    settings = CandidateSettings(family.name, EvaluationSettings.of(config), candidates)

    def build(inputs: Inputs, folder: Path) -> dict[str, Any]:
        rank, coverage = baseline.ranker(config, inputs), {}

        def covered(rows: HeldOut) -> Ranks:
            ranks = rank(rows)
            coverage[part_of(inputs, rows)] = float((ranks.unmasked <= (candidates or rows.item_count)).mean())
            return ranks

        write_evaluation(folder, config, inputs.data, family.name, covered)
        return {"candidates": candidates, "candidate_coverage": coverage}

    return Stage("evaluation", f"rank with {family.name}", settings, baseline.parents(config), build)


BASELINES = {
    "E4SRec": LLMBaseline({"llm_task": e4srec.llm_task}, e4srec.ranker, lambda config: ("llm_task",)),
    "LlamaRec": LLMBaseline(
        {"retriever": llamarec.retriever, "ranker": llamarec.ranker},
        llamarec.ranks,
        lambda config: ("retriever", "ranker", *trained_kinds(config["retriever"])),
        lambda config: CANDIDATES,
    ),
    **{
        each.name: LLMBaseline(
            {"index": index, "llm_task": each.task},
            each.ranker,
            lambda config: ("index", "llm_task"),
            lambda config: int(config["beams"]),
        )
        for each in (Generation("P5", P5Settings, bare=False), Generation("POD", PODSettings, bare=True))
    },
}
