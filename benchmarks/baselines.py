"""The LLM baselines against the batching of their originals, written as most people write it.

e4srec_epoch   Training steps of 16 prompts: the package's prefix row against rows with pads in the middle.
llamarec_rank  The letters of 20 candidates: the instruction computed once, scores where the letter is said, against
               rows padded on the left with scores of every position, in the batch that is fastest.
p5_beam        Ten items a user: encoder states once a user, many users at once, against transformers' ``generate`` with
               ``prefix_allowed_tokens_fn``, one user a call. Both find the same items.

Ratios are seconds of the original's over ours, on the same prompts.
"""

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.modeling_outputs import BaseModelOutput

import lengths
from measure import Report, arguments, say
from models import SEED, SMALL, LLMSize, build_llm, build_network
from recbole_tslrec.baselines.beam_search import beam_search
from recbole_tslrec.baselines.e4srec import MiddlePadded, NextItemObjective
from recbole_tslrec.baselines.generation_network import GenerationNetwork
from recbole_tslrec.baselines.item_trie import ItemTrie
from recbole_tslrec.baselines.ranking_network import RankingNetwork
from recbole_tslrec.compute.random_state import isolated_random_state
from recbole_tslrec.llm.layout import choose_layout
from recbole_tslrec.llm.segment_encoder import SegmentEncoder
from recbole_tslrec.llm.settings import PREFIX_ROW
from recbole_tslrec.sft.batching import TokenBudget, split_step
from recbole_tslrec.sft.cost import MOST_TOKENS
from recbole_tslrec.sft.prompt_lengths import random_examples, sample
from recbole_tslrec.sft.timed_runs import Training, budget_steps, random_steps
from recbole_tslrec.sft.timing import fastest, interleaved

Integers = NDArray[np.int64]
OURS, ORIGINAL = "recbole_tslrec", "original's batching"
CPU = torch.device("cpu")
E4SREC_STEP = 16  # prompts a step, as published
LETTERS = 20


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        size: of the decoder.
        t5: width, layers, heads and feed-forward width of the T5.
        case: of :data:`lengths.CASES`; whose histories and how many items.
        prompts: of E4SRec, in a run.
        ranked: users of LlamaRec, in a run.
        rank_batches: of the original's, to choose from.
        generated: users of P5, in a run.
        words: tokens of the vocabularies beside the items'.
        rounds: that count.
    """

    size: LLMSize = SMALL
    t5: tuple[int, int, int, int] = (128, 4, 4, 512)
    case: str = "beauty"
    prompts: int = 256
    ranked: int = 64
    rank_batches: Sequence[int] = (1, 4, 8, 16)
    generated: int = 64
    words: int = 32000
    rounds: int = 5


QUICK = Scale(prompts=128, ranked=32, rank_batches=(4, 16), generated=32, rounds=2)


def row(name: str, seconds: float, count: int, what: str) -> dict[str, Any]:
    """A row of a table."""
    return {"contender": name, "seconds": seconds, f"{what}/s": count / seconds}


# E4SRec


def measure_e4srec(scale: Scale, report: Report) -> None:
    """Training steps on prompts of Beauty's lengths."""
    data = lengths.load(scale.case)
    counts = sample(data.instance_items, scale.prompts)
    objective = NextItemObjective(data.items)
    targets = torch.from_numpy(np.random.default_rng(SEED).integers(0, data.items, scale.prompts))
    examples = random_examples(counts, data.items, targets, E4SREC_STEP, SEED)
    build = partial(build_network, size=scale.size, items=data.items, device=CPU, objective=objective)
    ours = build(build_llm(scale.size, CPU))
    original = build(build_llm(scale.size, CPU), encoder_class=MiddlePadded)
    steps = budget_steps(examples, MOST_TOKENS["cpu"], PREFIX_ROW, ours.shared_tokens, ours.closing_tokens)
    runs: dict[str, Callable[[], object]] = {
        OURS: Training(ours, examples, steps, CPU, objective),
        ORIGINAL: Training(original, examples, random_steps(examples, E4SREC_STEP), CPU, objective),
    }
    seconds = interleaved(runs, scale.rounds, CPU)
    report.add_table(
        "E4SRec: training steps of 16 prompts", [row(n, s, scale.prompts, "prompts") for n, s in seconds.items()]
    )
    report.add_ratios({"e4srec_epoch": seconds[ORIGINAL] / seconds[OURS]})


# LlamaRec


@dataclass(frozen=True)
class RankPrompts:
    """Prompts of random tokens.

    Attributes:
        instruction: which all share, int64 [P].
        segments: what is behind it, with the answer.
        letters: the tokens of the letters.
    """

    instruction: Tensor
    segments: list[Tensor]
    letters: Tensor


def rank_prompts(scale: Scale) -> RankPrompts:
    """Histories of at most 20 titles and 20 candidates; a title has 4 to 16 tokens, and a mark of 4."""
    random = np.random.default_rng(SEED)
    histories = np.minimum(sample(lengths.load(scale.case).inference_items, scale.ranked), LETTERS)
    tokens = [int((random.integers(4, 17, int(n) + LETTERS) + 4).sum()) + 10 for n in histories]
    vocabulary = scale.size.vocabulary
    instruction = torch.from_numpy(random.integers(0, vocabulary, 60))
    segments = [torch.from_numpy(random.integers(0, vocabulary, n)) for n in tokens]
    return RankPrompts(instruction, segments, torch.arange(LETTERS))


def letters_of_rows(network: RankingNetwork, prompts: RankPrompts, tokens_per_batch: int) -> Tensor:
    """The letters' scores, [U, 20]: ours."""
    counts = np.array([len(segment) for segment in prompts.segments])
    budget = TokenBudget(tokens_per_batch, len(prompts.instruction), network.layout)
    found = torch.empty(len(counts), LETTERS)
    for micro_batch in split_step(np.arange(len(counts)), counts, budget):
        chosen = [prompts.segments[user] for user in micro_batch.examples]
        tokens = pad_sequence(chosen, batch_first=True)
        with torch.inference_mode():
            _, scores = network(tokens, torch.tensor([len(segment) for segment in chosen]))
        found[micro_batch.examples] = scores[:, 0, prompts.letters]
    return found


def letters_of_padded(causal_lm: Any, prompts: RankPrompts, batch_size: int) -> Tensor:
    """The same from rows padded on the left, with the scores of every position."""
    found = []
    for start in range(0, len(prompts.segments), batch_size):
        whole = [
            torch.cat([prompts.instruction, segment[:-1]]) for segment in prompts.segments[start : start + batch_size]
        ]
        tokens = pad_sequence(whole, batch_first=True, padding_side="left")
        mask = pad_sequence([torch.ones_like(each) for each in whole], batch_first=True, padding_side="left")
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)
        with torch.inference_mode():
            scores = causal_lm(input_ids=tokens, attention_mask=mask, position_ids=places, use_cache=False).logits
        found.append(scores[:, -1, prompts.letters])
    return torch.cat(found)


def build_ranker(size: LLMSize, instruction: Tensor) -> tuple[RankingNetwork, Any]:
    """Both contenders, with the same weights."""
    with isolated_random_state(SEED):
        causal_lm: Any = transformers.AutoModelForCausalLM.from_config(size.config()).eval()
    original: Any = copy.deepcopy(causal_lm)
    network = RankingNetwork(SegmentEncoder(causal_lm.model, instruction), causal_lm.lm_head).eval()
    choose_layout(network.encoder, PREFIX_ROW)
    network.encoder.compute_prefix_once()
    return network, original


def measure_llamarec(scale: Scale, report: Report) -> None:
    """The letters of some users."""
    prompts = rank_prompts(scale)
    network, original = build_ranker(scale.size, prompts.instruction)
    batches = {size: partial(letters_of_padded, original, prompts, size) for size in scale.rank_batches}
    best = fastest(batches, CPU)
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: letters_of_rows(network, prompts, MOST_TOKENS["cpu"]),
        f"{ORIGINAL}, {best} rows": batches[best],
    }
    seconds = interleaved(runs, scale.rounds, CPU)
    report.add_table("LlamaRec: 20 candidates ranked", [row(n, s, scale.ranked, "users") for n, s in seconds.items()])
    ours, originals = seconds.values()
    report.add_ratios({"llamarec_rank": originals / ours})


# P5


@dataclass(frozen=True)
class BeamPrompts:
    """Prompts of random tokens for a T5, and the items.

    Attributes:
        tokens: of each user, one after the other.
        words: the number of the word that each belongs to.
        items: the tokens of the items 1..N, with their end.
    """

    tokens: list[Tensor]
    words: list[Tensor]
    items: list[list[int]]

    def columns(self, users: slice) -> dict[str, Tensor]:
        """What the network takes of some users."""
        tokens = self.tokens[users]
        return {
            "tokens": pad_sequence(tokens, batch_first=True),
            "words": pad_sequence(self.words[users], batch_first=True),
            "token_count": torch.tensor([len(each) for each in tokens]),
            "task": torch.zeros(len(tokens), dtype=torch.int64),
        }


def beam_prompts(scale: Scale) -> BeamPrompts:
    """Histories of at most 20 items; an item is three tokens of a collaborative index behind one that all have."""
    data = lengths.load(scale.case)
    random = np.random.default_rng(SEED)
    steps = scale.words + 1 + np.stack(np.unravel_index(np.arange(data.items), (32, 32, 32)), axis=1)
    items = [[2, *path, 1] for path in steps.tolist()]  # token 1 ends a T5's text
    histories = np.minimum(sample(data.inference_items, scale.generated), LETTERS)
    tokens = []
    for length in histories.tolist():
        history = [token for item in random.integers(0, data.items, length) for token in items[item][:-1]]
        tokens.append(torch.tensor([*random.integers(3, scale.words, 15).tolist(), *history]))
    return BeamPrompts(tokens, [torch.arange(len(each)) // 4 + 1 for each in tokens], items)


def build_generator(scale: Scale) -> GenerationNetwork:
    """A T5 of random weights, in evaluation mode."""
    width, layers, heads, feed_forward = scale.t5
    config = transformers.T5Config(
        vocab_size=scale.words + 33,
        d_model=width,
        d_kv=width // heads,
        d_ff=feed_forward,
        num_layers=layers,
        num_heads=heads,
        decoder_start_token_id=0,
    )
    with isolated_random_state(SEED):
        return GenerationNetwork(transformers.T5ForConditionalGeneration(config), 512).eval()


def items_of_beams(
    network: GenerationNetwork, prompts: BeamPrompts, trie: ItemTrie, beams: int, users: int
) -> Integers:
    """The items of each user, best first: ours, so many users at once."""
    found = []
    for start in range(0, len(prompts.tokens), users):
        columns = prompts.columns(slice(start, start + users))
        found.append(beam_search(network.decoder(**columns), trie, len(columns["task"]), beams).item)
    return torch.cat(found).numpy()


def items_of_generate(network: GenerationNetwork, prompts: BeamPrompts, beams: int) -> Integers:
    """The same from ``generate``, one user a call."""
    children: dict[tuple[int, ...], list[int]] = {}
    item_of = {}
    for item, sequence in enumerate(prompts.items, start=1):
        item_of[tuple(sequence)] = item
        for length, token in enumerate(sequence):
            following = children.setdefault(tuple(sequence[:length]), [])
            if token not in following[-1:]:
                following.append(token)
    found = []
    for user in range(len(prompts.tokens)):
        with torch.inference_mode():
            states, is_token = network.encode(**prompts.columns(slice(user, user + 1)))
            sequences = network.t5.generate(
                encoder_outputs=BaseModelOutput(last_hidden_state=states),
                attention_mask=is_token.long(),
                num_beams=beams,
                num_return_sequences=beams,
                max_new_tokens=len(prompts.items[0]),
                length_penalty=0.0,
                prefix_allowed_tokens_fn=lambda row, before: children.get(tuple(before[1:].tolist()), [1]),
            )
        found.append([item_of[tuple(sequence[1:])] for sequence in sequences.tolist()])
    return np.array(found)


def measure_p5(scale: Scale, report: Report) -> None:
    """Ten items for some users."""
    prompts, network = beam_prompts(scale), build_generator(scale)
    trie = ItemTrie.of(prompts.items)
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: items_of_beams(network, prompts, trie, 10, 64),
        ORIGINAL: lambda: items_of_generate(network, prompts, 10),
    }
    seconds = interleaved(runs, scale.rounds, CPU)
    report.add_table("P5: ten items a user", [row(n, s, scale.generated, "users") for n, s in seconds.items()])
    report.add_ratios({"p5_beam": seconds[ORIGINAL] / seconds[OURS]})


def measure(scale: Scale, report: Report) -> None:
    """All three."""
    measure_e4srec(scale, report)
    measure_llamarec(scale, report)
    measure_p5(scale, report)


def main() -> None:
    """Measure on the CPU."""
    chosen = arguments(__doc__).parse_args()
    report = Report("baselines", chosen.json)
    say(f"{report.name}{', quick' if chosen.quick else ''}")
    measure(QUICK if chosen.quick else Scale(), report)


if __name__ == "__main__":
    sys.exit(main())
