"""The package in a process of its own; see ``trial.py``."""

from collections.abc import Mapping
from typing import Any

from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.training.recommender import RecommenderTrainer, build_model
from trial import serve


def prepare(model: str, dataset: str, settings: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """What the package does before it trains a recommender."""
    config = Config(model, dataset, [], settings)
    train_data, valid_data, _ = Data(config).loaders
    return train_data, valid_data, RecommenderTrainer(config, build_model(config, train_data))


if __name__ == "__main__":
    serve(prepare)
