"""LLM baselines of Table 2 as stages: what an LLM is fine-tuned for, and the ranks that it gives."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from recbole_tslrec.baselines.settings import E4SRecSettings
from recbole_tslrec.compute import distributed
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.held_out import held_out
from recbole_tslrec.evaluation.result_files import write_evaluation
from recbole_tslrec.evaluation.settings import EvaluationSettings
from recbole_tslrec.evaluation.trained_model import rank_held_out
from recbole_tslrec.llm.identity import llm_content
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.pipeline.evaluate import RowSettings
from recbole_tslrec.pipeline.stage import Inputs, Stage
from recbole_tslrec.pipeline.stage_0 import data_config
from recbole_tslrec.pipeline.stage_1 import check_imports, stage_0_rows
from recbole_tslrec.store.artifacts import write_item_table


def llm_task(config: Any) -> Stage:
    """E4SRec: fine-tune an LLM on one prompt an interaction."""
    settings = E4SRecSettings.of(config)
    engine = settings.engine

    def build(inputs: Inputs, folder: Path) -> Mapping[str, Any]:
        from recbole_tslrec.baselines.e4srec import NextItems, next_item_task
        from recbole_tslrec.sft.fine_tuning import fine_tune

        data = inputs.data
        rows = held_out(data, "valid")
        valid = NextItems(rows.items, rows.start, rows.start + rows.length, rows.target)
        embeddings = stage_0_rows(inputs.parents["item_embeddings"], data.dataset)
        report = fine_tune(engine, next_item_task(settings, data.histories, embeddings, valid), folder)
        if distributed.is_main():  # with what is needed to rank, beside what was trained
            write_item_table(folder, data.item_tokens, {"item_embeddings": embeddings[1:]})
        return report

    def check(data: Data) -> None:
        with check_imports():
            from recbole_tslrec.baselines.e4srec import check_next_item_prompt
            from recbole_tslrec.llm.loading import check_llm
        data.check_histories()
        check_llm(engine.llm, engine.lora)
        check_next_item_prompt(settings)

    about = (
        f"fine-tune {engine.llm.llm_name_or_path} as E4SRec on one prompt per interaction, {engine.sft_epochs} epochs"
    )
    return Stage(
        "llm_task",
        about,
        settings,
        ("item_embeddings",),
        build,
        lambda data, hashes: llm_content(engine.llm, hashes),
        check,
        shared=True,
    )


def evaluation(config: Any) -> Stage:
    """The metrics of an LLM baseline on the validation and test items, full ranking, in each history mode."""
    settings, row = E4SRecSettings.of(config), parse_model_name(config["model"]).family.name
    rows = RowSettings(row, EvaluationSettings.of(config))
    named = data_config(config)

    def build(inputs: Inputs, folder: Path) -> None:
        from recbole_tslrec.baselines.e4srec import load_ranker

        artifact = inputs.parents["llm_task"]
        model = load_ranker(settings, artifact.folder, stage_0_rows(artifact, inputs.data.dataset), named)
        rank = partial(rank_held_out, model, show_progress=config["show_progress"])
        write_evaluation(folder, config, inputs.data, row, rank)

    return Stage("evaluation", f"rank with {row}", rows, ("llm_task",), build)
