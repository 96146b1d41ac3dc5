"""Whose vectors are fused: the fine-tuned LLM's, or those of a control row.

A gain of TSLRec means something only against controls with the same settings: vectors that know nothing, vectors
without an LLM, an LLM without Stage 1, what an ideal Stage 1 could say of an item, and what the items' words say
without an LLM. A new one is one entry of :data:`KNOWLEDGE_SOURCES`.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from recbole_tslrec.augmentation.control_vectors import (
    co_occurrence_vectors,
    mean_targets,
    random_vectors,
    tfidf_vectors,
)
from recbole_tslrec.augmentation.item_contexts import ItemContexts, sample_contexts
from recbole_tslrec.augmentation.settings import ExportSettings
from recbole_tslrec.augmentation.vectors import write_vectors
from recbole_tslrec.compute import distributed
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.llm.identity import llm_content
from recbole_tslrec.llm.item_text import ItemText, check_item_text, item_text_content, read_item_texts
from recbole_tslrec.llm.settings import ItemTextSettings, LLMSettings
from recbole_tslrec.pipeline.stage import Inputs, Stage
from recbole_tslrec.pipeline.stage_1 import check_llm_stage, prompt_contents, stage_0_rows
from recbole_tslrec.reconstruction.settings import ReconstructionSettings
from recbole_tslrec.settings import ConfigError, Settings, derive, setting
from recbole_tslrec.settings.base import positive_integer
from recbole_tslrec.sft.settings import FineTuningSettings
from recbole_tslrec.store.artifacts import ITEM_TOKENS, TENSORS, Artifact, rows_of_tokens
from recbole_tslrec.store.contents import ContentHashes
from recbole_tslrec.store.tensor_file import TensorFile

SFT = "sft"  # the method's own


@dataclass(frozen=True)
class KnowledgeSource:
    """Where the vectors come from that a TSLRec model fuses.

    Attributes:
        about: one phrase for the reader of a report.
        parents: the artifacts that they are made from.
        settings: what they depend on.
        build: writes a ``knowledge`` artifact: settings, inputs, folder.
        contents: hashes of other files that they are made from.
        check: what would make it fail, found before any stage is built.
        remark: what is to be said of the artifact, such as a warning.
        needs_llm: whether prompts go through an LLM, so that processes share the work and items have a category
            distribution beside their vector.
        needs_words: whether it is made of the words in ``prompt_item_text``.
    """

    about: str
    parents: tuple[str, ...]
    settings: type[Settings]
    build: Callable[[Any, Inputs, Path], None]
    contents: Callable[[Any, Data, ContentHashes], dict[str, str]] = lambda settings, data, hashes: {}
    check: Callable[[Any, Data], None] = lambda settings, data: None
    remark: Callable[[Any, Artifact], None] = lambda settings, artifact: None
    needs_llm: bool = False
    needs_words: bool = False

    def stage(self, config: Any, name: str, part: str = "") -> Stage:
        """The stage ``knowledge`` with this source.

        Args:
            config: the configuration.
            name: the name of the source.
            part: the same, where it is one of several (see ``fused_sources.py``).
        """
        settings = self.settings.of(derive(config, knowledge_source=name))
        return Stage(
            "knowledge",
            f"knowledge from {name}: {self.about}",
            settings,
            self.parents,
            partial(self.build, settings),
            partial(self.contents, settings),
            partial(self.check, settings),
            partial(self.remark, settings),
            shared=self.needs_llm,
            part=part,
        )


@dataclass(frozen=True)
class SourceSettings(Settings):
    """What every source reads."""

    knowledge_source: str = setting()
    """(str) Its name, a key of :data:`KNOWLEDGE_SOURCES`."""
    seed: int = setting()
    """(int) Of what is drawn."""


@dataclass(frozen=True)
class LLMExportSettings(SourceSettings):
    """What the export of an LLM's states reads."""

    export: ExportSettings = setting()
    """How."""
    stage_1: ReconstructionSettings = setting()
    """Of which LLM, with which prompt."""
    eval_args: Any = setting()
    """(dict) How interactions are split, for ``export_context: users``."""


@dataclass(frozen=True)
class UntunedExportSettings(LLMExportSettings):
    """What the export reads where nothing is fine-tuned: fresh adapters add nothing."""

    def recipe(self) -> dict[str, Any]:
        """Without the keys of training, so that another learning rate exports nothing again."""
        of_training = {*FineTuningSettings.key_names(), "sft_loss", "sft_valid_ratio"} - {*LLMSettings.key_names()}
        return {key: value for key, value in super().recipe().items() if key not in of_training}


@dataclass(frozen=True)
class RandomSettings(SourceSettings):
    """What random vectors read."""

    llm: LLMSettings = setting()
    """The LLM whose width they have."""


@dataclass(frozen=True)
class CoOccurrenceSettings(SourceSettings):
    """What vectors of co-occurrence read."""

    co_occurrence_window: int = setting(check=positive_integer)
    """(int) Items of a history that are at most so many positions apart count as near."""
    co_occurrence_shift: float = setting()
    """(float) Its logarithm is subtracted from the mutual information, of which only what stays above 0 counts."""
    eval_args: Any = setting()
    """(dict) How interactions are split: only the training part counts."""

    def check(self) -> None:
        """Refuse a shift that would add to the mutual information."""
        shift: Any = self.co_occurrence_shift
        if not isinstance(shift, int | float) or isinstance(shift, bool) or shift < 1:
            raise ConfigError(f"co_occurrence_shift [{shift}] must be a number from 1 on: its logarithm is subtracted")


@dataclass(frozen=True)
class WordSettings(SourceSettings):
    """What vectors of words read."""

    text: ItemTextSettings = setting()
    """Which words."""

    def check(self) -> None:
        """Refuse a source without words."""
        if not self.text.columns:
            raise ConfigError(
                f"knowledge_source [{self.knowledge_source}] needs words; name columns of the .item file in "
                "prompt_item_text"
            )


def export(settings: LLMExportSettings, inputs: Inputs, folder: Path) -> None:
    """Every item through the LLM: fine-tuned where there is an ``sft`` artifact among the parents, else as it is."""
    from recbole_tslrec.augmentation.knowledge_export import export_items, prepare_for_export
    from recbole_tslrec.reconstruction.task import load_fine_tuned, load_item_text, untuned_network

    items = inputs.parents["item_embeddings"]
    texts = load_item_text(settings.stage_1, items.item_tokens())
    if "sft" in inputs.parents:
        network = load_fine_tuned(settings.stage_1, inputs.parents["sft"].folder, texts)
    else:
        network = untuned_network(settings.stage_1, stage_0_rows(items, inputs.data.dataset), texts)
    prepare_for_export(network, settings.export.dtype, settings.export.export_pooling)
    if distributed.is_main():
        shutil.copyfile(items.folder / ITEM_TOKENS, folder / ITEM_TOKENS)
    rows = TensorFile(items.folder / TENSORS)
    contexts = _contexts(settings, inputs, texts)
    show_progress = settings.stage_1.engine.llm.show_progress
    export_items(network, rows, folder, settings.export.export_batch_size, show_progress, contexts)


def _contexts(settings: LLMExportSettings, inputs: Inputs, item_text: ItemText | None) -> ItemContexts | None:
    """The prompts that the export averages over, in the rows of ``item_embeddings``; ``None`` for the paper's."""
    from recbole_tslrec.reconstruction.task import prompt_items

    if settings.export.export_context == "single":
        return None
    items, data = inputs.parents["item_embeddings"], inputs.data
    rows = rows_of_tokens(items.item_tokens(), data.item_tokens, items.folder).numpy()  # of the ids 1..N
    histories = replace(data.histories, items=rows[data.histories.items - 1] + 1)
    return sample_contexts(histories, len(rows), prompt_items(settings.stage_1, histories, item_text), settings.seed)


def _warn_of_few_categories(settings: LLMExportSettings, knowledge: Artifact) -> None:
    """Only where the paper's task would give every category to some item."""
    if (settings.stage_1.target_view, settings.export.export_context) == ("own", "single"):
        from recbole_tslrec.augmentation.knowledge_export import warn_of_few_categories

        warn_of_few_categories(TensorFile(knowledge.folder / TENSORS))


def _random(settings: RandomSettings, inputs: Inputs, folder: Path) -> None:
    tokens = inputs.data.item_tokens
    write_vectors(folder, tokens, random_vectors(len(tokens), llm_width(settings.llm), settings.seed))


def _stage_0(settings: SourceSettings, inputs: Inputs, folder: Path) -> None:
    embeddings = inputs.parents["item_embeddings"]
    write_vectors(folder, embeddings.item_tokens(), embeddings.tensors()["item_embeddings"])


def _co_interaction(settings: SourceSettings, inputs: Inputs, folder: Path) -> None:
    tokens = inputs.data.item_tokens
    targets = inputs.parents["targets"].tensors()["preference_target"]
    write_vectors(folder, tokens, *mean_targets(inputs.data.histories, targets, len(tokens)))


def _co_occurrence(settings: CoOccurrenceSettings, inputs: Inputs, folder: Path) -> None:
    data = inputs.data
    window, shift = settings.co_occurrence_window, settings.co_occurrence_shift
    vectors = co_occurrence_vectors(data.histories, len(data.item_tokens), window, shift, settings.seed)
    write_vectors(folder, data.item_tokens, *vectors)


def _tfidf(settings: WordSettings, inputs: Inputs, folder: Path) -> None:
    tokens = inputs.data.item_tokens
    write_vectors(folder, tokens, *tfidf_vectors(read_item_texts(settings.text, tokens), settings.seed))


def _check_width(settings: RandomSettings, data: Data) -> None:
    llm_width(settings.llm)


def llm_width(settings: LLMSettings) -> int:
    """H of the LLM, of which only its configuration is read.

    Raises:
        LLMError: it cannot be read.
    """
    from recbole_tslrec.llm.loading import load_llm_config
    from recbole_tslrec.llm.segment_encoder import state_size

    return state_size(load_llm_config(settings))


KNOWLEDGE_SOURCES: dict[str, KnowledgeSource] = {
    SFT: KnowledgeSource(
        "the fine-tuned LLM's hidden states h^v, the paper's",
        ("sft", "item_embeddings"),
        LLMExportSettings,
        export,
        lambda settings, data, hashes: prompt_contents(settings.stage_1, data, hashes),
        lambda settings, data: check_llm_stage(settings.stage_1, data),
        _warn_of_few_categories,
        needs_llm=True,
    ),
    "random": KnowledgeSource(
        "random vectors of the LLM's width",
        (),
        RandomSettings,
        _random,
        lambda settings, data, hashes: llm_content(settings.llm, hashes),
        _check_width,
    ),
    "stage0": KnowledgeSource(
        "the backbone's item embeddings e_v, no LLM", ("item_embeddings",), SourceSettings, _stage_0
    ),
    "untuned": KnowledgeSource(
        "hidden states of the LLM before Stage 1",
        ("item_embeddings",),
        UntunedExportSettings,
        export,
        lambda settings, data, hashes: prompt_contents(settings.stage_1, data, hashes),
        lambda settings, data: check_llm_stage(settings.stage_1, data),
        needs_llm=True,
    ),
    "co_interaction": KnowledgeSource(
        "the mean preference target of the item's training users, no LLM", ("targets",), SourceSettings, _co_interaction
    ),
    "co_occurrence": KnowledgeSource(
        "singular vectors of the positive mutual information of items near each other in training histories, no LLM",
        (),
        CoOccurrenceSettings,
        _co_occurrence,
    ),
    "tfidf": KnowledgeSource(
        "singular vectors of the TF-IDF of the words in prompt_item_text, no LLM",
        (),
        WordSettings,
        _tfidf,
        lambda settings, data, hashes: item_text_content(settings.text, data.item_tokens),
        lambda settings, data: check_item_text(settings.text),
        needs_words=True,
    ),
}
