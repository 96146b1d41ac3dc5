"""The configuration: RecBole's, with our defaults, an explicit command line and a check of every key."""

import ast
import copy
import difflib
import functools
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import recbole
import recbole.config
import yaml
from recbole.data.transform import construct_transform
from recbole.model import sequential_recommender

from recbole_tslrec import distributed
from recbole_tslrec.registry import (
    merge_own_defaults,
    own_defaults,
    properties_folder,
    read_properties,
    split_model_name,
)
from recbole_tslrec.sequential.losses import OWN_LOSSES

# Keys that RecBole's code reads but no yaml file of it lists.
_UNLISTED = ("model", "dataset", "config_files", "encoding", "tail_ratio", "contrast", "tau", "sim")
_FINE_TUNING_KEYS = ("llm_", "lora_", "sft_", "prompt_", "scratch_")
# Keys that decide how fast SFT gives its result, not which; a step checkpoint goes on under other values of them.
_SPEED_KEYS = frozenset({"sft_layout", "sft_tokens_per_batch", "sft_save_steps", "llm_attn_implementation"})
# Options of ours beside the paper's task, at its value. There a recipe does not name them: an artifact that was made
# before there were any is found again.
PAPER_TASK = {"target_view": "own", "sft_loss": "mse", "prompt_item_text": "none", "prompt_item_vector": True}
_CHOICES = {
    "target_view": ("own", "rest"),
    "sft_loss": ("mse", "kl"),
    "prompt_item_vector": (True, False),
    "export_context": ("single", "users"),
    "export_pooling": ("last", "mean"),
    "knowledge_content": ("hidden", "hidden_and_categories"),
    "fusion_projection": ("trained", "frozen"),
}
# Keys that say where and how a run happens, not what it computes.
_RUN_KEYS = frozenset(
    {"gpu_id", "use_gpu", "worker", "state", "show_progress", "data_path", "checkpoint_dir", "config_files"}
    | {"save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path", "log_wandb", "wandb_project"}
    | {"loss_decimal_place", "metric_decimal_place", "eval_batch_size", "metrics", "topk"}
    | {"device", "local_rank", "single_spec", "eval_type", "MODEL_TYPE", "MODEL_INPUT_TYPE"}
)


class ConfigError(ValueError):
    """A key, value or file of the configuration is wrong."""


class Config(recbole.config.Config):  # type: ignore[misc]  # RecBole is untyped
    """RecBole's ``Config`` with the defaults of this package for every model.

    Differs from RecBole's: the command line is passed, not taken from ``sys.argv``; values are read as Python literals
    and never evaluated; a value may contain ``=``; unknown keys are refused.

    Args:
        model: a model's name.
        dataset: a dataset's name.
        config_file_list: yaml files, the later over the earlier; a path below ``properties/`` is also looked up in the
            properties of the package.
        config_dict: settings over the files.
        argv: ``--key=value`` arguments over both.

    Raises:
        ConfigError: an unknown key, a malformed argument or number, a missing file.
        ValueError: an unknown model.
    """

    def __init__(
        self,
        model: str,
        dataset: str,
        config_file_list: Sequence[str] = (),
        config_dict: Mapping[str, Any] | None = None,
        argv: Sequence[str] = (),
    ) -> None:
        self.argv = list(argv)
        split_model_name(model)  # refuses unknown names before RecBole looks for them
        files = [find_config_file(file) for file in config_file_list]
        super().__init__(model, dataset, files, dict(config_dict or {}))
        construct_transform(self)  # it names its columns here, where copies of this configuration must find them
        check_numbers(self.external_config_dict, self.internal_config_dict)
        check_counts(self.final_config_dict)
        check_choices(self.final_config_dict)
        if not sys.stderr.isatty():
            self.final_config_dict["show_progress"] = False

    def _init_device(self) -> None:
        if distributed.process_count() == 1:
            super()._init_device()
            return
        # a launcher has started several processes: each takes the GPU of its number, and to RecBole each is alone
        device = distributed.own_device(self.final_config_dict["use_gpu"])
        alone = {"single_spec": True, "local_rank": 0, "gpu_id": str(self.final_config_dict["gpu_id"])}
        self.final_config_dict.update(alone, device=device)
        if not distributed.is_main():
            self.final_config_dict.update(state="error", show_progress=False)

    def _load_config_files(self, file_list: Sequence[str]) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        for file in file_list:
            try:
                read = read_properties(Path(file), self.yaml_loader)
            except yaml.YAMLError as error:
                raise ConfigError(f"configuration file [{file}] is no yaml: {' '.join(str(error).split())}") from error
            if not isinstance(read, dict):
                raise ConfigError(
                    f"configuration file [{file}] must hold key: value lines, not a {type(read).__name__}"
                )
            settings.update(read)
        return settings

    def _load_cmd_line(self) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for argument in self.argv:
            key, equals, value = argument.removeprefix("--").partition("=")
            if not argument.startswith("--") or not equals:
                raise ConfigError(f"argument [{argument}] is not of the form --key=value")
            if given.get(key, value) != value:
                raise ConfigError(f"argument --{key} is given twice, as [{given[key]}] and [{value}]; keep one")
            given[key] = value
        return self._convert_config_dict(given)

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return {key: _literal(value) if isinstance(value, str) else value for key, value in config_dict.items()}

    def _merge_external_config_dict(self) -> None:
        super()._merge_external_config_dict()
        check_keys(self.external_config_dict)

    def _load_internal_config_dict(self, model: str, model_class: Any, dataset: str) -> None:
        super()._load_internal_config_dict(model, model_class, dataset)
        merge_own_defaults(self, split_model_name(model)[1], dataset)


def derive(config: Any, **changes: Any) -> Any:
    """A copy of a configuration with other values; the original stays as it is."""
    derived = copy.copy(config)
    derived.final_config_dict = {**config.final_config_dict, **changes}
    return derived


def backbone_config(config: Any) -> Any:
    """The configuration of stage 0: the backbone's name; its own epochs and learning rate where they are given."""
    backbone = split_model_name(config["model"])[1]
    changes = {"model": backbone}
    for key in ("epochs", "learning_rate"):
        if config[f"backbone_{key}"] is not None:
            changes[key] = config[f"backbone_{key}"]
    return derive(config, **changes)


def training_settings(config: Any) -> dict[str, Any]:
    """The keys that decide what training a recommender computes, for the recipe of its artifact."""
    ours = own_defaults("", "")
    kept = {"load_col", "valid_metric", "train_neg_sample_args"}  # RecBole's, with a default of ours
    kept |= {"minimum_epochs"} if config["minimum_epochs"] else set()  # at 0 an artifact of before it is found again
    kept |= {"train_mode", *(("loss_negatives", "loss_calibration") if config["loss_type"] in OWN_LOSSES else ())}
    return {
        key: value
        for key, value in sorted(config.final_config_dict.items())
        if key not in _RUN_KEYS and (key not in ours or key in kept)
    }


def settings_of(config: Any, prefixes: Iterable[str], keys: Iterable[str] = ()) -> dict[str, Any]:
    """The keys with one of the prefixes, and those named, for the recipe of an artifact."""
    prefixes, keys = tuple(prefixes), set(keys)
    return {k: v for k, v in sorted(config.final_config_dict.items()) if k.startswith(prefixes) or k in keys}


def fine_tuning_settings(config: Any) -> dict[str, Any]:
    """The settings that decide what SFT computes."""
    settings = settings_of(config, _FINE_TUNING_KEYS, ["seed", "group_count", "MAX_ITEM_LIST_LENGTH", *PAPER_TASK])
    return {k: v for k, v in settings.items() if k not in _SPEED_KEYS and (k not in PAPER_TASK or v != PAPER_TASK[k])}


def check_keys(given: Mapping[str, Any]) -> None:
    """Refuse keys that neither RecBole nor this package knows.

    Raises:
        ConfigError: names the key and the nearest known one.
    """
    for key in given:
        if key not in known_keys():
            near = difflib.get_close_matches(key, known_keys(), n=1)
            hint = f"did you mean {near[0]}?" if near else "see properties/overall.yaml for the keys"
            if key == "nproc":
                hint = "start several processes with torchrun or accelerate launch"
            raise ConfigError(f"unknown configuration key [{key}]; {hint}")


def check_numbers(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse text where the default is a number.

    Raises:
        ConfigError: names the key and the value.
    """
    for key, value in given.items():
        default = defaults.get(key)
        if isinstance(value, str) and isinstance(default, (int, float)) and not isinstance(default, bool):
            raise ConfigError(f"{key} must be a number such as {default}, not [{value}]")


def check_counts(settings: Mapping[str, Any]) -> None:
    """Refuse sizes of the LLM stage that are no whole numbers above zero; those that may be left open may be ``None``.

    Raises:
        ConfigError: names the key and the value.
    """
    for key in ("sft_epochs", "sft_batch_size", "export_batch_size", "sft_tokens_per_batch", "sft_save_steps"):
        value = settings[key]
        if value is None and key in ("sft_tokens_per_batch", "sft_save_steps"):
            continue
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{key} must be a whole number above 0, not [{value}]")


def check_choices(settings: Mapping[str, Any]) -> None:
    """Refuse a value that is not one of those that a key may have.

    Raises:
        ConfigError: names the key, the value and what it may be.
    """
    for key, choices in _CHOICES.items():
        if settings[key] not in choices:
            raise ConfigError(f"{key} [{settings[key]}] is not one of {', '.join(map(str, choices))}")


@functools.cache
def known_keys() -> frozenset[str]:
    """Every key of this package, of RecBole and of its sequential models."""
    ours = properties_folder()
    theirs = Path(recbole.__file__).parent / "properties"
    files = [*ours.glob("*.yaml"), ours / "llm" / "scratch.yaml", *ours.glob("model/*.yaml")]
    files += [theirs / "overall.yaml", *theirs.glob("quick_start_config/*.yaml")]
    files += [theirs / "dataset" / "sample.yaml", theirs / "dataset" / "ml-100k.yaml"]
    files += [theirs / "model" / f"{name}.yaml" for name in vars(sequential_recommender)]
    keys = set(_UNLISTED)
    for file in files:
        keys.update(read_properties(file))
    return frozenset(keys)


def find_config_file(file: str) -> str:
    """A yaml file as it is named, or below the properties of the package.

    Raises:
        ConfigError: it is at neither place.
    """
    candidates = [Path(file), properties_folder().parent / file]
    for candidate in candidates:
        if candidate.is_file():
            return str(candidate)
    raise ConfigError(f"configuration file [{file}] does not exist; presets are in {properties_folder() / 'presets'}")


def _literal(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return text
