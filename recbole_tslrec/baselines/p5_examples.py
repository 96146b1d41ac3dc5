"""P5's training examples: instances in paraphrases, of two tasks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recbole_tslrec.baselines.generation_examples import GenerationExamples, Prompt
from recbole_tslrec.baselines.item_vocabulary import Vocabulary
from recbole_tslrec.baselines.next_items import Instances
from recbole_tslrec.baselines.p5_prompts import TRAINED
from recbole_tslrec.baselines.settings import P5Settings
from recbole_tslrec.baselines.templates import Template
from recbole_tslrec.baselines.words import Tokens, joined
from recbole_tslrec.store.files import hash_arrays

Integers = NDArray[np.int64]
SEQUENTIAL_TASK, STRAIGHTFORWARD_TASK = 0, 1


@dataclass(frozen=True)
class P5Examples:
    """Training examples: each instance in a number of paraphrases, others in every epoch unless it is all of them.

    Attributes:
        settings: how many, and which tasks.
        vocabulary: the tokens.
        templates: the paraphrases of each task.
        users: the tokens of the users' words.
        instances: what is predicted.
    """

    settings: P5Settings
    vocabulary: Vocabulary
    templates: list[list[Template]]
    users: list[Tokens]
    instances: Instances

    def __len__(self) -> int:
        return len(self.instances) * self.settings.p5_prompts * len(self.tasks)

    @property
    def tasks(self) -> list[int]:
        """The numbers of the tasks that are trained."""
        return [SEQUENTIAL_TASK, STRAIGHTFORWARD_TASK] if self.settings.p5_straightforward else [SEQUENTIAL_TASK]

    @property
    def longest_prompt(self) -> int:
        """The most tokens of a text and its item, in any paraphrase."""
        everyone = np.arange(len(self.instances))
        return max(int(self._counts(everyone, task, t).max()) for task in self.tasks for t in range(TRAINED))

    def in_epoch(self, epoch: int) -> GenerationExamples:
        """Those of an epoch."""
        random = np.random.default_rng([self.settings.engine.llm.seed, epoch])
        draws = [random.permuted(np.tile(np.arange(TRAINED), (len(self.instances), 1)), axis=1) for _ in self.tasks]
        template = np.concatenate([draw[:, : self.settings.p5_prompts].ravel() for draw in draws])
        of_task = len(self.instances) * self.settings.p5_prompts
        task = np.repeat(self.tasks, of_task)
        instance = np.tile(np.repeat(np.arange(len(self.instances)), self.settings.p5_prompts), len(self.tasks))
        return self.examples(instance, task, template, np.arange(len(instance)))

    def examples(self, instance: Integers, task: Integers, template: Integers, chosen: Integers) -> GenerationExamples:
        """Instances in given paraphrases.

        Args:
            instance: of each example, int64 [E].
            task: the number of its task, int64 [E].
            template: the number of its paraphrase, int64 [E].
            chosen: those that are trained on or evaluated.
        """
        rows, counts = self.instances.rows, np.empty(len(instance), dtype=np.int64)
        for kind in np.unique(np.stack([task, template], axis=1), axis=0).tolist():
            of_kind = np.flatnonzero((task == kind[0]) & (template == kind[1]))
            counts[of_kind] = self._counts(instance[of_kind], *kind)
        shown = (rows.ends - rows.starts)[instance] * (task == SEQUENTIAL_TASK)
        return GenerationExamples(
            lambda e: self.prompt(int(instance[e]), int(task[e]), int(template[e])),
            counts,
            shown,
            self.vocabulary.generated,
            self.vocabulary.start,
            chosen,
            hash_arrays(instance, task, template, rows.items, rows.starts, rows.ends, rows.target),
            self.settings.engine.sft_batch_size,
            self.settings.engine.llm.seed,
        )

    def prompt(self, instance: int, task: int, template: int) -> Prompt:
        """An instance in one paraphrase."""
        rows = self.instances.rows
        history = [self.vocabulary.items[item - 1] for item in rows.items[rows.starts[instance] : rows.ends[instance]]]
        user = self.users[self.instances.user[instance]]
        words, _ = self.templates[task][template].fill({"user": [user], "history": history})
        return Prompt(joined(words, self.vocabulary.end), task, int(rows.target[instance]))

    def _counts(self, instance: Integers, task: int, template: int) -> Integers:
        """Tokens of the text and the item of instances in one paraphrase."""
        rows, of_template = self.instances.rows, self.templates[task][template]
        length = np.array([0, *map(len, self.vocabulary.items)])
        generated = np.array([0, *map(len, self.vocabulary.generated)])
        before = np.concatenate([[0], np.cumsum(length[rows.items])])
        user = np.array([len(tokens) for tokens in self.users])
        counts: Integers = (
            of_template.own_tokens + user[self.instances.user[instance]] + generated[rows.target[instance]]
        )
        if "history" in of_template.gaps:
            counts = counts + before[rows.ends[instance]] - before[rows.starts[instance]]
        return counts
