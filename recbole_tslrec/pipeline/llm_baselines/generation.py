"""The stages of P5 and POD: ``index -> llm_task -> evaluation``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from recbole_tslrec.baselines.next_items import Instances
from recbole_tslrec.baselines.settings import P5IndexSettings
from recbole_tslrec.data.dataset import Data
from recbole_tslrec.evaluation.generated_items import rank_generated
from recbole_tslrec.evaluation.held_out import HeldOut, held_out
from recbole_tslrec.evaluation.history_modes import Ranks
from recbole_tslrec.llm.identity import llm_content
from recbole_tslrec.pipeline.llm_baselines.rows import next_items, users_of
from recbole_tslrec.pipeline.stage import Inputs, Stage
from recbole_tslrec.pipeline.stage_1 import check_imports
from recbole_tslrec.settings import ConfigError
from recbole_tslrec.store.artifacts import write_item_table
from recbole_tslrec.store.files import write_json

_PATHS = "paths.json"  # of an index: the path of each item, in the order of its tokens


def index(config: Any) -> Stage:
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


class Parts(NamedTuple):
    """What a baseline that generates items is made of.

    Attributes:
        task: makes its task.
        load_generator: what its artifact generates with.
        texts: all words of its prompts.
    """

    task: Callable[..., Any]
    load_generator: Callable[..., Any]
    texts: tuple[str, ...]


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
            valid = Instances(users_of(data, rows), next_items(rows))
            task = self._parts().task(settings, self._vocabulary(settings, inputs), data.histories, valid)
            return fine_tune(engine, task, folder)

        def check(data: Data) -> None:
            with check_imports():
                from recbole_tslrec.llm.encoder_decoder import check_t5
            check_beams(settings.beams, config["topk"])
            data.check_histories()
            check_t5(engine.llm)

        about = f"fine-tune {engine.llm.llm_name_or_path} as {self.name} on items of a {settings.index.p5_index} index"

        def contents(data: Data, hashes: Any) -> dict[str, str]:
            return llm_content(engine.llm, hashes)

        return Stage("llm_task", about, settings, ("index",), build, contents, check, shared=True)

    def ranker(self, config: Any, inputs: Inputs) -> Callable[[HeldOut], Ranks]:
        """Ranks in the lists that are generated."""
        settings = self.settings.of(config)
        vocabulary = self._vocabulary(settings, inputs)
        generator = self._parts().load_generator(settings, vocabulary, inputs.parents["llm_task"].folder)

        def rank(rows: HeldOut) -> Ranks:
            users, found = users_of(inputs.data, rows), []
            starts = range(0, len(rows), settings.beam_batch_size)
            for start in tqdm(starts, "Generate items", disable=not config["show_progress"]):
                part = slice(start, min(start + settings.beam_batch_size, len(rows)))
                histories = [rows.items[a : a + n] for a, n in zip(rows.start[part], rows.length[part], strict=True)]
                found.append(rank_generated(rows, part, generator.generate(users[part].tolist(), histories)))
            return Ranks.joined(found)

        return rank

    def _parts(self) -> Parts:
        """What makes it up; here, since it imports transformers."""
        from recbole_tslrec.baselines import p5, p5_prompts, pod, pod_examples

        parts = {
            "P5": Parts(p5.p5_task, p5.load_generator, p5_prompts.TEXTS),
            "POD": Parts(pod.pod_task, pod.load_generator, pod_examples.TEXTS),
        }
        return parts[self.name]

    def _vocabulary(self, settings: Any, inputs: Inputs) -> Any:
        from recbole_tslrec.baselines.item_vocabulary import vocabulary_of

        index = inputs.parents["index"]
        path_of = dict(zip(index.item_tokens(), index.json(_PATHS), strict=True))
        paths = [tuple(path_of[token]) for token in inputs.data.item_tokens]
        return vocabulary_of(settings.engine.llm, settings.index.p5_index, paths, self.bare, self._parts().texts)


def check_beams(beams: int, topk: Any) -> None:
    """Refuse fewer beams than the longest list that is evaluated.

    Raises:
        ConfigError: names both.
    """
    if beams < max(topk):
        raise ConfigError(
            f"beams [{beams}] give shorter lists than topk {list(topk)} asks for; set --beams={max(topk)} or more"
        )
