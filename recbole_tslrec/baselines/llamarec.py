"""LlamaRec (Yue et al., 2023): an ID-based retriever's candidates, ranked by an LLM that says a letter.

The retriever is any model of this package (the published one is LRURec). The LLM learns, for every training interaction
but a user's first, to name the next item among 19 drawn ones by its letter. Unlike the published ranker: candidates do
not repeat, and prompts lie in a prefix row, so that the instruction is computed once a micro-batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from logging import getLogger

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from recbole_tslrec.baselines.candidates import FirstPlaces, with_negatives
from recbole_tslrec.baselines.next_items import training_instances
from recbole_tslrec.baselines.ranking_examples import DrawnCandidates, RankingExamples
from recbole_tslrec.baselines.ranking_network import build_ranking_network
from recbole_tslrec.baselines.ranking_prompt import CANDIDATES, MOST_HISTORY, RankingPrompt, build_ranking_prompt
from recbole_tslrec.baselines.ranks import ndcg_of_ranks, ranks_of_targets
from recbole_tslrec.baselines.settings import LlamaRecSettings
from recbole_tslrec.baselines.title_words import title_tokenizer
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.data.item_information import TITLE_COLUMNS
from recbole_tslrec.llm.item_text import read_item_texts, read_titles
from recbole_tslrec.llm.loading import context_length, load_llm_config, load_tokenizer
from recbole_tslrec.llm.settings import ItemTextSettings
from recbole_tslrec.sft.task import Task
from recbole_tslrec.store.files import hash_arrays

Integers = NDArray[np.int64]
TITLES = "titles.json"  # of a ranker: in the order of its items
_CUTOFF = 10  # of the NDCG that chooses the epoch


@dataclass(frozen=True)
class LetterObjective:
    """The loss of the letter and of the end behind it; ranks among the letters of the candidates.

    Attributes:
        letters: their tokens, int64 [20].
        end: the token behind the answer.
    """

    letters: Tensor
    end: int

    def errors(self, scores: Tensor, target: Tensor) -> Tensor:
        """The mean of both cross entropies over the whole vocabulary.

        Args:
            scores: of the answer and of what stands behind it, [B, 2, V].
            target: the answer's place among the candidates, and how many there are, int64 [B, 2].

        Returns:
            [B].
        """
        letter = self.letters.to(scores.device)[target[:, 0]]
        wanted = torch.stack([letter, torch.full_like(letter, self.end)], dim=1)  # [B, 2]
        return cross_entropy(scores.transpose(1, 2), wanted, reduction="none").mean(dim=1)

    def metrics(self, scores: Tensor, target: Tensor) -> dict[str, Tensor]:
        """``ndcg@10`` and ``top1`` among the candidates, [B] each."""
        letters = self.probabilities(scores[:, 0], target[:, 1])  # [B, 20]
        rank = ranks_of_targets(letters, target[:, 0])
        return {f"ndcg@{_CUTOFF}": ndcg_of_ranks(rank, _CUTOFF), "top1": (rank == 1).float()}

    def probabilities(self, scores: Tensor, count: Tensor) -> Tensor:
        """The softmax over the letters of the candidates.

        Args:
            scores: of the answer, [B, V].
            count: candidates of each prompt, int64 [B].

        Returns:
            [B, 20]; 0 for letters without a candidate.
        """
        letters = scores[:, self.letters.to(scores.device)]
        place = torch.arange(CANDIDATES, device=scores.device)
        return letters.masked_fill(place >= count.unsqueeze(1), -torch.inf).softmax(dim=1)


@dataclass(frozen=True)
class Retrieved:
    """What the retriever found for some rows, and what came next.

    Attributes:
        histories: item ids before the target, of each row.
        candidates: item ids, best first, 0 behind where there are fewer, int64 [R, 20].
        target: item ids, int64 [R].
    """

    histories: list[Integers]
    candidates: Integers
    target: Integers

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Whether the target is among the candidates, [R]."""
        found: NDArray[np.bool_] = (self.candidates == self.target[:, None]).any(axis=1)
        return found


def ranking_task(
    settings: LlamaRecSettings, prompt: RankingPrompt, histories: Histories, item_count: int, valid: Retrieved
) -> Task:
    """The ranker's task.

    Args:
        settings: the settings of the task.
        prompt: the tokens of all parts.
        histories: the training part of every user.
        item_count: N.
        valid: the candidates for the validation items; the epoch is chosen by those whose target is among them.

    Raises:
        ValueError: a prompt may be longer than the context; the retriever found no validation item.
        LLMError: the LLM's configuration cannot be loaded.
    """
    engine = settings.engine
    llm_config = load_llm_config(engine.llm, prompt.vocabulary)
    check_context(prompt, context_length(llm_config))
    if not valid.hit.any():
        raise ValueError(
            f"the retriever found none of {len(valid.target)} validation items among its {CANDIDATES} best, so that "
            "there is nothing to choose the epoch by; train the retriever longer, or choose another --retriever"
        )
    train = training_examples(settings, prompt, histories, item_count)
    objective = LetterObjective(torch.from_numpy(prompt.letters), prompt.end)
    return Task(
        "LlamaRec",
        objective,
        partial(build_ranking_network, engine, prompt),
        llm_config,
        len(prompt.instruction),
        0,
        train,
        retrieved_examples(settings, prompt, valid),
        settings.recipe(),
        valid_metric=f"ndcg@{_CUTOFF}",
        report=lambda: {"valid_candidate_coverage": float(valid.hit.mean())},
    )


def check_context(prompt: RankingPrompt, context: int) -> None:
    """Refuse titles that may make a prompt longer than the LLM's context.

    Raises:
        ValueError: names the tokens that it needs.
    """
    if prompt.most_tokens > context:
        raise ValueError(
            f"{MOST_HISTORY} titles and {CANDIDATES} candidates make prompts of up to {prompt.most_tokens} tokens, and "
            f"the LLM's context holds {context}; lower --ranker_title_tokens, or choose an LLM with a longer context"
        )


def training_examples(
    settings: LlamaRecSettings, prompt: RankingPrompt, histories: Histories, item_count: int
) -> DrawnCandidates:
    """An example for each training interaction but a user's first, its candidates drawn anew in every epoch."""
    engine = settings.engine
    instances = training_instances(histories, MOST_HISTORY)
    user, rows = instances.user, instances.rows
    place = rows.ends - histories.offsets[user]
    firsts = FirstPlaces.of(histories, item_count)

    def of_epoch(epoch: int) -> RankingExamples:
        random = np.random.default_rng([engine.llm.seed, epoch])
        candidates, answer = with_negatives(firsts, user, place, rows.target, CANDIDATES, random)
        return RankingExamples(
            prompt,
            rows.items,
            rows.starts,
            rows.ends,
            candidates,
            answer,
            np.arange(len(user)),
            engine.sft_batch_size,
            engine.llm.seed,
        )

    return DrawnCandidates(of_epoch, len(user), prompt.most_tokens - len(prompt.instruction))


def retrieved_examples(settings: LlamaRecSettings, prompt: RankingPrompt, rows: Retrieved) -> RankingExamples:
    """Prompts of the retriever's candidates in their order; chosen are those whose target is among them."""
    recent = [history[-MOST_HISTORY:] for history in rows.histories]
    ends = np.cumsum([len(history) for history in recent])
    answer = (rows.candidates == rows.target[:, None]).argmax(axis=1)
    return RankingExamples(
        prompt,
        np.concatenate(recent),
        ends - [len(history) for history in recent],
        ends,
        rows.candidates,
        answer,
        np.flatnonzero(rows.hit),
        settings.engine.sft_batch_size,
        settings.engine.llm.seed,
    )


def load_prompt(settings: LlamaRecSettings, titles: Sequence[str]) -> RankingPrompt:
    """The prompt's parts in the tokens of the LLM; those of ``scratch`` are the words of titles.

    Args:
        settings: the settings of the task.
        titles: of the items 1..N, from :func:`item_titles`.

    Raises:
        ValueError: a letter is no token of its own; there are fewer items than candidates.
        LLMError: the tokenizer cannot be loaded.
    """
    if len(titles) < CANDIDATES:
        raise ValueError(
            f"LlamaRec ranks {CANDIDATES} candidates, and the dataset has {len(titles)} items; take a larger dataset"
        )
    llm = settings.engine.llm
    tokenizer = title_tokenizer(titles) if llm.is_scratch else load_tokenizer(llm)
    return build_ranking_prompt(tokenizer, titles, settings.ranker_title_tokens)


def item_titles(settings: ItemTextSettings, tokens: Sequence[str]) -> list[str]:
    """The words of an item: its columns ``prompt_item_text``, else its title, else ``item <token>``, with a warning.

    Args:
        settings: which columns, of which file.
        tokens: the external tokens of the items.

    Raises:
        ValueError: the columns that are named are not there, or no item has a text in them.
    """
    found = read_item_texts(settings, tokens) if settings.columns else read_titles(settings, tokens)
    if not any(found):
        getLogger().warning(
            f"[{settings.dataset}] has no titles (a column {', '.join(TITLE_COLUMNS)} in its .item file): items are "
            "called by their ids, of which an LLM knows nothing"
        )
    return [text or f"item {token}" for text, token in zip(found, tokens, strict=True)]


def title_content(settings: ItemTextSettings, tokens: Sequence[str]) -> dict[str, str]:
    """What a recipe says of the titles: a hash of them."""
    return {"titles": hash_arrays(np.array(item_titles(settings, tokens), dtype=object))}
