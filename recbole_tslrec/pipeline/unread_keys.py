"""Keys that a user has given and no stage of the run reads: said, since the run would look as if they had counted."""

from collections.abc import Iterable, Sequence
from logging import getLogger
from typing import Any

from recbole_tslrec.augmentation.settings import CategoryFusionSettings, ExportSettings, KnowledgeFusionSettings
from recbole_tslrec.evaluation.settings import EvaluationSettings
from recbole_tslrec.pipeline.stage import Stage
from recbole_tslrec.reconstruction.settings import GroupSettings, ReconstructionSettings
from recbole_tslrec.settings import Settings
from recbole_tslrec.settings.recommender import DatasetSettings, MachineSettings, TrainingSettings

_OF_STAGES = (
    GroupSettings, ReconstructionSettings, ExportSettings, KnowledgeFusionSettings, CategoryFusionSettings
)  # fmt: skip
_OF_EVERY_RUN = (MachineSettings, DatasetSettings, TrainingSettings, EvaluationSettings)


def warn_of_unread(config: Any, stages: Iterable[Stage]) -> None:
    """Name the keys of Stages 1 and 2 that were given, but not in a file, and that no stage of a run reads.

    Args:
        config: the configuration.
        stages: those of the run.
    """
    given = {**getattr(config, "variable_config_dict", {}), **getattr(config, "cmd_config_dict", {})}
    unread = sorted((_keys(_OF_STAGES) - _keys(_OF_EVERY_RUN) - keys_read(stages)).intersection(given))
    if unread:
        getLogger().warning(f"no stage of this run of {config['model']} reads {', '.join(unread)}")


def keys_read(stages: Iterable[Stage]) -> set[str]:
    """The keys that some stage reads."""
    return {key for stage in stages for key in _keys_of(stage.settings)}


def _keys(groups: Sequence[type[Settings]]) -> set[str]:
    return {key for group in groups for key in group.key_names()}


def _keys_of(settings: Any) -> Iterable[str]:
    return settings.key_names() if isinstance(settings, Settings) else settings.recipe()
