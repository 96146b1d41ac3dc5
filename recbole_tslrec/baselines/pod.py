"""POD (Li et al., CIKM 2023): P5's words distilled into soft prompts, learned vectors before each task's text.

Tasks are sequential (the item behind a random part of a history) and top-N (the user's item among 99 drawn ones);
explanations need reviews, which these datasets have not. Unlike the published one: the items' numbers are made of
training interactions alone, so are the drawn items, and the tasks share their steps rather than take turns.
"""

from functools import partial
from pathlib import Path

from recbole_tslrec.baselines.generation_network import GenerationNetwork
from recbole_tslrec.baselines.generation_task import build_network, generation_task, trained_generator
from recbole_tslrec.baselines.item_generator import ItemGenerator
from recbole_tslrec.baselines.item_vocabulary import Vocabulary, user_words
from recbole_tslrec.baselines.next_items import Instances
from recbole_tslrec.baselines.pod_examples import BARE, SEQUENTIAL_TASK, TEMPLATES, PODExamples, held_out_examples
from recbole_tslrec.baselines.settings import PODSettings
from recbole_tslrec.baselines.templates import Template
from recbole_tslrec.baselines.words import Text, Tokens, joined
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.sft.task import Task


def pod_task(settings: PODSettings, vocabulary: Vocabulary, histories: Histories, valid: Instances) -> Task:
    """The task; the epoch is chosen by the loss of the validation items in the text of ids alone.

    Args:
        settings: the settings of the task.
        vocabulary: the tokens.
        histories: the training part of every user.
        valid: the validation items.

    Raises:
        ValueError: no user has two training interactions.
        LLMError: the T5 cannot be loaded.
    """
    users = user_words(vocabulary, len(histories))
    train = PODExamples(settings, vocabulary, templates_of(vocabulary), users, histories)
    if not len(train):
        raise ValueError(
            "POD needs users with two training interactions, and there are none; take a dataset of longer histories"
        )
    network = partial(untrained_network, settings, vocabulary)
    return generation_task("POD", settings, vocabulary, network, train, held_out_examples(train, valid))


def untrained_network(settings: PODSettings, vocabulary: Vocabulary) -> GenerationNetwork:
    """A T5 with soft prompts for each task."""
    return build_network(settings.engine.llm, vocabulary, settings.pod_soft_prompts, len(TEMPLATES))


def load_generator(settings: PODSettings, vocabulary: Vocabulary, folder: Path) -> ItemGenerator:
    """What the artifact of the task generates with; the text is of ids alone."""
    network = untrained_network(settings, vocabulary)
    template = templates_of(vocabulary)[SEQUENTIAL_TASK][BARE]

    def prompt(user: Tokens, history: list[Tokens]) -> Text:
        words, is_id = template.fill({"user": [user], "items": history[-settings.pod_max_items :]})
        return joined(words, vocabulary.end, is_id)

    return trained_generator(network, vocabulary, folder, prompt, settings.beams, SEQUENTIAL_TASK)


def templates_of(vocabulary: Vocabulary) -> list[list[Template]]:
    """The texts of each task."""
    return [[Template.of(vocabulary.tokenizer, text) for text in texts] for texts in TEMPLATES]
