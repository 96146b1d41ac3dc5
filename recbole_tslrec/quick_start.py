"""``recbole_tslrec.run``: the one path from a model's name to its result."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole.utils import init_logger

from recbole_tslrec.compute import distributed
from recbole_tslrec.configuration.config import Config, given_settings, listed_files
from recbole_tslrec.data.atomic_files import check_files
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.pipeline.stage_list import shows_progress
from recbole_tslrec.result import Result
from recbole_tslrec.settings import ConfigError
from recbole_tslrec.settings.folders import check_writable

_MODEL, _DATASET = "TSLRecSASRec", "ml-100k"
_LOGS = ("log", "log_tensorboard")  # RecBole's, in the working folder


def run(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: str | Path | Sequence[str | Path] = (),
    config_dict: Mapping[str, Any] | None = None,
    argv: Sequence[str] = (),
    rebuild: str | Collection[str] = (),
    stop_after: str | None = None,
    result_file: str | None = None,
) -> Result:
    """Run the stages of a model on a dataset, reusing the artifacts of earlier runs.

    Args:
        model: ``TSLRec<Backbone>``, ``CI<Backbone>`` or a sequential model of RecBole; ``None`` takes that of the
            settings, as RecBole does, or TSLRecSASRec.
        dataset: its name below ``data_path``; ``None`` takes that of the settings, or ml-100k.
        config_file_list: yaml files over the defaults, or one.
        config_dict: settings over the files.
        argv: ``--key=value`` arguments over both.
        rebuild: stages to rebuild, or one.
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
    files = listed_files(config_file_list)
    settings = given_settings(files, config_dict or {}, ())
    model, dataset = model or settings.get("model", _MODEL), dataset or settings.get("dataset", _DATASET)
    config = Config(model, dataset, files, config_dict, argv)
    check_files(config)  # before the name of the dataset becomes that of a log
    for folder in _LOGS:
        check_writable(Path(folder), "RecBole's logs", "start in a folder of your own")
    if result_file:
        _check_result_file(Path(result_file))
    if distributed.is_main():
        init_logger(config)
    else:
        logging.basicConfig(level=logging.ERROR)
    config["show_progress"] = shows_progress(config)  # a log file has no use for bars
    result = Result.of(run_stages(config, [rebuild] if isinstance(rebuild, str) else rebuild, stop_after))
    if result_file and distributed.is_main():
        result.write(result_file)
    return result


def _check_result_file(file: Path) -> None:
    if file.is_dir():
        raise ConfigError(f"result_file [{file}] is a folder; name a file in it")
    check_writable(file.parent, "the result", "name another place with --result_file")
