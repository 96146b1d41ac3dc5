"""The stages of LlamaRec: those of its retriever, then ``retriever -> ranker -> evaluation``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_tslrec.baselines.ranking_prompt import CANDIDATES
from recbole_tslrec.baselines.settings import LlamaRecSettings, RetrieverSettings
from recbole_tslrec.compute import distributed
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.held_out import PARTS, HeldOut, held_out
from recbole_tslrec.evaluation.history_modes import Ranks
from recbole_tslrec.evaluation.trained_model import best_unseen, rank_held_out
from recbole_tslrec.llm.identity import llm_content
from recbole_tslrec.models.families import LLAMAREC
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.pipeline.evaluate import load_trained, trained_kinds
from recbole_tslrec.pipeline.llm_baselines.rows import part_of
from recbole_tslrec.pipeline.stage import Inputs, Stage
from recbole_tslrec.pipeline.stage_0 import recommender_settings
from recbole_tslrec.pipeline.stage_1 import check_imports
from recbole_tslrec.settings import derive
from recbole_tslrec.settings.recommender import RecommenderSettings
from recbole_tslrec.store.artifacts import rows_of_tokens, write_item_table
from recbole_tslrec.store.files import write_json


def upstream(config: Any) -> Any:
    """The configuration of the recommender that a model starts from: LlamaRec's is its retriever's."""
    is_llamarec = parse_model_name(config["model"]).family is LLAMAREC
    return derive(config, model=config["retriever"], **config.without_family) if is_llamarec else config


def retriever(config: Any) -> Stage:
    settings = _retriever_settings(config)

    def build(inputs: Inputs, folder: Path) -> dict[str, float]:
        data, found, coverage = inputs.data, {}, {}
        model = load_trained(settings, inputs).model
        for part in PARTS:
            rows = held_out(data, part)
            found[part] = best_unseen(model, rows, CANDIDATES, config["show_progress"])
            coverage[f"{part}_candidate_coverage"] = float((found[part] == rows.target[:, None]).any(axis=1).mean())
        write_item_table(folder, data.item_tokens, {part: torch.from_numpy(items) for part, items in found.items()})
        return coverage

    about = f"the {CANDIDATES} best items of {settings.model} for each user, without those of the history"
    return Stage("retriever", about, RetrieverSettings.of(config), trained_kinds(settings.model), build)


def _retriever_settings(config: Any) -> RecommenderSettings:
    name = parse_model_name(config["retriever"])
    return recommender_settings(upstream(config), str(name), name.family.settings)


def ranker(config: Any) -> Stage:
    settings = LlamaRecSettings.of(config)
    engine = settings.engine

    def build(inputs: Inputs, folder: Path) -> Mapping[str, Any]:
        from recbole_tslrec.baselines.llamarec import TITLES, item_titles, load_prompt, ranking_task
        from recbole_tslrec.sft.fine_tuning import fine_tune

        data = inputs.data
        titles = item_titles(settings.text, data.item_tokens)
        prompt = load_prompt(settings, titles)
        task = ranking_task(settings, prompt, data.histories, len(titles), _retrieved(inputs, "valid"))
        report = fine_tune(engine, task, folder)
        if distributed.is_main():  # with what is needed to rank, beside what was trained
            write_item_table(folder, data.item_tokens, {})
            write_json(folder / TITLES, titles)
        return report

    def check(data: Data) -> None:
        with check_imports():
            from recbole_tslrec.baselines.llamarec import check_context, item_titles, load_prompt
            from recbole_tslrec.llm.loading import check_llm, context_length, load_llm_config
        data.check_histories()
        check_llm(engine.llm, engine.lora)
        check_context(
            load_prompt(settings, item_titles(settings.text, data.item_tokens)),
            context_length(load_llm_config(engine.llm)),
        )

    def contents(data: Data, hashes: Any) -> dict[str, str]:
        from recbole_tslrec.baselines.llamarec import title_content

        return {**llm_content(engine.llm, hashes), **title_content(settings.text, data.item_tokens)}

    about = f"fine-tune {engine.llm.llm_name_or_path} to choose among {CANDIDATES} candidates by a letter"
    return Stage("ranker", about, settings, ("retriever",), build, contents, check, shared=True)


def _retrieved(inputs: Inputs, part: str) -> Any:
    from recbole_tslrec.baselines.llamarec import Retrieved

    artifact, rows = inputs.parents["retriever"], held_out(inputs.data, part)
    own = np.zeros(len(inputs.data.item_tokens) + 1, dtype=np.int64)  # of the artifact's item number the dataset's id
    place = rows_of_tokens(artifact.item_tokens(), inputs.data.item_tokens, artifact.folder).numpy()
    own[place + 1] = np.arange(1, len(own))
    histories = [rows.items[a : a + n] for a, n in zip(rows.start, rows.length, strict=True)]
    return Retrieved(histories, own[artifact.tensors()[part].numpy()], rows.target)


def ranks(config: Any, inputs: Inputs) -> Callable[[HeldOut], Ranks]:
    from recbole_tslrec.baselines.llamarec import TITLES, load_prompt
    from recbole_tslrec.baselines.llamarec_ranker import LlamaRecRanker, candidate_probabilities, load_ranker

    settings = LlamaRecSettings.of(config)
    artifact = inputs.parents["ranker"]
    title_of = dict(zip(artifact.item_tokens(), artifact.json(TITLES), strict=True))
    prompt = load_prompt(settings, [title_of[token] for token in inputs.data.item_tokens])
    network = load_ranker(settings, prompt, artifact.folder)
    retriever = load_trained(_retriever_settings(config), inputs).model

    def rank(rows: HeldOut) -> Ranks:
        retrieved = _retrieved(inputs, part_of(inputs, rows))
        probabilities = candidate_probabilities(settings, prompt, network, retrieved)
        model = LlamaRecRanker(retriever, torch.from_numpy(retrieved.candidates), probabilities)
        return rank_held_out(model, rows, config["show_progress"])

    return rank
