"""The paper's Fig. 2 as a table of contents: each stage reads artifacts and leaves one, or finds the one it left.

    backbone -> item_embeddings -> groups -> targets -> sft -> knowledge -> recommender -> evaluation

A Base model takes ``backbone`` and ``evaluation``; a CI model leaves ``targets``, ``sft`` and ``knowledge`` out.
"""

import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_tslrec import distributed, recommender
from recbole_tslrec.artifacts import (
    ITEM_TOKENS,
    TENSORS,
    Artifact,
    Store,
    open_artifact,
    rows_of_tokens,
    write_item_table,
    write_json,
)
from recbole_tslrec.augmentation.fusion import check_fusion_type
from recbole_tslrec.augmentation.item_contexts import ItemContexts, sample_contexts
from recbole_tslrec.augmentation.knowledge import (
    check_fusion_input,
    dataset_item_tokens,
    fuses_categories,
    grouping_names,
    load_groupings,
)
from recbole_tslrec.augmentation.vectors import check_categories, open_vectors
from recbole_tslrec.config import backbone_config, derive, fine_tuning_settings, settings_of, training_settings
from recbole_tslrec.data import Data
from recbole_tslrec.evaluation.artifact import EVALUATION_FORMAT, write_evaluation
from recbole_tslrec.evaluation.history_modes import check_eval_history
from recbole_tslrec.evaluation.model_free import MODEL_FREE, check_model_free
from recbole_tslrec.evaluation.controls import (
    KNOWLEDGE_SOURCES,
    SFT,
    check_knowledge_source,
    mean_targets,
    random_vectors,
)
from recbole_tslrec.llm.item_text import ItemText, check_item_text, item_text_settings
from recbole_tslrec.llm.precision import export_dtype
from recbole_tslrec.model.tslrec import model_class
from recbole_tslrec.reconstruction.grouping import check_group_count, group_counts, group_items
from recbole_tslrec.reconstruction.histories import hold_out_users
from recbole_tslrec.reconstruction.targets import joined_targets
from recbole_tslrec.registry import split_model_name
from recbole_tslrec.serving.saved_model import save_description
from recbole_tslrec.stages import FUSED_TABLES, STAGES, Run
from recbole_tslrec.tensor_file import TensorFile


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
        train_backbone(run, needs_llm=family == "TSLRec" and _reaches("sft", stop_after) and _needs_llm(run.config))
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


def train_backbone(run: Run, needs_llm: bool = False) -> Artifact:
    """Stage 0: train the ID backbone. It is also the paper's "+Base". If ``needs_llm``, check the LLM first."""
    config = backbone_config(run.config)

    def write(folder: Path) -> dict[str, Any]:
        if needs_llm:
            check_llm_settings(config)
        train_data, valid_data, _ = run.data.loaders
        _warn_of_untrained_items(run)
        report = recommender.train_recommender(config, train_data, valid_data, folder)
        save_description(folder, config, train_data._dataset)
        return report

    return run.stage("backbone", _describe_training(config), write, training_settings(config))


def find_backbone(run: Run) -> None:
    """With a given table no backbone is needed; if this one was trained before, its row joins the result."""
    recipe = run.recipe(training_settings(backbone_config(run.config)))
    artifact = run.store.find("backbone", recipe)
    if artifact is not None:
        run.artifacts["backbone"] = artifact


def embed_items(run: Run) -> Artifact:
    """Take the item embeddings e_v out of the backbone."""

    def write(folder: Path) -> None:
        table, *_ = model_class(run.config["model"]).fused_tables  # the first is the input's
        rows = recommender.item_embeddings(run.artifacts["backbone"].folder, table, len(run.data.item_tokens))
        write_item_table(folder, run.data.item_tokens, {"item_embeddings": rows})

    return run.stage("item_embeddings", "take the item embeddings out of the backbone", write, {}, ["backbone"])


def group(run: Run) -> Artifact:
    """Stage 1: pre-grouping by k-means."""
    config = run.config

    def write(folder: Path) -> None:
        rows = run.artifacts["item_embeddings"].tensors()["item_embeddings"]
        counts = group_counts(config["group_count"])
        tensors: dict[str, Tensor] = {}
        for count, names in zip(counts, grouping_names(len(counts)), strict=True):
            tensors.update(zip(names, group_items(rows, count, config["seed"]), strict=True))
        write_item_table(folder, run.artifacts["item_embeddings"].item_tokens(), tensors)

    what = f"k-means of {len(run.data.item_tokens)} items into {config['group_count']} groups"
    return run.stage("groups", what, write, settings_of(config, ["group_"]), ["item_embeddings"])


def target(run: Run) -> Artifact:
    """Stage 1: the preference target of every user."""

    def write(folder: Path) -> None:
        histories = run.data.histories
        groupings = load_groupings(run.artifacts["groups"].folder, run.data.dataset)
        tensors = {
            "preference_target": joined_targets(histories, groupings),
            "items": torch.from_numpy(histories.items),  # rows of item_tokens, counted from 1
            "offsets": torch.from_numpy(histories.offsets),
        }
        write_item_table(folder, run.data.item_tokens, tensors)
        write_json(folder / "user_tokens.json", histories.user_tokens)

    what = f"preference targets of {len(run.data.full)} users"
    return run.stage("targets", what, write, settings_of(run.config, [], ["eval_args"]), ["groups"])


def fine_tune(run: Run) -> Artifact:
    """Stage 1: user-level SFT of the LLM."""
    config = run.config

    def write(folder: Path) -> dict[str, Any]:
        from recbole_tslrec.reconstruction.fine_tuning import fine_tune_users

        embeddings = stage_0_rows(run.artifacts["item_embeddings"].folder, run.data.dataset)
        targets, groups = run.artifacts["targets"].folder, run.artifacts["groups"].folder
        return fine_tune_users(config, targets, groups, run.data.dataset, embeddings, folder)

    texts = item_text_settings(config, run.data.item_tokens)
    settings = {**fine_tuning_settings(config), **_llm_files(config), **texts}
    parents = ["targets", "item_embeddings", *(["groups"] if config["target_view"] == "rest" else [])]
    what = f"fine-tune {config['llm_name_or_path']} on one example per user, up to {config['sft_epochs']} epochs"
    return run.stage("sft", what, write, settings, parents, shared=True)


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
        prepare_for_export(network, dtype)
        if distributed.is_main():
            shutil.copyfile(items / ITEM_TOKENS, folder / ITEM_TOKENS)
        rows = TensorFile(items / TENSORS)
        contexts = _contexts(run, texts)
        export_items(network, rows, folder, config["export_batch_size"], config["show_progress"], contexts)

    what = f"export the knowledge embeddings of {len(run.data.item_tokens)} items in {dtype}"
    settings = {"export_dtype": str(dtype), **item_text_settings(config, run.data.item_tokens)}
    if not isinstance(config["group_count"], int):
        settings["group_count"] = config["group_count"]  # how the columns of category_distribution fall apart
    if config["export_context"] != "single":
        keys = ["export_context", "eval_args", "prompt_max_items", "MAX_ITEM_LIST_LENGTH"]
        settings |= settings_of(config, [], keys)
    if untuned:
        settings |= {"knowledge_source": "untuned", **fine_tuning_settings(config), **_llm_files(config)}
    parents = ["item_embeddings"] if untuned else ["sft", "item_embeddings"]
    return run.stage("knowledge", what, write, settings, parents, shared=True)


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
    width = {"llm_width": _llm_width(config)} if source == "random" else {}

    def write(folder: Path) -> None:
        tokens = run.data.item_tokens
        if source == "random":
            rows = random_vectors(len(tokens), width["llm_width"], config["seed"])
        elif source == "stage0":
            artifact = run.artifacts["item_embeddings"]
            tokens, rows = artifact.item_tokens(), artifact.tensors()["item_embeddings"]
        else:
            targets = run.artifacts["targets"].tensors()["preference_target"]
            rows, known = mean_targets(run.data.histories, targets, len(tokens))
            tokens, rows = [token for token, is_known in zip(tokens, known, strict=True) if is_known], rows[known]
        write_item_table(folder, tokens, {"knowledge": rows})

    what = f"control row {source}: {KNOWLEDGE_SOURCES[source]}"
    return run.stage("knowledge", what, write, {"knowledge_source": source, **width}, [parent])


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
    return run.stage("recommender", _describe_training(config), write, settings, [table])


def evaluate(run: Run, trained: str, config: Any, row: str) -> Artifact:
    """The metrics of a trained model on the validation and test items, full ranking, in each history mode."""

    def write(folder: Path) -> None:
        trainer = recommender.load_trainer(config, run.data.loaders[0], run.artifacts[trained].folder)
        rank = partial(recommender.rank_held_out, trainer)
        write_evaluation(folder, config, run.data, row, rank, partial(recommender.evaluate_recommender, trainer))
        trainer.tensorboard.close()

    what = f"rank with {config['model']}"
    return run.stage("evaluation", what, write, _evaluation_settings(config, row), [trained], f"evaluation/{row}")


def run_model_free(config: Any, row: str, rebuild: Collection[str] = (), data: Data | None = None) -> Run:
    """Evaluate a ranking that needs no model, as the row of a table.

    Args:
        config: of any model; that decides nothing but how the dataset is read.
        row: one of ``evaluation.model_free.MODEL_FREE``.
        rebuild: with ``evaluation``, evaluate anew.
        data: the dataset, where it is loaded already.

    Raises:
        ValueError: there is no such row, or it cannot be evaluated so.
    """
    check_model_free(config, row)
    store = Store(Path(config["artifacts_dir"]) / config["dataset"])
    run = Run(derive(config, model=row), data or Data(config), store, rebuild)

    def write(folder: Path) -> None:
        write_evaluation(folder, run.config, run.data, row, MODEL_FREE[row])

    settings = _evaluation_settings(config, row)
    run.stage("evaluation", f"rank by {row}, without a model", write, settings, name=f"evaluation/{row}")
    return run


def _evaluation_settings(config: Any, row: str) -> dict[str, Any]:
    settings = settings_of(config, [], ["metrics", "topk", "eval_args", "metric_decimal_place"])
    return {**settings, "row": row, "format": EVALUATION_FORMAT}


def row_name(config: Any) -> str:
    """How a model's row is called in results: its family, or the control that stands in its place."""
    family, _ = split_model_name(config["model"])
    return config["knowledge_source"] if family == "TSLRec" and config["knowledge_source"] != SFT else family


def augmented_config(run: Run, family: str) -> Any:
    """The configuration of the augmented training: where its table lies."""
    table, _ = FUSED_TABLES[family]
    return derive(run.config, **{f"{table}_path": str(run.artifacts[table].folder)})


def given_artifacts(config: Any) -> dict[str, Artifact]:
    """The table that the user gives with ``knowledge_path`` or ``groups_path``, if the model fuses one.

    Raises:
        ArtifactError: the folder holds no whole artifact of that kind.
        VectorsError: ``knowledge_path`` is no file of item vectors either.
    """
    family, _ = split_model_name(config["model"])
    if family not in FUSED_TABLES:
        return {}
    table, _ = FUSED_TABLES[family]
    path = config[f"{table}_path"]
    if not path:
        return {}
    return {table: open_vectors(path) if table == "knowledge" else open_artifact(path, table)}


def stage_0_rows(folder: Path, dataset: Any) -> Tensor:
    """The frozen stage-0 item embeddings in the order of a dataset's item ids, [N + 1, d]; row 0 (the pad) is zero."""
    artifact = open_artifact(folder, "item_embeddings")
    rows = artifact.tensors()["item_embeddings"]
    rows = rows[rows_of_tokens(artifact.item_tokens(), dataset_item_tokens(dataset), folder)]
    return torch.cat([rows.new_zeros(1, rows.shape[1]), rows])


def check_settings(run: Run) -> None:
    """What would make a later stage fail, checked before the first one starts.

    Raises:
        ValueError: says which key, and what it may be.
    """
    config = run.config
    check_eval_history(config)
    family, _ = split_model_name(config["model"])
    if family not in FUSED_TABLES:
        return
    check_fusion_type(config[FUSED_TABLES[family][1]])
    if family == "TSLRec":
        check_fusion_input(config)
        check_knowledge_source(config["knowledge_source"])
        if run.artifacts and fuses_categories(config):
            check_categories(run.artifacts["knowledge"].folder)
    if not run.artifacts:
        check_group_count(config["group_count"], len(run.data.item_tokens))
        if family == "TSLRec":
            hold_out_users(len(run.data.full), config["sft_valid_ratio"], config["seed"])
            check_item_text(config)


def check_llm_settings(config: Any) -> None:
    """What would make SFT fail, checked before the backbone is trained.

    Raises:
        ImportError: transformers or peft is not installed.
        LLMError: the LLM cannot be loaded.
        ValueError: a key is wrong, or the LLM's context has no room for an item beside the prompt.
    """
    export_dtype(config)
    try:
        from recbole_tslrec.llm.layout import check_layout
        from recbole_tslrec.llm.loading import check_llm
        from recbole_tslrec.reconstruction.fine_tuning import check_prompt
    except ImportError as error:
        raise ImportError(
            f"fine-tuning needs {error.name}; install it with: pip install 'recbole_tslrec[llm]', or start from an "
            "export with --knowledge_path=<folder>"
        ) from error
    check_layout(config["sft_layout"])
    check_llm(config)
    check_prompt(config)


def _reaches(stage: str, stop_after: str | None) -> bool:
    return stop_after is None or STAGES.index(stop_after) >= STAGES.index(stage)


def _needs_llm(config: Any) -> bool:
    return config["knowledge_source"] in (SFT, "untuned")


def _llm_width(config: Any) -> int:
    """H of the configured LLM."""
    from recbole_tslrec.llm.loading import load_llm_config

    width: int = load_llm_config(config).hidden_size
    return width


def _llm_files(config: Any) -> dict[str, Any]:
    """What tells one local LLM from another under the same path: its configuration and the sizes of its weights."""
    folder = Path(config["llm_name_or_path"])
    if not (folder / "config.json").is_file():
        return {"llm_files": {}}
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.safetensors"))}
    return {"llm_files": {"config": (folder / "config.json").read_text(encoding="utf-8"), "weights": sizes}}


def _describe_training(config: Any) -> str:
    return f"train {config['model']} for up to {config['epochs']} epochs at learning rate {config['learning_rate']}"


def _warn_of_untrained_items(run: Run) -> None:
    trained = set(run.data.histories.items.tolist())
    untrained = len(run.data.item_tokens) - len(trained)
    if untrained:
        getLogger().warning(
            f"{untrained} of {len(run.data.item_tokens)} items have no training interaction; their stage-0 embeddings "
            "are learned as negatives only"
        )
