"""The stages of E4SRec: ``backbone -> item_embeddings -> llm_task -> evaluation``."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from recbole_tslrec.baselines.settings import E4SRecSettings
from recbole_tslrec.compute import distributed
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.held_out import HeldOut, held_out
from recbole_tslrec.evaluation.history_modes import Ranks
from recbole_tslrec.evaluation.trained_model import rank_held_out
from recbole_tslrec.llm.identity import llm_content
from recbole_tslrec.pipeline.llm_baselines.rows import next_items
from recbole_tslrec.pipeline.stage import Inputs, Stage
from recbole_tslrec.pipeline.stage_0 import data_config
from recbole_tslrec.pipeline.stage_1 import check_imports, stage_0_rows
from recbole_tslrec.store.artifacts import write_item_table


def llm_task(config: Any) -> Stage:
    settings = E4SRecSettings.of(config)
    engine = settings.engine

    def build(inputs: Inputs, folder: Path) -> Mapping[str, Any]:
        from recbole_tslrec.baselines.e4srec import next_item_task
        from recbole_tslrec.sft.fine_tuning import fine_tune

        data = inputs.data
        embeddings = stage_0_rows(inputs.parents["item_embeddings"], data.dataset)
        task = next_item_task(settings, data.histories, embeddings, next_items(held_out(data, "valid")))
        report = fine_tune(engine, task, folder)
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

    about = f"fine-tune {engine.llm.llm_name_or_path} as E4SRec on one prompt per interaction"

    def contents(data: Data, hashes: Any) -> dict[str, str]:
        return llm_content(engine.llm, hashes)

    return Stage("llm_task", about, settings, ("item_embeddings",), build, contents, check, shared=True)


def ranker(config: Any, inputs: Inputs) -> Callable[[HeldOut], Ranks]:
    from recbole_tslrec.baselines.e4srec import load_ranker

    task = inputs.parents["llm_task"]
    rows = stage_0_rows(task, inputs.data.dataset)
    model = load_ranker(E4SRecSettings.of(config), task.folder, rows, data_config(config))
    return partial(rank_held_out, model, show_progress=config["show_progress"])
