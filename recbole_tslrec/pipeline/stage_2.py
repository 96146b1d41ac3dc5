"""Stage 2, information augmentation (Section 4.2): knowledge embeddings and the training that fuses them."""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from recbole_tslrec.data.dataset import Data
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.pipeline.fused_sources import FusedSources, fused_sources, side_by_side
from recbole_tslrec.pipeline.knowledge_sources import KNOWLEDGE_SOURCES
from recbole_tslrec.pipeline.stage import Inputs, Stage, name_of
from recbole_tslrec.pipeline.stage_0 import contents_of_training, describe, recommender_settings, train
from recbole_tslrec.settings.recommender import RecommenderSettings


def knowledge(config: Any, given: Collection[str] = ()) -> dict[str, Callable[[], Stage]]:
    """What makes the vectors that are fused, by the names of the stages.

    Args:
        config: the configuration, whose ``knowledge_source`` names one source or several.
        given: the names of the stages for which the user gives files; no source makes vectors then.
    """
    if given:
        return {"knowledge": partial(side_by_side, tuple(given))}
    sources = FusedSources.of(config).names
    if len(sources) == 1:
        return {"knowledge": partial(KNOWLEDGE_SOURCES[sources[0]].stage, config, sources[0])}
    makers = {
        name_of("knowledge", each): partial(KNOWLEDGE_SOURCES[each].stage, config, each, each) for each in sources
    }
    return {**makers, "knowledge": partial(side_by_side, tuple(makers))}


def recommender(config: Any) -> Stage:
    """Train the backbone anew with fused item embeddings."""
    name = parse_model_name(config["model"])
    settings = recommender_settings(config, str(name), name.family.settings)
    sources = fused_sources(config) if name.family.table == "knowledge" else ()

    def build(inputs: Inputs, folder: Path) -> dict[str, Any]:
        return train(settings, inputs.data, folder, fused_table(settings, inputs), sources)

    about, parents = describe(settings), (name.family.table,)
    contents, check = contents_of_training(settings), Data.check_split
    return Stage("recommender", about, settings, parents, build, contents, check, shared=True)


def fused_table(settings: RecommenderSettings, inputs: Inputs) -> Any:
    """What a model fuses into the items of a dataset, loaded once for the training and the evaluation of a run.

    Args:
        settings: the settings of the model's training.
        inputs: with the artifact of its family's table.
    """
    family = parse_model_name(settings.model).family
    load, table = family.load, inputs.parents[family.table]
    assert load is not None
    dataset, seed = inputs.data.dataset, settings.training.seed
    return inputs.load_once(table, lambda: load(table, dataset, settings.fusion, seed))
