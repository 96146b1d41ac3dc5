"""The last stage: the rows of a result, with a model or without."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from recbole_tslrec import recommender
from recbole_tslrec.artifacts import Artifact, Store
from recbole_tslrec.config import derive, settings_of
from recbole_tslrec.data import Data
from recbole_tslrec.evaluation.artifact import EVALUATION_FORMAT, write_evaluation
from recbole_tslrec.evaluation.controls import SFT
from recbole_tslrec.evaluation.model_free import MODEL_FREE, check_model_free
from recbole_tslrec.registry import split_model_name
from recbole_tslrec.stages import Run


def evaluate(run: Run, trained: str, config: Any, row: str) -> Artifact:
    """The metrics of a trained model on the validation and test items, full ranking, in each history mode."""

    def write(folder: Path) -> None:
        trainer = recommender.load_trainer(config, run.data.loaders[0], run.artifacts[trained].folder)
        rank = partial(recommender.rank_held_out, trainer)
        write_evaluation(folder, config, run.data, row, rank, partial(recommender.evaluate_recommender, trainer))
        trainer.tensorboard.close()

    what = f"rank with {config['model']}"
    return run.stage("evaluation", what, write, _evaluation_settings(config, row), [trained], f"evaluation/{row}")


def run_model_free(config: Any, row: str, rebuild: Collection[str] = (), data: Data | None = None) -> Run:
    """Evaluate a ranking that needs no model, as the row of a table.

    Args:
        config: of any model; that decides nothing but how the dataset is read.
        row: one of ``evaluation.model_free.MODEL_FREE``.
        rebuild: with ``evaluation``, evaluate anew.
        data: the dataset, where it is loaded already.

    Raises:
        ValueError: there is no such row, or it cannot be evaluated so.
    """
    check_model_free(config, row)
    store = Store(Path(config["artifacts_dir"]) / config["dataset"])
    run = Run(derive(config, model=row), data or Data(config), store, rebuild)

    def write(folder: Path) -> None:
        write_evaluation(folder, run.config, run.data, row, MODEL_FREE[row])

    settings = _evaluation_settings(config, row)
    run.stage("evaluation", f"rank by {row}, without a model", write, settings, name=f"evaluation/{row}")
    return run


def row_name(config: Any) -> str:
    """How a model's row is called in results: its family, or the control that stands in its place."""
    family, _ = split_model_name(config["model"])
    return config["knowledge_source"] if family == "TSLRec" and config["knowledge_source"] != SFT else family


def _evaluation_settings(config: Any, row: str) -> dict[str, Any]:
    settings = settings_of(config, [], ["metrics", "topk", "eval_args", "metric_decimal_place"])
    return {**settings, "row": row, "format": EVALUATION_FORMAT}
