"""Stage 2, information augmentation (Section 4.2): knowledge embeddings and the training that fuses them."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from recbole_tslrec import distributed, recommender
from recbole_tslrec.artifacts import ITEM_TOKENS, TENSORS, Artifact, rows_of_tokens, write_item_table
from recbole_tslrec.augmentation.item_contexts import ItemContexts, sample_contexts
from recbole_tslrec.augmentation.knowledge import fuses_categories
from recbole_tslrec.config import derive, fine_tuning_settings, settings_of, training_settings
from recbole_tslrec.evaluation.controls import KNOWLEDGE_SOURCES, TFIDF, mean_targets, random_vectors, tfidf_vectors
from recbole_tslrec.llm.item_text import ItemText, item_text_settings, read_item_texts
from recbole_tslrec.llm.precision import export_dtype
from recbole_tslrec.pipeline.backbone import describe_training
from recbole_tslrec.pipeline.checks import llm_width
from recbole_tslrec.pipeline.reconstruction import llm_files, stage_0_rows
from recbole_tslrec.registry import split_model_name
from recbole_tslrec.serving.saved_model import save_description
from recbole_tslrec.stages import FUSED_TABLES, Run
from recbole_tslrec.tensor_file import TensorFile


def export(run: Run) -> Artifact:
    """Stage 2: every item alone through the LLM; for the control row ``untuned`` as it is before Stage 1."""
    config = run.config
    untuned = config["knowledge_source"] == "untuned"
    dtype = export_dtype(config)

    def write(folder: Path) -> None:
        from recbole_tslrec.augmentation.export import export_items, prepare_for_export
        from recbole_tslrec.reconstruction.fine_tuning import load_fine_tuned
        from recbole_tslrec.reconstruction.network import build_network, configured_item_text

        items = run.artifacts["item_embeddings"].folder
        texts = configured_item_text(config, run.artifacts["item_embeddings"].item_tokens())
        if untuned:
            network = build_network(config, stage_0_rows(items, run.data.dataset), texts)
        else:
            network = load_fine_tuned(config, run.artifacts["sft"].folder, texts)
        prepare_for_export(network, dtype, config["export_pooling"])
        if distributed.is_main():
            shutil.copyfile(items / ITEM_TOKENS, folder / ITEM_TOKENS)
        rows = TensorFile(items / TENSORS)
        contexts = _contexts(run, texts)
        export_items(network, rows, folder, config["export_batch_size"], config["show_progress"], contexts)

    what = f"export the knowledge embeddings of {len(run.data.item_tokens)} items in {dtype}"
    settings = {"export_dtype": str(dtype), **item_text_settings(config, run.data.item_tokens)}
    if not isinstance(config["group_count"], int):
        settings["group_count"] = config["group_count"]  # how the columns of category_distribution fall apart
    if config["export_pooling"] != "last":
        settings["export_pooling"] = config["export_pooling"]
    if config["export_context"] != "single":
        keys = ["export_context", "eval_args", "prompt_max_items", "MAX_ITEM_LIST_LENGTH"]
        settings |= settings_of(config, [], keys)
    if untuned:
        settings |= {"knowledge_source": "untuned", **fine_tuning_settings(config), **llm_files(config)}
    parents = ["item_embeddings"] if untuned else ["sft", "item_embeddings"]
    knowledge = run.stage("knowledge", what, write, settings, parents, shared=True)
    if not untuned and (config["target_view"], config["export_context"]) == ("own", "single"):  # the paper's task
        from recbole_tslrec.augmentation.export import warn_of_few_categories

        group_count = TensorFile(run.artifacts["groups"].folder / TENSORS).shapes["centers"][0]
        warn_of_few_categories(TensorFile(knowledge.folder / TENSORS), group_count)
    return knowledge


def _contexts(run: Run, item_text: ItemText | None) -> ItemContexts | None:
    """The prompts that the export averages over, in the rows of ``item_embeddings``; ``None`` for the paper's."""
    from recbole_tslrec.reconstruction.fine_tuning import prompt_items

    if run.config["export_context"] == "single":
        return None
    items = run.artifacts["item_embeddings"]
    rows = rows_of_tokens(items.item_tokens(), run.data.item_tokens, items.folder).numpy()  # of the ids 1..N
    histories = replace(run.data.histories, items=rows[run.data.histories.items - 1] + 1)
    return sample_contexts(histories, len(rows), prompt_items(run.config, histories, item_text), run.config["seed"])


def control(run: Run) -> Artifact:
    """A control row's vectors in the place of the LLM's."""
    config = run.config
    source = config["knowledge_source"]
    parent = "targets" if source == "co_interaction" else "item_embeddings"
    settings: dict[str, Any] = {"knowledge_source": source}
    if source == "random":
        settings["llm_width"] = llm_width(config)
    if source == TFIDF:
        settings |= item_text_settings(config, run.data.item_tokens)

    def write(folder: Path) -> None:
        tokens = run.data.item_tokens
        if source == "random":
            rows = random_vectors(len(tokens), settings["llm_width"], config["seed"])
        elif source == TFIDF:
            rows, known = tfidf_vectors(read_item_texts(config, tokens), config["seed"])
            tokens, rows = _known(tokens, rows, known)
        elif source == "stage0":
            artifact = run.artifacts["item_embeddings"]
            tokens, rows = artifact.item_tokens(), artifact.tensors()["item_embeddings"]
        else:
            targets = run.artifacts["targets"].tensors()["preference_target"]
            rows, known = mean_targets(run.data.histories, targets, len(tokens))
            tokens, rows = _known(tokens, rows, known)
        write_item_table(folder, tokens, {"knowledge": rows})

    what = f"control row {source}: {KNOWLEDGE_SOURCES[source]}"
    return run.stage("knowledge", what, write, settings, [parent])


def _known(tokens: Sequence[str], rows: Tensor, known: Tensor) -> tuple[list[str], Tensor]:
    """The items that have a row at all, and their rows; the others get the learned default."""
    return [token for token, is_known in zip(tokens, known, strict=True) if is_known], rows[known]


def augment(run: Run, family: str) -> Artifact:
    """Stage 2: train the backbone anew with fused item embeddings."""
    config = augmented_config(run, family)

    def write(folder: Path) -> dict[str, Any]:
        train_data, valid_data, _ = run.data.loaders
        report = recommender.train_recommender(config, train_data, valid_data, folder)
        save_description(folder, config, train_data._dataset)
        return report

    table, fusion = FUSED_TABLES[family]
    model = family + split_model_name(config["model"])[1]  # P2Rec is TSLRec
    pca = family == "TSLRec" and config["fusion_input"] == "pca"
    content = ["knowledge_content"] if family == "TSLRec" and fuses_categories(config) else []
    frozen = ["fusion_projection"] if family == "TSLRec" and config["fusion_projection"] == "frozen" else []
    fused = settings_of(config, ["fusion_input", "fusion_pca_"] if pca else [], [fusion, *content, *frozen])
    settings = {**training_settings(config), **fused, "model": model}
    return run.stage("recommender", describe_training(config), write, settings, [table])


def augmented_config(run: Run, family: str) -> Any:
    """The configuration of the augmented training: where its table lies."""
    table, _ = FUSED_TABLES[family]
    return derive(run.config, **{f"{table}_path": str(run.artifacts[table].folder)})
