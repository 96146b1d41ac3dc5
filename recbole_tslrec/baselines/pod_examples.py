"""POD's training examples: the item behind a random part of a history, and a user's item among drawn ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.baselines.candidates import FirstPlaces, with_negatives
from recbole_tslrec.baselines.generation_examples import GenerationExamples, Prompt
from recbole_tslrec.baselines.item_vocabulary import Vocabulary
from recbole_tslrec.baselines.next_items import Instances, NextItems
from recbole_tslrec.baselines.settings import PODSettings
from recbole_tslrec.baselines.templates import Template
from recbole_tslrec.baselines.words import Tokens, joined
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.store.files import hash_arrays

Integers = NDArray[np.int64]
SEQUENTIAL_TASK, TOP_N_TASK = 0, 1
# of each task; the last one, of ids alone, is used when the model is
TEMPLATES = (
    (
        "What does {user} choose after {items} ?",
        "{user} has had {items} ; continue .",
        "Given {items} , predict the next item of {user} .",
        "{user} {items}",
    ),
    (
        "Which of {items} suits {user} best ?",
        "Choose one of {items} for {user} .",
        "{user} may like one of {items} ; name it .",
        "{user} {items}",
    ),
)
TEXTS = tuple(text for of_task in TEMPLATES for text in of_task)
BARE = -1


@dataclass(frozen=True)
class PODExamples:
    """The examples of an epoch: random parts of each user's history, and one list of candidates for each user.

    Attributes:
        settings: how many.
        vocabulary: the tokens.
        templates: the texts of each task.
        users: the tokens of the users' words.
        histories: the training part of every user.
    """

    settings: PODSettings
    vocabulary: Vocabulary
    templates: list[list[Template]]
    users: list[Tokens]
    histories: Histories

    @cached_property
    def eligible(self) -> Integers:
        """The users with two training interactions and more."""
        return np.flatnonzero(self.histories.lengths > 1)

    def __len__(self) -> int:
        return len(self.eligible) * (self.settings.pod_segments + 1)

    @property
    def longest_prompt(self) -> int:
        """As many tokens as a prompt can have at most, with its item."""
        items = max(self.settings.pod_candidates, self.settings.pod_max_items)
        own = max(template.own_tokens for of_task in self.templates for template in of_task)
        longest = [max(map(len, words)) for words in (self.vocabulary.items, self.users, self.vocabulary.generated)]
        return own + items * longest[0] + longest[1] + longest[2] + self.settings.pod_soft_prompts

    def in_epoch(self, epoch: int) -> GenerationExamples:
        """Those of an epoch."""
        random = np.random.default_rng([self.settings.engine.llm.seed, epoch])
        segments = self._segments(random)
        lists, positive = self._lists(random)
        template = random.integers(0, len(self.templates[0]), len(self))
        shown = [*segments.histories, *lists]
        task = np.repeat([SEQUENTIAL_TASK, TOP_N_TASK], [len(segments.target), len(positive)])
        user = np.concatenate([segments.user, self.eligible])
        return generation_examples(self, shown, task, template, user, np.concatenate([segments.target, positive]))

    def _segments(self, random: np.random.Generator) -> "Segments":
        """Random contiguous parts of histories, cut to the most recent items; the last item of each is the target."""
        user = np.repeat(self.eligible, self.settings.pod_segments)
        length = self.histories.lengths[user]
        first = random.integers(0, length - 1)
        last = random.integers(first + 1, length)
        first = np.maximum(first, last - self.settings.pod_max_items)
        offset = self.histories.offsets[user]
        histories = [self.histories.items[a:b] for a, b in zip(offset + first, offset + last, strict=True)]
        return Segments(user, histories, self.histories.items[offset + last])

    def _lists(self, random: np.random.Generator) -> tuple[list[Integers], Integers]:
        """A training item of each user among items that the user does not have in training."""
        user, lengths = self.eligible, self.histories.lengths
        positive = self.histories.items[self.histories.offsets[user] + random.integers(0, lengths[user])]
        firsts = FirstPlaces.of(self.histories, len(self.vocabulary.items))
        lists, _ = with_negatives(firsts, user, lengths[user], positive, self.settings.pod_candidates, random)
        return [of_user[of_user > 0] for of_user in lists], positive


@dataclass(frozen=True)
class Segments:
    """Parts of histories.

    Attributes:
        user: of each, int64 [S].
        histories: the items before the target.
        target: item ids, int64 [S].
    """

    user: Integers
    histories: list[Integers]
    target: Integers


def generation_examples(
    of: PODExamples, shown: Sequence[Integers], task: Integers, template: Integers, user: Integers, target: Integers
) -> GenerationExamples:
    """Examples of given contents.

    Args:
        of: with settings and tokens.
        shown: the items in the text of each.
        task: the number of its task, int64 [E].
        template: the number of its text, int64 [E].
        user: the number of its user, int64 [E].
        target: the item to generate, int64 [E].
    """
    vocabulary = of.vocabulary
    length = np.array([0, *map(len, vocabulary.items)])
    own = np.array([[each.own_tokens for each in of_task] for of_task in of.templates])
    user_tokens = np.array([len(tokens) for tokens in of.users])
    generated = np.array([0, *map(len, vocabulary.generated)])
    items = np.array([length[each].sum() for each in shown])

    def prompt(example: int) -> Prompt:
        values = [vocabulary.items[item - 1] for item in shown[example].tolist()]
        words, is_id = of.templates[task[example]][template[example]].fill(
            {"user": [of.users[user[example]]], "items": values}
        )
        return Prompt(joined(words, vocabulary.end, is_id), int(task[example]), int(target[example]))

    return GenerationExamples(
        prompt,
        items + own[task, template] + user_tokens[user] + generated[target] + of.settings.pod_soft_prompts,
        np.array([len(each) for each in shown]),
        vocabulary.generated,
        vocabulary.start,
        np.arange(len(target)),
        hash_arrays(np.concatenate(shown), task, template, user, target),
        of.settings.engine.sft_batch_size,
        of.settings.engine.llm.seed,
    )


def held_out_examples(of: PODExamples, valid: Instances) -> GenerationExamples:
    """The validation items behind their histories, in the text of ids alone."""
    rows: NextItems = valid.recent(of.settings.pod_max_items).rows
    shown = [rows.items[a:b] for a, b in zip(rows.starts, rows.ends, strict=True)]
    task = np.full(len(shown), SEQUENTIAL_TASK)
    template = np.full(len(shown), len(of.templates[SEQUENTIAL_TASK]) + BARE)
    return generation_examples(of, shown, task, template, valid.user, rows.target)
