"""RecBole 1.2.1 as it is installed, in a process that never imports recbole_tslrec; see ``trial.py``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trial import serve

# numpy 2 took these names away, and RecBole does not start without them; it is changed in nothing else
for name, value in {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "bool8": np.bool_}.items():
    if name not in vars(np):
        setattr(np, name, value)

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, get_trainer, init_seed  # noqa: E402


def prepare(model: str, dataset: str, settings: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """What ``run_recbole`` does before it trains."""
    config = Config(model, dataset, config_dict=dict(settings))
    init_seed(config["seed"], config["reproducibility"])
    train_data, valid_data, _ = data_preparation(config, create_dataset(config))
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    network = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    return train_data, valid_data, get_trainer(config["MODEL_TYPE"], config["model"])(config, network)


if __name__ == "__main__":
    serve(prepare)
