"""The paper's Fig. 2 as a table of contents: each stage reads artifacts and leaves one, or finds the one it left.

    backbone -> item_embeddings -> groups -> targets -> sft -> knowledge -> recommender -> evaluation

A model needs its backbone and, if it fuses a table, what that is made from: a CI model the groups, a TSLRec model what
its ``knowledge_source`` reads. The stages of the LLM baselines are in ``llm_baselines``.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from recbole_tslrec.augmentation.vectors import listed_paths, open_vectors
from recbole_tslrec.compute import distributed
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.data.stage import KIND as DATA
from recbole_tslrec.evaluation.metrics import check_cut_offs
from recbole_tslrec.evaluation.settings import EvaluationSettings
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.pipeline import llm_baselines, stage_0, stage_1, stage_2
from recbole_tslrec.pipeline.evaluate import evaluation, row_name, run_model_free
from recbole_tslrec.pipeline.fused_sources import FusedSources
from recbole_tslrec.pipeline.knowledge_sources import SFT
from recbole_tslrec.pipeline.run import ArtifactSettings, Run
from recbole_tslrec.pipeline.stage import KINDS, Stage, name_of
from recbole_tslrec.pipeline.unread_keys import warn_of_unread
from recbole_tslrec.settings import ConfigError, derive
from recbole_tslrec.settings.folders import check_writable
from recbole_tslrec.store.artifacts import Artifact, Store, open_artifact
from recbole_tslrec.store.contents import ContentHashes

__all__ = ["plan", "run_model_free", "run_stages"]

STAGES: dict[str, Callable[[Any], Stage]] = {
    "backbone": stage_0.backbone,
    "item_embeddings": stage_0.item_embeddings,
    "groups": stage_1.groups,
    "targets": stage_1.targets,
    "sft": stage_1.sft,
    "recommender": stage_2.recommender,
}

_ORDER = (DATA, *KINDS)


def run_stages(
    config: Any, rebuild: Collection[str] = (), stop_after: str | None = None, data: Data | None = None
) -> Run:
    """Run the stages of ``config["model"]``.

    Args:
        config: the configuration.
        rebuild: kinds of stages to rebuild.
        stop_after: the last stage to run; ``None`` runs all.
        data: the dataset, if it is already loaded.

    Raises:
        ConfigError: a key is wrong; raised before the dataset is loaded.
        ValueError: there is no such stage, or a key does not fit the dataset; raised before anything is built.
        ArtifactError: an artifact is damaged.
        LLMError: the LLM cannot be loaded; raised before anything is built.
    """
    for kind in (*rebuild, *([stop_after] if stop_after else [])):
        if kind not in _ORDER:
            raise ValueError(f"stage [{kind}] does not exist; the stages are {', '.join(_ORDER)}")
    settings = ArtifactSettings.of(config)
    hashes = ContentHashes(settings.artifacts_dir)
    stages = plan(config)
    warn_of_unread(config, stages)
    planned = (*(stage.name for stage in stages), KINDS[-1])
    kinds = {DATA, KINDS[-1], *(stage.kind for stage in stages)}
    for kind in (*rebuild, *([stop_after] if stop_after else [])):
        if kind not in kinds:
            what = "rebuild" if kind in rebuild else "stop after"
            raise ValueError(f"{config['model']} has no stage [{kind}] to {what}; it has {', '.join(planned)}")
    for kind in rebuild:
        if stop_after and _ORDER.index(kind) > _ORDER.index(stop_after):
            raise ValueError(f"stage [{kind}] comes after [{stop_after}]: rebuild an earlier one, or stop later")
    # before the dataset is loaded: a wrong path is known at once
    given = given_artifacts(llm_baselines.upstream(config), hashes)
    stages = _up_to(stages, stop_after)
    store = Store(Path(settings.artifacts_dir) / config["dataset"])
    distributed.join(config["device"])
    data = data or Data(stage_0.data_config(llm_baselines.upstream(config)), settings.artifacts_dir, DATA in rebuild)
    check_cut_offs(config, len(data.item_tokens))
    run = Run(config, data, store, hashes, rebuild, given, planned=planned)
    _run(run, stages)
    if stop_after in (None, KINDS[-1]):
        _evaluate(run)
    return run


def plan(config: Any) -> list[Stage]:
    """The stages of a model but for its evaluations, in the paper's order, with their settings read and checked.

    A table that is given needs no stage, nor does what it would be made from.

    Raises:
        ConfigError: a key is wrong.
    """
    EvaluationSettings.of(config)
    family, upstream = parse_model_name(config["model"]).family, llm_baselines.upstream(config)
    given = given_paths(upstream)
    _check_reads_vectors(config, upstream)
    makers: dict[str, Callable[[], Stage]] = {kind: partial(make, upstream) for kind, make in STAGES.items()}
    makers.update(stage_2.knowledge(upstream, given))
    baseline = llm_baselines.BASELINES.get(family.name)
    if baseline:
        llm_baselines.check_full_ranking(config)
        makers.update({kind: partial(make, config) for kind, make in baseline.stages.items()})
    needed: dict[str, Stage] = {}

    def need(name: str) -> None:
        if name in given or name in needed:
            return
        needed[name] = makers[name]()
        for parent in needed[name].parents:
            need(parent)

    if baseline:
        for kind in baseline.stages:
            need(kind)
    elif family.table:
        need("recommender")
    if not given and not baseline:
        need("backbone")  # its evaluation is the row Base
    return sorted(needed.values(), key=lambda stage: (KINDS.index(stage.kind), not stage.part))  # parts come first


def _check_reads_vectors(config: Any, upstream: Any) -> None:
    name = parse_model_name(upstream["model"])
    if config["knowledge_path"] and name.family.table != "knowledge":
        raise ConfigError(
            f"knowledge_path [{config['knowledge_path']}] is not read by {config['model']}; leave it out, or give the "
            f"item vectors to TSLRec{name.backbone}"
        )


def _up_to(stages: Sequence[Stage], last: str | None) -> list[Stage]:
    """The stages up to a kind; if that is not the evaluation, without what only the evaluation would read."""
    if last in (None, KINDS[-1]):
        return list(stages)
    stages = [stage for stage in stages if _ORDER.index(stage.kind) <= _ORDER.index(last)]
    needed: set[str] = set()
    for stage in reversed(stages):
        if stage.kind == stages[-1].kind or stage.name in needed:
            needed |= {stage.name, *stage.parents}
    return [stage for stage in stages if stage.name in needed]


def _run(run: Run, stages: list[Stage]) -> None:
    """Find or build the stages; before the first one is built, look for what would make it or a later one fail.

    What was found needs no check: another ``fusion_type`` asks for no LLM.
    """
    checked: set[str] = set()

    def check(stages_left: list[Stage]) -> None:
        check_writable(run.store.root, "artifacts", "name a folder of your own with --artifacts_dir")
        for stage in stages_left:
            if stage.name not in checked:
                stage.check(run.data)
                checked.add(stage.name)

    for place, stage in enumerate(stages):
        run.finish(stage, prepare=partial(check, stages[place:]))


def _evaluate(run: Run) -> None:
    """Rank with the models that were trained."""
    config, name = run.config, parse_model_name(run.config["model"])
    if name.family.default_backbone:
        run.finish(llm_baselines.evaluation(config, name.family), name.family.name)
        return
    base = derive(config, model=name.backbone)
    if run.given:  # no backbone is needed; if this one was trained before, its row joins the result
        backbone = stage_0.backbone(config)
        artifact = run.store.find(backbone.kind, run.recipe(backbone))
        if artifact is not None:
            run.given["backbone"] = artifact
    if "backbone" in run.artifacts:
        run.finish(evaluation(base, "Base"), "Base")
    if name.family.table:
        run.finish(evaluation(config, row_name(config)), row_name(config))


def given_paths(config: Any) -> dict[str, str]:
    """Where the table lies that the user gives with ``knowledge_path`` or ``groups_path``, if the model fuses one.

    Returns:
        Paths by the name of the stage that each stands for; several files of vectors are numbered from 1.

    Raises:
        ConfigError: item vectors are given, and asked for from a source as well.
    """
    table = parse_model_name(config["model"]).family.table
    if not table or not config[f"{table}_path"]:
        return {}
    if table == "groups":
        return {table: config["groups_path"]}
    source = config["knowledge_source"]
    if FusedSources.of(config).names != (SFT,):
        raise ConfigError(
            f"knowledge_source [{source}] makes item vectors, and knowledge_path [{config['knowledge_path']}] gives "
            "others; leave one of the two out"
        )
    paths = listed_paths(config["knowledge_path"])
    if len(paths) == 1:
        return {table: paths[0]}
    return {name_of(table, str(number)): path for number, path in enumerate(paths, start=1)}


def given_artifacts(config: Any, hashes: ContentHashes) -> dict[str, Artifact]:
    """What lies at :func:`given_paths`, by the same names.

    Raises:
        ArtifactError: a folder holds no whole artifact of that kind.
        VectorsError: a path is none of a file of item vectors either.
    """
    paths = given_paths(config)
    if "groups" in paths:
        return {"groups": open_artifact(paths["groups"], "groups")}
    return {name: open_vectors(path, hashes) for name, path in paths.items()}
