"""LlamaRec (Yue et al., 2023): an ID-based retriever's candidates, ranked by an LLM that says a letter.

The retriever is any model of this package (the published one is LRURec). The LLM learns, for every training interaction
but a user's first, to name the next item among 19 drawn ones by its letter. Unlike the published ranker: candidates do
not repeat, and prompts lie in a prefix row, so that the instruction is computed once a micro-batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from recbole_tslrec.baselines.candidates import FirstPlaces, with_negatives
from recbole_tslrec.baselines.ranking_examples import DrawnCandidates, RankingExamples
from recbole_tslrec.baselines.ranking_network import RankingNetwork, build_ranking_network
from recbole_tslrec.baselines.ranking_prompt import CANDIDATES, MOST_HISTORY, RankingPrompt, build_ranking_prompt
from recbole_tslrec.baselines.ranks import ndcg_of_ranks
from recbole_tslrec.baselines.settings import LlamaRecSettings
from recbole_tslrec.data.histories import Histories
from recbole_tslrec.llm.adapters import merge_adapters
from recbole_tslrec.llm.item_text import read_item_texts
from recbole_tslrec.llm.loading import context_length, load_llm_config, load_tokenizer
from recbole_tslrec.llm.settings import ItemTextSettings
from recbole_tslrec.sft.batching import TokenBudget, split_step
from recbole_tslrec.sft.checkpoint import load_trained_weights
from recbole_tslrec.sft.cost import MOST_TOKENS
from recbole_tslrec.sft.examples import TARGET
from recbole_tslrec.sft.task import Task
from recbole_tslrec.sft.trainer import CHECKPOINT
from recbole_tslrec.store.files import hash_arrays

Integers = NDArray[np.int64]
TITLE = "title"  # the column of an item's name, where prompt_item_text names none
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
        own = letters.gather(1, target[:, :1])
        rank = 1 + (letters > own).sum(dim=1)
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
    llm_config = load_llm_config(engine.llm)
    check_context(prompt, context_length(llm_config))
    if not valid.hit.any():
        raise ValueError(
            f"the retriever found none of {len(valid.target)} validation items among its {CANDIDATES} best, so that "
            "there is nothing to choose the epoch by; train the retriever longer, or choose another --retriever"
        )
    train = training_examples(settings, prompt, histories, item_count)
    objective = LetterObjective(torch.from_numpy(prompt.letters), prompt.end)
    instruction = torch.from_numpy(prompt.instruction)
    return Task(
        "LlamaRec",
        objective,
        partial(build_ranking_network, engine, instruction, prompt.most_tokens),
        llm_config,
        len(instruction),
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
    user = np.repeat(np.arange(len(histories)), histories.lengths)
    place = np.arange(len(user)) - histories.offsets[user]
    ends = np.flatnonzero(place > 0)
    user, place = user[ends], place[ends]
    starts = np.maximum(histories.offsets[user], ends - MOST_HISTORY)
    target = histories.items[ends]
    firsts = FirstPlaces.of(histories, item_count)

    def of_epoch(epoch: int) -> RankingExamples:
        random = np.random.default_rng([engine.llm.seed, epoch])
        candidates, answer = with_negatives(firsts, user, place, target, CANDIDATES, random)
        return RankingExamples(
            prompt,
            histories.items,
            starts,
            ends,
            candidates,
            answer,
            np.arange(len(ends)),
            engine.sft_batch_size,
            engine.llm.seed,
        )

    return DrawnCandidates(of_epoch, len(ends), prompt.most_tokens - len(prompt.instruction))


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


def combined_scores(retriever: Tensor, candidates: Tensor, probabilities: Tensor) -> Tensor:
    """The retriever's scores, above all of them the candidates by the ranker.

    Args:
        retriever: scores of all items, [B, N + 1].
        candidates: item ids, 0 behind where there are fewer, int64 [B, 20].
        probabilities: of the candidates, [B, 20].

    Returns:
        [B, N + 1]; column 0, the pad's, is minus infinity.
    """
    top = retriever[:, 1:].max(dim=1, keepdim=True).values
    scores = retriever.scatter(1, candidates, top + 1 + probabilities)
    scores[:, 0] = -torch.inf
    return scores


@torch.no_grad()
def candidate_probabilities(network: RankingNetwork, examples: RankingExamples, tokens_per_batch: int) -> Tensor:
    """The softmax over the letters of each prompt's candidates, [E, 20]; 0 for letters without a candidate.

    Args:
        network: fine-tuned, in evaluation mode.
        examples: the prompts.
        tokens_per_batch: that go through the LLM at once.
    """
    device = network.encoder.instruction.device
    objective = LetterObjective(torch.from_numpy(examples.prompt.letters), examples.prompt.end)
    budget = TokenBudget(tokens_per_batch, network.shared_tokens, network.layout)
    found = torch.zeros(len(examples.answer), CANDIDATES, device=device)
    for micro_batch in split_step(np.arange(len(examples.answer)), examples.token_counts, budget):
        inputs = examples.interaction(micro_batch.examples).to(device).interaction
        count = inputs.pop(TARGET)[:, 1]
        _, scores = network(**inputs)
        found[torch.from_numpy(micro_batch.examples).to(device)] = objective.probabilities(scores[:, 0], count)
    return found


def load_ranker(settings: LlamaRecSettings, prompt: RankingPrompt, folder: Path) -> RankingNetwork:
    """What the artifact of the task ranks with: adapters merged, the instruction's states computed once."""
    network = build_ranking_network(settings.engine, torch.from_numpy(prompt.instruction), prompt.most_tokens)
    load_trained_weights(network, folder / CHECKPOINT)
    merge_adapters(network.eval().encoder)
    network.encoder.compute_prefix_once()
    return network


def load_prompt(settings: LlamaRecSettings, tokens: Sequence[str]) -> RankingPrompt:
    """The prompt's parts in the tokens of the LLM, with the titles of the items.

    Args:
        settings: the settings of the task.
        tokens: the external tokens of the items 1..N.

    Raises:
        ValueError: a letter is no token of its own; there are fewer items than candidates.
        LLMError: the tokenizer cannot be loaded.
    """
    if len(tokens) < CANDIDATES:
        raise ValueError(
            f"LlamaRec ranks {CANDIDATES} candidates, and the dataset has {len(tokens)} items; take a larger dataset"
        )
    return build_ranking_prompt(
        load_tokenizer(settings.engine.llm), item_titles(settings.text, tokens), settings.ranker_title_tokens
    )


def item_titles(settings: ItemTextSettings, tokens: Sequence[str]) -> list[str]:
    """The words of an item: its columns ``prompt_item_text``, else its title, else ``item <token>``, with a warning."""
    titled = replace(settings, prompt_item_text=settings.columns or [TITLE])
    try:
        found = read_item_texts(titled, tokens)
    except ValueError:
        if settings.columns:
            raise
        getLogger().warning(
            f"[{settings.dataset}] has no titles (column {TITLE} in its .item file): items are called by their ids, "
            "of which an LLM knows nothing"
        )
        found = [""] * len(tokens)
    return [text or f"item {token}" for text, token in zip(found, tokens, strict=True)]


def title_content(settings: ItemTextSettings, tokens: Sequence[str]) -> dict[str, str]:
    """What a recipe says of the titles: a hash of them."""
    return {"titles": hash_arrays(np.array(item_titles(settings, tokens)))}


class LlamaRecRanker(nn.Module):
    """Scores of all items: the retriever's, and above them the candidates by the LLM.

    Args:
        settings: the settings of the task.
        prompt: the tokens of all parts.
        network: fine-tuned.
        retriever: the model that found the candidates.
        rows: the candidates of the rows that are asked for, one batch after the other.
    """

    def __init__(
        self,
        settings: LlamaRecSettings,
        prompt: RankingPrompt,
        network: RankingNetwork,
        retriever: Any,
        rows: Retrieved,
    ) -> None:
        super().__init__()
        self.retriever = retriever
        self.candidates = torch.from_numpy(rows.candidates)
        tokens = settings.engine.sft_tokens_per_batch or MOST_TOKENS["cpu"]
        self.probabilities = candidate_probabilities(network, retrieved_examples(settings, prompt, rows), tokens)
        self.n_items = retriever.n_items
        self.start = 0

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """The scores of all items, [B, N + 1]; of rows in the order of ``rows``."""
        retrieved = self.retriever.full_sort_predict(interaction)
        part = slice(self.start, self.start + len(interaction))
        self.start += len(interaction)
        scores = retrieved.view(len(interaction), -1)
        candidates, probabilities = (values[part].to(scores.device) for values in (self.candidates, self.probabilities))
        return combined_scores(scores, candidates, probabilities.to(scores.dtype))
