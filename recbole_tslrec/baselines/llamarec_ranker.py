"""LlamaRec in use: the candidates' letters, and with them the scores of all items."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_tslrec.baselines.llamarec import LetterObjective, Retrieved, retrieved_examples
from recbole_tslrec.baselines.next_items import most_recent
from recbole_tslrec.baselines.ranking_network import RankingNetwork, build_ranking_network
from recbole_tslrec.baselines.ranking_prompt import CANDIDATES, RankingPrompt
from recbole_tslrec.baselines.settings import LlamaRecSettings
from recbole_tslrec.llm.adapters import merge_adapters
from recbole_tslrec.sft.batching import TokenBudget, split_step
from recbole_tslrec.sft.checkpoint import CHECKPOINT, load_trained_weights
from recbole_tslrec.sft.cost import tokens_together
from recbole_tslrec.sft.examples import TARGET


def load_ranker(settings: LlamaRecSettings, prompt: RankingPrompt, folder: Path) -> RankingNetwork:
    """What the artifact of the task ranks with: adapters merged, the instruction's states computed once."""
    network = build_ranking_network(settings.engine, prompt)
    load_trained_weights(network, folder / CHECKPOINT)
    merge_adapters(network.eval().encoder)
    network.encoder.compute_prefix_once()
    return network


def combined_scores(retriever: Tensor, candidates: Tensor, probabilities: Tensor) -> Tensor:
    """The retriever's scores, above all of them the candidates in the order of the ranker.

    Args:
        retriever: scores of all items, [B, N + 1].
        candidates: item ids, 0 behind where there are fewer, int64 [B, 20].
        probabilities: of the candidates, [B, 20].

    Returns:
        [B, N + 1]; column 0, the pad's, is minus infinity.
    """
    top = retriever[:, 1:].max(dim=1, keepdim=True).values
    order = probabilities.argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # [B, 20], 0 for the first
    # their places and not their probabilities, between which float32 has no numbers beside a large score; what is no
    # number stays none
    scores = retriever.scatter(1, candidates, top + (probabilities.shape[1] - order) + 0 * probabilities)
    scores[:, 0] = -torch.inf
    return scores


@torch.no_grad()
def candidate_probabilities(
    settings: LlamaRecSettings, prompt: RankingPrompt, network: RankingNetwork, rows: Retrieved
) -> Tensor:
    """The softmax over the letters of each row's candidates, [R, 20]; 0 for letters without a candidate.

    Args:
        settings: the settings of the task.
        prompt: the tokens of all parts.
        network: fine-tuned, in evaluation mode.
        rows: histories and candidates.
    """
    examples = retrieved_examples(settings, prompt, rows)
    device = network.encoder.instruction.device
    objective = LetterObjective(torch.from_numpy(prompt.letters), prompt.end)
    budget = TokenBudget(tokens_together(settings.engine, device), network.shared_tokens, network.layout)
    everyone = np.arange(len(rows.target))
    found = torch.zeros(len(everyone), CANDIDATES, device=device)
    for micro_batch in split_step(everyone, examples.token_counts, budget):
        inputs = examples.interaction(micro_batch.examples).to(device).interaction
        count = inputs.pop(TARGET)[:, 1]
        _, scores = network(**inputs)
        found[torch.from_numpy(micro_batch.examples).to(device)] = objective.probabilities(scores[:, 0], count)
    return found


class LlamaRecRanker(nn.Module):
    """Scores of all items for held-out rows: the retriever's, and above them the candidates by the LLM.

    Args:
        retriever: the model that found the candidates.
        candidates: item ids of the rows that are asked for, one batch after the other, int64 [R, 20].
        probabilities: of the candidates, from :func:`candidate_probabilities`, [R, 20].
    """

    def __init__(self, retriever: Any, candidates: Tensor, probabilities: Tensor) -> None:
        super().__init__()
        self.retriever = retriever
        self.candidates = candidates
        self.probabilities = probabilities
        self.n_items = retriever.n_items
        self.start = 0

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """The scores of all items, [B, N + 1]; of rows in the order of the candidates."""
        retrieved = self.retriever.full_sort_predict(interaction)
        part = slice(self.start, self.start + len(interaction))
        self.start += len(interaction)
        scores = retrieved.view(len(interaction), -1)
        candidates, probabilities = (values[part].to(scores.device) for values in (self.candidates, self.probabilities))
        return combined_scores(scores, candidates, probabilities.to(scores.dtype))


class LlamaRecScorer(nn.Module):
    """Scores of all items for any histories, of which it finds the candidates itself; for a model in use.

    Args:
        settings: the settings of the task.
        prompt: the tokens of all parts.
        network: fine-tuned.
        retriever: the model that finds the candidates.
        max_items: the most recent items that it sees.
    """

    def __init__(
        self,
        settings: LlamaRecSettings,
        prompt: RankingPrompt,
        network: RankingNetwork,
        retriever: Any,
        max_items: int,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.prompt = prompt
        self.network = network
        self.retriever = retriever
        self.max_items = max_items
        self.ITEM_SEQ, self.ITEM_SEQ_LEN = retriever.ITEM_SEQ, retriever.ITEM_SEQ_LEN

    @torch.no_grad()
    def full_sort_predict(self, interaction: Any) -> Tensor:
        """The scores of all items from whole histories, [B, N + 1]; no candidate is in its history."""
        item_seq, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]  # [B, L] and [B]
        recent, seen = most_recent(item_seq, length, self.max_items)
        is_item = torch.arange(recent.shape[1], device=seen.device) < seen.unsqueeze(1)
        rows = nn.functional.pad(recent * is_item, (0, self.max_items - recent.shape[1]))  # some networks need all L
        inputs = Interaction({self.ITEM_SEQ: rows, self.ITEM_SEQ_LEN: seen})
        scores = self.retriever.full_sort_predict(inputs).view(len(item_seq), -1)
        unseen = scores.scatter(1, item_seq, -torch.inf)
        unseen[:, 0] = -torch.inf
        best = unseen.topk(min(CANDIDATES, unseen.shape[1]), dim=1)
        candidates = torch.where(best.values.isfinite(), best.indices, 0)
        candidates = nn.functional.pad(candidates, (0, CANDIDATES - candidates.shape[1]))  # [B, 20]
        histories = [items[:n].numpy() for items, n in zip(item_seq.cpu(), length.tolist(), strict=True)]
        retrieved = Retrieved(histories, candidates.cpu().numpy(), np.zeros(len(histories), dtype=np.int64))
        found = candidate_probabilities(self.settings, self.prompt, self.network, retrieved)
        return combined_scores(scores, candidates, found.to(scores))
