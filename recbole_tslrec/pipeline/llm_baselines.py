"""LLM baselines of Table 2 as stages: what an LLM is fine-tuned for, and the ranks that it gives.

E4SRec    backbone -> item_embeddings -> llm_task -> evaluation
LlamaRec  (the stages of its retriever) -> retriever -> ranker -> evaluation
P5, POD   index -> llm_task -> evaluation
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from recbole_tslrec.baselines.next_items import Instances, NextItems
from recbole_tslrec.baselines.ranking_prompt import CANDIDATES
from recbole_tslrec.baselines.settings import (
    E4SRecSettings,
    LlamaRecSettings,
    P5IndexSettings,
    P5Settings,
    PODSettings,
    RetrieverSettings,
)
from recbole_tslrec.compute import distributed
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.generated_items import rank_generated
from recbole_tslrec.evaluation.held_out import PARTS, HeldOut, held_out
from recbole_tslrec.evaluation.history_modes import Ranks, ranks_all_items
from recbole_tslrec.evaluation.result_files import write_evaluation
from recbole_tslrec.evaluation.settings import EvaluationSettings
from recbole_tslrec.evaluation.trained_model import best_unseen, rank_held_out
from recbole_tslrec.llm.identity import llm_content
from recbole_tslrec.models.families import LLAMAREC, Family
from recbole_tslrec.models.names import parse_model_name
from recbole_tslrec.pipeline.evaluate import RowSettings, load_trained, trained_kinds
from recbole_tslrec.pipeline.stage import Inputs, Stage
from recbole_tslrec.pipeline.stage_0 import data_config, recommender_settings
from recbole_tslrec.pipeline.stage_1 import check_imports, stage_0_rows
from recbole_tslrec.settings import ConfigError, derive
from recbole_tslrec.settings.recommender import RecommenderSettings
from recbole_tslrec.store.artifacts import rows_of_tokens, write_item_table
from recbole_tslrec.store.files import write_json

_PATHS = "paths.json"  # of an index: the path of each item, in the order of its tokens


@dataclass(frozen=True)
class LLMBaseline:
    """One baseline.

    Attributes:
        stages: what makes each of its own stages.
        ranker: from the configuration and the artifacts to a function that gives ranks.
        parents: from the configuration to the kinds of the artifacts that the ranker reads.
        candidates: from the configuration to how many items of a user it can put in order; ``None`` for all.
    """

    stages: Mapping[str, Callable[[Any], Stage]]
    ranker: Callable[[Any, Inputs], Callable[[HeldOut], Ranks]]
    parents: Callable[[Any], tuple[str, ...]]
    candidates: Callable[[Any], int | None] = lambda config: None


def upstream(config: Any) -> Any:
    """The configuration of the recommender that a model starts from: LlamaRec's is its retriever's."""
    is_llamarec = parse_model_name(config["model"]).family is LLAMAREC
    return derive(config, model=config["retriever"], **config.without_family) if is_llamarec else config


def check_full_ranking(config: Any) -> None:
    """Refuse an evaluation on drawn items, which the baselines do not have.

    Raises:
        ConfigError: names the key.
    """
    if not ranks_all_items(config["eval_args"]):
        raise ConfigError(
            f"{config['model']} ranks all items, and eval_args mode {config['eval_args']['mode']} draws some; leave "
            "mode out, or set it to full"
        )


def evaluation(config: Any, family: Family) -> Stage:
    """The metrics of an LLM baseline on the validation and test items, full ranking, in each history mode."""
    baseline = BASELINES[family.name]
    settings = RowSettings(family.name, EvaluationSettings.of(config))

    def build(inputs: Inputs, folder: Path) -> dict[str, Any]:
        rank, candidates = baseline.ranker(config, inputs), baseline.candidates(config)
        coverage = {}

        def covered(rows: HeldOut) -> Ranks:
            ranks = rank(rows)
            coverage[part_of(inputs, rows)] = float((ranks.unmasked <= (candidates or rows.item_count)).mean())
            return ranks

        write_evaluation(folder, config, inputs.data, family.name, covered)
        return {"candidates": candidates, "candidate_coverage": coverage}

    return Stage("evaluation", f"rank with {family.name}", settings, baseline.parents(config), build)


# E4SRec


def _e4srec_task(config: Any) -> Stage:
    settings = E4SRecSettings.of(config)
    engine = settings.engine

    def build(inputs: Inputs, folder: Path) -> Mapping[str, Any]:
        from recbole_tslrec.baselines.e4srec import next_item_task
        from recbole_tslrec.sft.fine_tuning import fine_tune

        data = inputs.data
        embeddings = stage_0_rows(inputs.parents["item_embeddings"], data.dataset)
        task = next_item_task(settings, data.histories, embeddings, _next_items(held_out(data, "valid")))
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
    contents = partial(_llm_content, settings)
    return Stage("llm_task", about, settings, ("item_embeddings",), build, contents, check, shared=True)


def _e4srec_ranker(config: Any, inputs: Inputs) -> Callable[[HeldOut], Ranks]:
    from recbole_tslrec.baselines.e4srec import load_ranker

    task = inputs.parents["llm_task"]
    rows = stage_0_rows(task, inputs.data.dataset)
    model = load_ranker(E4SRecSettings.of(config), task.folder, rows, data_config(config))
    return partial(rank_held_out, model, show_progress=config["show_progress"])


# LlamaRec


def _retriever(config: Any) -> Stage:
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


def _ranker(config: Any) -> Stage:
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


def _llamarec_ranker(config: Any, inputs: Inputs) -> Callable[[HeldOut], Ranks]:
    from recbole_tslrec.baselines.llamarec import TITLES, load_prompt
    from recbole_tslrec.baselines.llamarec_ranker import LlamaRecRanker, load_ranker

    settings = LlamaRecSettings.of(config)
    ranker = inputs.parents["ranker"]
    title_of = dict(zip(ranker.item_tokens(), ranker.json(TITLES), strict=True))
    prompt = load_prompt(settings, [title_of[token] for token in inputs.data.item_tokens])
    network = load_ranker(settings, prompt, ranker.folder)
    retriever = load_trained(_retriever_settings(config), inputs).model

    def rank(rows: HeldOut) -> Ranks:
        model = LlamaRecRanker(settings, prompt, network, retriever, _retrieved(inputs, part_of(inputs, rows)))
        return rank_held_out(model, rows, config["show_progress"])

    return rank


# P5 and POD


def _index(config: Any) -> Stage:
    settings = P5IndexSettings.of(config)

    def build(inputs: Inputs, folder: Path) -> None:
        from recbole_tslrec.baselines.item_index import item_paths

        data = inputs.data
        paths = item_paths(settings, data.histories, len(data.item_tokens))
        write_item_table(folder, data.item_tokens, {})
        write_json(folder / _PATHS, paths)

    def check(data: Data) -> None:
        data.check_histories()

    return Stage("index", f"index the items: {settings.p5_index}", settings, (), build, check=check)


@dataclass(frozen=True)
class Generation:
    """What differs between the baselines that generate items.

    Attributes:
        name: for messages.
        settings: of the task.
        bare: whether a generated item is its number alone.
    """

    name: str
    settings: type[Any]
    bare: bool

    def task(self, config: Any) -> Stage:
        """The stage ``llm_task``."""
        settings = self.settings.of(config)
        engine = settings.engine

        def build(inputs: Inputs, folder: Path) -> Mapping[str, Any]:
            from recbole_tslrec.sft.fine_tuning import fine_tune

            data, rows = inputs.data, held_out(inputs.data, "valid")
            valid = Instances(users_of(data, rows), _next_items(rows))
            make_task, _ = self._functions()
            return fine_tune(
                engine, make_task(settings, self._vocabulary(settings, inputs), data.histories, valid), folder
            )

        def check(data: Data) -> None:
            with check_imports():
                from recbole_tslrec.llm.encoder_decoder import load_t5_config
            data.check_histories()
            load_t5_config(engine.llm)
            check_beams(settings.beams, config["topk"])

        about = f"fine-tune {engine.llm.llm_name_or_path} as {self.name} on items of a {settings.index.p5_index} index"
        contents = partial(_llm_content, settings)
        return Stage("llm_task", about, settings, ("index",), build, contents, check, shared=True)

    def ranker(self, config: Any, inputs: Inputs) -> Callable[[HeldOut], Ranks]:
        """Ranks in the lists that are generated."""
        settings = self.settings.of(config)
        _, load_generator = self._functions()
        vocabulary = self._vocabulary(settings, inputs)
        generator = load_generator(settings, vocabulary, inputs.parents["llm_task"].folder)

        def rank(rows: HeldOut) -> Ranks:
            users, found = users_of(inputs.data, rows), []
            starts = range(0, len(rows), settings.beam_batch_size)
            for start in tqdm(starts, "Generate items", disable=not config["show_progress"]):
                part = slice(start, min(start + settings.beam_batch_size, len(rows)))
                histories = [rows.items[a : a + n] for a, n in zip(rows.start[part], rows.length[part], strict=True)]
                found.append(rank_generated(rows, part, generator.generate(users[part].tolist(), histories)))
            return Ranks.joined(found)

        return rank

    def _functions(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """What makes the task and what loads a generator; here, since they import transformers."""
        from recbole_tslrec.baselines import p5, pod

        functions: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
            "P5": (p5.p5_task, p5.load_generator),
            "POD": (pod.pod_task, pod.load_generator),
        }
        return functions[self.name]

    def _vocabulary(self, settings: Any, inputs: Inputs) -> Any:
        from recbole_tslrec.baselines.item_vocabulary import vocabulary_of

        index = inputs.parents["index"]
        path_of = dict(zip(index.item_tokens(), index.json(_PATHS), strict=True))
        paths = [tuple(path_of[token]) for token in inputs.data.item_tokens]
        return vocabulary_of(settings.engine.llm, settings.index.p5_index, paths, self.bare)


def _next_items(rows: HeldOut) -> NextItems:
    return NextItems(rows.items, rows.start, rows.start + rows.length, rows.target)


def users_of(data: Data, rows: HeldOut) -> NDArray[np.int64]:
    """The place of each row's user among all users, int64 [R]."""
    place = {token: user for user, token in enumerate(data.full.user_tokens)}
    return np.array([place[token] for token in rows.user_tokens], dtype=np.int64)


def check_beams(beams: int, topk: Any) -> None:
    """Refuse fewer beams than the longest list that is evaluated.

    Raises:
        ConfigError: names both.
    """
    if beams < max(topk):
        raise ConfigError(
            f"beams [{beams}] give shorter lists than topk {list(topk)} asks for; set --beams={max(topk)} or more"
        )


def _llm_content(settings: Any, data: Data, hashes: Any) -> dict[str, str]:
    return llm_content(settings.engine.llm, hashes)


def part_of(inputs: Inputs, rows: HeldOut) -> str:
    """Which part of the dataset some rows are."""
    return PARTS[0] if rows.loader is inputs.data.loaders[1] else PARTS[1]


def _of_generation(config: Any) -> tuple[str, ...]:
    return ("index", "llm_task")


def _beams(config: Any) -> int:
    beams: int = config["beams"]
    return beams


BASELINES = {
    "E4SRec": LLMBaseline({"llm_task": _e4srec_task}, _e4srec_ranker, lambda config: ("llm_task",)),
    "LlamaRec": LLMBaseline(
        {"retriever": _retriever, "ranker": _ranker},
        _llamarec_ranker,
        lambda config: ("retriever", "ranker", *trained_kinds(config["retriever"])),
        lambda config: CANDIDATES,
    ),
    **{
        each.name: LLMBaseline({"index": _index, "llm_task": each.task}, each.ranker, _of_generation, _beams)
        for each in (Generation("P5", P5Settings, bare=False), Generation("POD", PODSettings, bare=True))
    },
}
