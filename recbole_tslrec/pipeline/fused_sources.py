"""Which sources of knowledge are fused: one, or several side by side, each a stage of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_tslrec.augmentation.knowledge import join_sources, load_knowledge
from recbole_tslrec.augmentation.vectors import listed_paths, write_vectors
from recbole_tslrec.pipeline.knowledge_sources import KNOWLEDGE_SOURCES
from recbole_tslrec.pipeline.stage import Inputs, Stage
from recbole_tslrec.serving.saved_model import GIVEN
from recbole_tslrec.settings import ConfigError, Settings, setting
from recbole_tslrec.settings.base import listed


@dataclass(frozen=True)
class FusedSources(Settings):
    """Whose vectors are fused."""

    knowledge_source: str | Sequence[str] = setting(check=lambda key, value: check_sources(value))
    """(str or list) One or several keys of :data:`KNOWLEDGE_SOURCES`, also with commas between."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the sources."""
        return tuple(listed(self.knowledge_source))


def fused_sources(config: Any) -> tuple[str, ...]:
    """Whose vectors a TSLRec model fuses: the names of its sources, or :data:`GIVEN` for each file that is given."""
    if config["knowledge_path"]:
        return (GIVEN,) * len(listed_paths(config["knowledge_path"]))
    return FusedSources.of(config).names


def check_sources(value: Any) -> None:
    """Refuse what is none of :data:`KNOWLEDGE_SOURCES`, or the same twice.

    Raises:
        ConfigError: names them.
    """
    is_list = isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value)
    if not (isinstance(value, str) or is_list):
        raise ConfigError(f"knowledge_source must be a source or a list of several, not [{value}]")
    names = listed(value)
    for name in names:
        if name not in KNOWLEDGE_SOURCES:
            raise ConfigError(f"knowledge_source [{name}] is not one of {', '.join(KNOWLEDGE_SOURCES)}")
        if names.count(name) > 1:
            raise ConfigError(f"knowledge_source names [{name}] twice; leave one out")


@dataclass(frozen=True)
class SideBySide:
    """What a table of several sources depends on beside them.

    Attributes:
        order: the names of the sources' stages.
    """

    order: tuple[str, ...]

    def recipe(self) -> dict[str, Any]:
        """The order of the columns."""
        return {"order": list(self.order)}


def side_by_side(parents: tuple[str, ...]) -> Stage:
    """The stage ``knowledge`` that puts the vectors of several others into one table.

    Args:
        parents: the names of the others, in the order of their columns.
    """

    def build(inputs: Inputs, folder: Path) -> None:
        dataset, tokens = inputs.data.dataset, inputs.data.item_tokens
        joined = join_sources([load_knowledge(inputs.parents[name].folder, dataset) for name in parents])
        write_vectors(folder, tokens, joined.rows[1:], joined.present[1:])

    return Stage("knowledge", f"{', '.join(parents)}, side by side", SideBySide(parents), parents, build)
