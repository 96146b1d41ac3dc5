"""The paper's Fig. 2 as a table of contents: each stage reads artifacts and leaves one, or finds the one it left.

    backbone -> item_embeddings -> groups -> targets -> sft -> knowledge -> recommender -> evaluation

A Base model takes ``backbone`` and ``evaluation``; a CI model leaves ``targets``, ``sft`` and ``knowledge`` out, and a
control row (``knowledge_source``) what it does not need.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from recbole_tslrec import distributed
from recbole_tslrec.artifacts import Store
from recbole_tslrec.config import backbone_config
from recbole_tslrec.data import Data
from recbole_tslrec.evaluation.controls import SFT
from recbole_tslrec.pipeline.augmentation import augment, augmented_config, control, export
from recbole_tslrec.pipeline.backbone import embed_items, find_backbone, train_backbone
from recbole_tslrec.pipeline.checks import check_settings, given_artifacts, needs_llm
from recbole_tslrec.pipeline.evaluation import evaluate, row_name, run_model_free
from recbole_tslrec.pipeline.reconstruction import fine_tune, group, target
from recbole_tslrec.registry import split_model_name
from recbole_tslrec.stages import STAGES, Run

__all__ = ["run_model_free", "run_stages"]


def run_stages(
    config: Any, rebuild: Collection[str] = (), stop_after: str | None = None, data: Data | None = None
) -> Run:
    """Run the stages of ``config["model"]``.

    Args:
        config: the configuration.
        rebuild: names of :data:`STAGES` to build anew.
        stop_after: the last stage to run; ``None`` runs all.
        data: the dataset, where it is loaded already.

    Raises:
        ValueError: there is no such stage.
        ArtifactError: an artifact is damaged.
        LLMError: the LLM cannot be loaded; raised before the backbone is trained.
    """
    for stage in (*rebuild, *([stop_after] if stop_after else [])):
        if stage not in STAGES:
            raise ValueError(f"stage [{stage}] does not exist; the stages are {', '.join(STAGES)}")
    given = given_artifacts(config)  # before the dataset is loaded: a wrong path is known at once
    store = Store(Path(config["artifacts_dir"]) / config["dataset"])
    distributed.join(config["device"])
    run = Run(config, data or Data(config), store, rebuild, artifacts=given)
    check_settings(run)
    for finished in _stages(run, stop_after):
        if finished == stop_after:
            break
    return run


def _stages(run: Run, stop_after: str | None) -> Iterator[str]:
    family, _ = split_model_name(run.config["model"])
    if run.artifacts:
        find_backbone(run)
    else:
        train_backbone(run, needs_llm(run.config, stop_after))
        yield "backbone"
        if family != "Base":
            embed_items(run)
            yield "item_embeddings"
            group(run)
            yield "groups"
        if family == "TSLRec":
            source = run.config["knowledge_source"]
            if source in (SFT, "co_interaction"):
                target(run)
                yield "targets"
            if source == SFT:
                fine_tune(run)
                yield "sft"
            export(run) if source in (SFT, "untuned") else control(run)
            yield "knowledge"
    if family != "Base":
        augment(run, family)
        yield "recommender"
    if "backbone" in run.artifacts:
        evaluate(run, "backbone", backbone_config(run.config), "Base")
    if family != "Base":
        evaluate(run, "recommender", augmented_config(run, family), row_name(run.config))
    yield "evaluation"
