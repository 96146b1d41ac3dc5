"""The last stage: the rows of a result, with a model or without."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from recbole_tslrec.compute import distributed
from recbole_tslrec.compute.distributed import ALONE, Share
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.model_free import MODEL_FREE, check_model_free
from recbole_tslrec.evaluation.result_files import write_evaluation
from recbole_tslrec.evaluation.settings import EvaluationSettings
from recbole_tslrec.evaluation.trained_model import rank_held_out
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.pipeline.fused_sources import FusedSources
from recbole_tslrec.pipeline.knowledge_sources import SFT
from recbole_tslrec.pipeline.run import ArtifactSettings, Run
from recbole_tslrec.pipeline.stage import Inputs, Stage
from recbole_tslrec.pipeline.stage_0 import data_config, recommender_settings
from recbole_tslrec.pipeline.stage_2 import fused_table
from recbole_tslrec.settings import derive
from recbole_tslrec.settings.recommender import RecommenderSettings
from recbole_tslrec.store.artifacts import Store
from recbole_tslrec.store.contents import ContentHashes
from recbole_tslrec.training import recommender


@dataclass(frozen=True)
class RowSettings:
    """What an evaluation reads.

    Attributes:
        row: the row's name in a table, such as ``TSLRec``.
        evaluation: how it ranks.
    """

    row: str
    evaluation: EvaluationSettings

    def recipe(self) -> dict[str, Any]:
        """The keys that decide the figures, and the row, which names them."""
        return {**self.evaluation.recipe(), "row": self.row}


def evaluation(config: Any, row: str) -> Stage:
    """The metrics of a trained model on the validation and test items, full ranking, in each history mode.

    Args:
        config: the configuration of the model that was trained.
        row: its name in a table.
    """
    name = parse_model_name(config["model"])
    settings = RowSettings(row, EvaluationSettings.of(config))
    model_settings = recommender_settings(config, str(name), name.family.settings)
    model_config = model_settings.config()

    def build(inputs: Inputs, folder: Path) -> None:
        share = distributed.own_share()
        trainer = load_trained(model_settings, inputs, share)
        rank = partial(rank_held_out, trainer.model, show_progress=config["show_progress"], share=share)
        recbole = partial(recommender.evaluate_recommender, trainer)
        write_evaluation(folder, model_config, inputs.data, row, rank, recbole)
        trainer.tensorboard.close()

    return Stage("evaluation", f"rank with {name}", settings, trained_kinds(str(name)), build, shared=True)


def load_trained(settings: RecommenderSettings, inputs: Inputs, share: Share = ALONE) -> Any:
    """RecBole's trainer of a trained model, ready to evaluate it.

    Args:
        settings: the settings of the model's training.
        inputs: with its artifact, and that of its family's table.
        share: the part of this process in every ranking.
    """
    table = parse_model_name(settings.model).family.table
    fused = fused_table(settings, inputs) if table else None
    folder = inputs.parents[trained_kinds(settings.model)[0]].folder
    return recommender.load_trainer(settings.config(), inputs.data.loaders[0], folder, fused, share)


def trained_kinds(model: str) -> tuple[str, ...]:
    """The kinds of the artifacts that a trained model is loaded from, its weights first."""
    table = parse_model_name(model).family.table
    return ("recommender", table) if table else ("backbone",)


def run_model_free(config: Any, row: str, rebuild: Collection[str] = (), data: Data | None = None) -> Run:
    """Evaluate a ranking that needs no model, as the row of a table.

    Args:
        config: the configuration of any model; that decides nothing but how the dataset is read.
        row: one of ``evaluation.model_free.MODEL_FREE``.
        rebuild: with ``evaluation``, evaluate anew.
        data: the dataset, where it is loaded already.

    Raises:
        ValueError: there is no such row, or it cannot be evaluated so.
    """
    check_model_free(config, row)
    folder = ArtifactSettings.of(config).artifacts_dir
    data = data or Data(data_config(config), folder)
    config = derive(config, model=row)
    run = Run(config, data, Store(Path(folder) / config["dataset"]), ContentHashes(folder), rebuild)

    def build(inputs: Inputs, folder: Path) -> None:
        write_evaluation(folder, config, inputs.data, row, MODEL_FREE[row])

    settings = RowSettings(row, EvaluationSettings.of(config))
    run.finish(Stage("evaluation", f"rank by {row}, without a model", settings, (), build), row)
    return run


def row_name(config: Any) -> str:
    """How a model's row is called in results: its family, or what stands in the place of the LLM's vectors."""
    family = parse_model_name(config["model"]).family
    if family.table != "knowledge":
        return family.name
    sources = "+".join(FusedSources.of(config).names)
    return family.name if sources == SFT else sources
