"""RecBole's configuration with the defaults of this package, an explicit command line and a check of every key."""

import ast
import contextlib
import difflib
import functools
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import recbole
import recbole.config
import yaml
from recbole.data.transform import construct_transform
from recbole.model import sequential_recommender

from recbole_tslrec.compatibility.devices import may_use_gpu
from recbole_tslrec.compute import distributed
from recbole_tslrec.configuration.numbers import as_the_default, check_numbers
from recbole_tslrec.configuration.properties import (
    defaults_without_family,
    merge_own_defaults,
    model_keys,
    properties_folder,
    read_properties,
)
from recbole_tslrec.configuration.settings import SETTINGS
from recbole_tslrec.configuration.values import check_values
from recbole_tslrec.models.families import LLAMAREC
from recbole_tslrec.models.names import ModelName, parse_model_name
from recbole_tslrec.settings import ConfigError

_KEYS_OF_TRANSFORMS = {"mask_itemseq": "mask_ratio", "crop_itemseq": "eta", "reorder_itemseq": "beta"}  # of RecBole
_PROMPTS = ("prompt_instruction", "prompt_response")  # [INST] is no list
_PATHS = ("data_path", "artifacts_dir", "knowledge_path", "groups_path", "llm_name_or_path")
# Keys that RecBole's code reads but no yaml file of it lists.
_UNLISTED = ("model", "dataset", "config_files", "encoding", "tail_ratio", "contrast", "tau", "sim")


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

    Attributes:
        without_family: what the keys that the defaults of the model's family decide would be without it.

    Raises:
        ConfigError: an unknown key, a value that its key cannot have, a malformed argument or number, a missing file.
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
        self.name = parse_model_name(model)  # refuses unknown names before RecBole looks for them
        files = [find_config_file(file) for file in config_file_list]
        retriever = self.name.backbone
        if self.name.family is LLAMAREC:  # the defaults are those of its retriever
            retriever = given_settings(files, config_dict or {}, argv).get("retriever") or retriever
            self.name = ModelName(LLAMAREC, _backbone_of_retriever(retriever))
        asked = model if self.name.recommender == str(self.name) else self.name.recommender
        super().__init__(asked, dataset, files, dict(config_dict or {}))
        self.final_config_dict.update(model=model, retriever=retriever)
        self.without_family = {
            key: value
            for key, value in defaults_without_family(self.name, dataset, self.yaml_loader).items()
            if key not in self.external_config_dict
        }
        _check_transform(self["transform"], self.name.backbone)
        del self.name  # RecBole's checkpoints hold configurations, and torch's safe loader knows nothing of families
        construct_transform(self)  # it names its columns here, where copies of this configuration must find them
        for group in SETTINGS:
            group.of(self)
        if not sys.stderr.isatty():
            self.final_config_dict["show_progress"] = False

    def _set_default_parameters(self) -> None:
        values = self.final_config_dict
        if isinstance(values["eval_args"], Mapping):
            # what is not given is this package's default; RecBole's is a random split without an order of time
            values["eval_args"] = {**self.internal_config_dict["eval_args"], **values["eval_args"]}
        check_values(values)
        check_numbers(self.external_config_dict, self.internal_config_dict)
        for key in self.external_config_dict:
            values[key] = as_the_default(values[key], self.internal_config_dict.get(key))
        super()._set_default_parameters()

    def _init_device(self) -> None:
        if distributed.process_count() == 1:
            super()._init_device()
            return
        # a launcher has started several processes: each takes the GPU of its number, and to RecBole each is alone
        settings = self.final_config_dict
        device = distributed.own_device(may_use_gpu(settings["use_gpu"], settings["gpu_id"]))
        alone = {"single_spec": True, "local_rank": 0, "gpu_id": str(settings["gpu_id"])}
        settings.update(alone, device=device)
        if not distributed.is_main():
            settings.update(state="error", show_progress=False)

    def _load_config_files(self, file_list: Sequence[str]) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        for file in file_list:
            try:
                read = read_properties(Path(file), self.yaml_loader)
            except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
                raise ConfigError(f"configuration file [{file}] is no yaml: {' '.join(str(error).split())}") from error
            if not isinstance(read, dict):
                raise ConfigError(
                    f"configuration file [{file}] must hold key: value lines, not a {type(read).__name__}"
                )
            settings.update(read)
        return settings

    def _load_cmd_line(self) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for argument, following in itertools.pairwise([*self.argv, "--"]):
            key, equals, value = argument.removeprefix("--").partition("=")
            if not argument.startswith("--") or not equals:
                is_split = argument.startswith("--") and not following.startswith("--")
                cure = f"; write {argument}={following}" if is_split else ""
                raise ConfigError(f"argument [{argument}] is not of the form --key=value{cure}")
            if given.get(key, value) != value:
                raise ConfigError(f"argument --{key} is given twice, as [{given[key]}] and [{value}]; keep one")
            given[key] = value
        return self._convert_config_dict(given)

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return {key: _read(key, value) if isinstance(value, str) else value for key, value in config_dict.items()}

    def _merge_external_config_dict(self) -> None:
        super()._merge_external_config_dict()
        for key, value in self.external_config_dict.items():
            self.external_config_dict[key] = with_home(value) if key in _PATHS else _plain(value)
        check_keys(self.external_config_dict)

    def _load_internal_config_dict(self, model: str, model_class: Any, dataset: str) -> None:
        super()._load_internal_config_dict(model, model_class, dataset)
        merge_own_defaults(self, self.name.backbone, dataset, self.name.family.name)


def _check_transform(transform: Any, backbone: str) -> None:
    needed = _KEYS_OF_TRANSFORMS.get(transform)
    if needed and needed not in model_keys(backbone):
        raise ConfigError(f"transform [{transform}] reads {needed}, which is no key of {backbone}; leave it out")


def with_home(value: Any) -> Any:
    """A path, or a list of some, with the user's folder in the place of ``~``, which no shell has expanded here."""
    if isinstance(value, list | tuple):
        return [with_home(each) for each in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"(?<![^,])~(?=/)", lambda _: str(Path.home()), value)


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's, and sets and tuples as lists, in an order that is the same in every process: recipes
    are hashed."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return [_plain(each) for each in sorted(value, key=str)]
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _backbone_of_retriever(retriever: Any) -> str:
    if not isinstance(retriever, str):
        raise ConfigError(f"retriever must be the name of a model, not [{retriever}]")
    name = parse_model_name(retriever)
    if name.family.default_backbone:
        raise ConfigError(
            f"retriever [{retriever}] is itself an LLM that ranks; choose a recommender such as "
            f"{LLAMAREC.default_backbone}"
        )
    return name.backbone


def check_keys(given: Mapping[Any, Any]) -> None:
    """Refuse keys that neither RecBole nor this package knows.

    Raises:
        ConfigError: names the key and the nearest known one.
    """
    for key in map(str, given):  # yaml reads a key such as 1 or on as another type
        if key not in known_keys():
            near = difflib.get_close_matches(key, known_keys(), n=1)
            hint = f"did you mean {near[0]}?" if near else "see properties/overall.yaml for the keys"
            if key == "nproc":
                hint = "start several processes with torchrun or accelerate launch"
            raise ConfigError(f"unknown configuration key [{key}]; {hint}")


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
    candidates = [Path(with_home(file)), properties_folder().parent / file]
    for candidate in candidates:
        if candidate.is_file():
            return str(candidate)
    cure = "separate several by spaces" if "," in file else f"presets are in {properties_folder() / 'presets'}"
    raise ConfigError(f"configuration file [{file}] does not exist; {cure}")


def listed_files(given: str | Path | Sequence[str | Path]) -> list[str]:
    """Yaml files that are given as a list or, if it is but one, as itself.

    Raises:
        ConfigError: they are settings, not files.
    """
    if isinstance(given, Mapping):
        raise ConfigError("config_file_list takes yaml files; pass settings as config_dict")
    return [str(given)] if isinstance(given, str | Path) else [str(file) for file in given]


def given_settings(files: Sequence[str], config_dict: Mapping[str, Any], argv: Sequence[str]) -> dict[str, Any]:
    """What has to be known before the defaults are; faults of a file are told where all is read."""
    found: dict[str, Any] = {}
    for file in files:
        with contextlib.suppress(yaml.YAMLError, TypeError, ValueError):
            found.update(read_properties(Path(find_config_file(file))))
    found.update(config_dict)
    for argument in argv:
        name, _, value = argument.removeprefix("--").partition("=")
        found[name] = value
    return found


def _read(key: str, text: str) -> Any:
    """A Python literal, or a list of names whose quotes a shell has taken, [Hit,NDCG]; other text is kept as it is."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    with contextlib.suppress(ValueError, SyntaxError, TypeError):
        return ast.literal_eval(text)
    if key not in _PROMPTS and text[:1] + text[-1:] == "[]":
        with contextlib.suppress(yaml.YAMLError):
            names = yaml.safe_load(text)
            return names if all(isinstance(name, str) for name in names) else text  # [3,inf] is RecBole's interval
    return text
