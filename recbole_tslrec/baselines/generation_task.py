"""What P5 and POD share: a T5, trained in full, that generates items."""

from collections.abc import Callable
from pathlib import Path

from recbole_tslrec.baselines.generation_examples import ItemObjective
from recbole_tslrec.baselines.generation_network import GenerationNetwork
from recbole_tslrec.baselines.item_generator import ItemGenerator, PromptText
from recbole_tslrec.baselines.item_vocabulary import Vocabulary
from recbole_tslrec.baselines.settings import P5Settings, PODSettings
from recbole_tslrec.baselines.words import MOST_WORDS
from recbole_tslrec.compute.random_state import isolated_random_state
from recbole_tslrec.llm.encoder_decoder import load_t5, load_t5_config
from recbole_tslrec.llm.settings import LLMSettings
from recbole_tslrec.sft.checkpoint import CHECKPOINT, load_trained_weights
from recbole_tslrec.sft.task import EpochExamples, StepExamples, Task


def generation_task(
    name: str,
    settings: P5Settings | PODSettings,
    vocabulary: Vocabulary,
    network: Callable[[], GenerationNetwork],
    train: EpochExamples,
    valid: StepExamples,
) -> Task:
    """A task of a T5; the epoch is chosen by the loss of the validation items.

    Args:
        name: for messages.
        settings: the settings of the task.
        vocabulary: the tokens.
        network: makes the untrained network.
        train: what is trained on.
        valid: the validation items.

    Raises:
        LLMError: the T5's configuration cannot be loaded.
    """
    llm_config = load_t5_config(settings.engine.llm, vocabulary.size)
    return Task(name, ItemObjective(), network, llm_config, 0, 0, train, valid, settings.recipe(), trains_llm=True)


def build_network(llm: LLMSettings, vocabulary: Vocabulary, soft_prompts: int = 0, tasks: int = 1) -> GenerationNetwork:
    """The untrained network.

    Args:
        llm: which T5.
        vocabulary: the tokens.
        soft_prompts: learned vectors before the prompt, for each task.
        tasks: how many tasks there are.
    """
    t5 = load_t5(llm, vocabulary.size, vocabulary.fresh)
    with isolated_random_state(llm.seed):
        return GenerationNetwork(t5, MOST_WORDS, soft_prompts, tasks).to(llm.device)


def trained_generator(
    network: GenerationNetwork, vocabulary: Vocabulary, folder: Path, prompt: PromptText, beams: int, task: int
) -> ItemGenerator:
    """What the artifact of a task generates with; for the other arguments see :class:`ItemGenerator`.

    Args:
        network: untrained.
        vocabulary: the tokens.
        folder: the artifact.
        prompt: the text of a user and a history.
        beams: items that are generated.
        task: the number of the task.
    """
    load_trained_weights(network, folder / CHECKPOINT)
    return ItemGenerator(network, vocabulary, prompt, beams, task)
