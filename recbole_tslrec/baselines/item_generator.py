"""A trained T5 in use: the items that it generates for users with histories."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.baselines.beam_search import beam_search
from recbole_tslrec.baselines.generation_examples import Prompt, inputs_of
from recbole_tslrec.baselines.generation_network import GenerationNetwork
from recbole_tslrec.baselines.item_vocabulary import Vocabulary
from recbole_tslrec.baselines.words import Text, Tokens, word_tokens

Integers = NDArray[np.int64]
PromptText = Callable[[Tokens, list[Tokens]], Text]


class ItemGenerator:
    """A trained network that generates items for users.

    Args:
        network: trained.
        vocabulary: the tokens.
        prompt: the text of a user's word and the words of the history's items.
        beams: items that are generated.
        task: the number of the task.
    """

    def __init__(
        self, network: GenerationNetwork, vocabulary: Vocabulary, prompt: PromptText, beams: int, task: int
    ) -> None:
        self.vocabulary = vocabulary
        self.prompt = prompt
        self.beams = beams
        self.task = task
        self.network = network.eval()
        self.device = network.whole_words.weight.device
        self.trie = vocabulary.trie.to(self.device)

    def generate(self, users: Sequence[int], histories: Sequence[Sequence[int]]) -> Integers:
        """The items of the highest log-probability.

        Args:
            users: numbers of users, from 0.
            histories: item ids before the next item.

        Returns:
            Item ids, best first, 0 behind where there are fewer, int64 [B, beams].
        """
        names = word_tokens(self.vocabulary.tokenizer, [f"user_{user + 1}" for user in users])
        prompts = []
        for name, history in zip(names, histories, strict=True):
            words = [self.vocabulary.items[item - 1] for item in history]
            prompts.append(Prompt(self.prompt(name, words), self.task, 0))
        inputs = {column: values.to(self.device) for column, values in inputs_of(prompts).items()}
        found = beam_search(self.network.decoder(**inputs), self.trie, len(prompts), self.beams)
        return found.item.cpu().numpy()
