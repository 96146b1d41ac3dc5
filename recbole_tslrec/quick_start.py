"""``recbole_tslrec.run``: the one path from a model's name to its result."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole.utils import init_logger

from recbole_tslrec.compute import distributed
from recbole_tslrec.configuration.config import Config
from recbole_tslrec.data.atomic_files import check_files
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.pipeline.stage_list import shows_progress
from recbole_tslrec.result import Result
from recbole_tslrec.settings.folders import check_writable

_LOGS = ("log", "log_tensorboard")  # RecBole's, in the working folder


def run(
    model: str = "TSLRecSASRec",
    dataset: str = "ml-100k",
    config_file_list: Sequence[str] = (),
    config_dict: Mapping[str, Any] | None = None,
    argv: Sequence[str] = (),
    rebuild: Collection[str] = (),
    stop_after: str | None = None,
    result_file: str | None = None,
) -> Result:
    """Run the stages of a model on a dataset, reusing the artifacts of earlier runs.

    Args:
        model: ``TSLRec<Backbone>``, ``CI<Backbone>`` or a sequential model of RecBole.
        dataset: its name below ``data_path``.
        config_file_list: yaml files over the defaults.
        config_dict: settings over the files.
        argv: ``--key=value`` arguments over both.
        rebuild: stages to rebuild.
        stop_after: the last stage to run.
        result_file: where to write the result as JSON.

    Returns:
        Metrics, seconds and folders.

    Raises:
        ValueError: an unknown model, dataset, key or stage (``ConfigError``, ``DatasetError``).
        ArtifactError: an artifact is damaged or does not fit the dataset.
        LLMError: the LLM cannot be loaded.
        TrainingDiverged: a loss is not finite.
    """
    config = Config(model, dataset, config_file_list, config_dict, argv)
    check_files(config)  # before the name of the dataset becomes that of a log
    for folder in _LOGS:
        check_writable(Path(folder), "RecBole's logs", "start in a folder of your own")
    if distributed.is_main():
        init_logger(config)
    else:
        logging.basicConfig(level=logging.ERROR)
    config["show_progress"] = shows_progress(config)  # a log file has no use for bars
    result = Result.of(run_stages(config, rebuild, stop_after))
    if result_file and distributed.is_main():
        result.write(result_file)
    return result
