"""Rows against each other: every row and Base, one with an LLM and all others, and what its gain is credited to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from recbole_tslrec.evaluation.metrics import smaller_is_better
from recbole_tslrec.evaluation.significance import PairedTest, SeedTest, holm, paired, two_sample
from recbole_tslrec.models.families import BASE
from recbole_tslrec.report.scores import Line, Scores

OURS = "TSLRec"
LEVEL = 0.05  # of significance
# what a gain of an LLM has to beat: the vectors that it was given, what an ideal Stage 1 could say without it, which
# items stand beside each other, and with words in the prompt what they say without it
WITHOUT_LLM = {
    "stage0": "the stage-0 vectors",
    "co_interaction": "the co-interaction row",
    "co_occurrence": "the co-occurrence row",
}
WORDS_WITHOUT_LLM = {"tfidf": "the words' TF-IDF"}
UNTUNED = "untuned"  # what a gain of Stage 1 has to beat beside them; itself a gain of the LLM, if it beats them


def comparisons(scores: Scores, metric: str, subject: str = OURS) -> pd.DataFrame:
    """One row of Table 2 less every other row of its backbone, and less the LLM baselines.

    Args:
        scores: in one history mode.
        metric: by RecBole's name.
        subject: the row that is compared with the others.

    Returns:
        Columns ``dataset``, ``backbone``, ``row``, ``against``, ``difference`` (of the means over seeds); over seeds
        ``seeds p`` (none with one seed) and ``seeds p Holm``; over users ``low`` and ``high`` of the interval,
        ``t p``, ``t p Holm``, ``Wilcoxon p`` and ``Wilcoxon p Holm``. Holm's family is the whole table.

    Raises:
        ValueError: the rows of a pair were evaluated on different data.
    """
    pairs = [
        (dataset, line, other)
        for dataset, line in scores.outcomes
        if line.row == subject
        for other in scores.others(dataset, line)
    ]
    return _tests(scores, metric, pairs)


def gains(scores: Scores, metric: str) -> pd.DataFrame:
    """Every row of Table 2 less Base of its backbone.

    Args:
        scores: in one history mode.
        metric: by RecBole's name.

    Returns:
        Columns as those of :func:`comparisons`.

    Raises:
        ValueError: the rows of a pair were evaluated on different data.
    """
    pairs = [
        (dataset, line, base)
        for dataset, line in scores.outcomes
        for base in [Line(line.backbone, BASE.name)]
        if line != base and (dataset, base) in scores.outcomes
    ]
    return _tests(scores, metric, pairs)


def _tests(scores: Scores, metric: str, pairs: Iterable[tuple[str, Line, Line]]) -> pd.DataFrame:
    """A row for each dataset and two lines on it, the first less the second; columns as in :func:`comparisons`."""
    rows = []
    for dataset, line, other in pairs:
        seeds = over_seeds(scores, dataset, line, other, metric)
        users = over_users(scores, dataset, line, other, metric)
        row: dict[str, Any] = {"dataset": dataset, "backbone": line.backbone, "row": line.row, "against": other.row}
        row |= {"difference": seeds.mean_difference, "seeds p": seeds.pvalue}
        if users:
            row |= {"low": users.low, "high": users.high}
            row |= {"t p": users.t_pvalue, "Wilcoxon p": users.wilcoxon_pvalue}
        rows.append(row)
    columns = ["dataset", "backbone", "row", "against", "difference", "low", "high", "seeds p", "t p", "Wilcoxon p"]
    table = pd.DataFrame(rows, columns=columns)
    for test in ("seeds p", "t p", "Wilcoxon p"):
        pvalues = [None if pd.isna(value) else float(value) for value in table[test]]
        table[test] = pd.Series(pvalues, dtype=float)
        table.insert(table.columns.get_loc(test) + 1, f"{test} Holm", pd.Series(holm(pvalues), dtype=float))
    return table


def over_seeds(scores: Scores, dataset: str, line: Line, other: Line, metric: str) -> SeedTest:
    """The paper's test between two lines."""
    return two_sample(scores.values(dataset, line, metric), scores.values(dataset, other, metric))


def over_users(scores: Scores, dataset: str, line: Line, other: Line, metric: str) -> PairedTest | None:
    """The paired test between two lines, of each user's mean over the seeds that both have; ``None`` without one.

    Raises:
        ValueError: they were evaluated on different data.
    """
    seeds = sorted(scores.outcomes[dataset, line].keys() & scores.outcomes[dataset, other].keys())
    if not seeds:
        return None
    own, others = (scores.user_means(dataset, each, metric, seeds) for each in (line, other))  # [U] each
    return paired(own, others)


def stars(scores: Scores, dataset: str, lines: Iterable[Line], metric: str) -> set[Line]:
    """Which lines beat the best other row of their backbone at :data:`LEVEL`, with Holm's correction over the lines."""
    found: dict[Line, SeedTest] = {}
    sign = -1 if smaller_is_better(metric) else 1
    for line in lines:
        others = [other for other in scores.others(dataset, line) if other.backbone == line.backbone]
        if others:
            best = max(others, key=lambda other: sign * scores.mean(dataset, other, metric))
            found[line] = over_seeds(scores, dataset, line, best, metric)
    pvalues = holm([test.pvalue for test in found.values()])
    return {
        line
        for (line, test), pvalue in zip(found.items(), pvalues, strict=True)
        if pvalue is not None and pvalue <= LEVEL and sign * test.mean_difference > 0
    }


def credit(tests: pd.DataFrame, subject: str = OURS, words: bool = False) -> Iterator[str]:
    """A sentence for each dataset and backbone: whether its gain may be credited to an LLM.

    Args:
        tests: the tests from :func:`comparisons`.
        subject: the row that they are of.
        words: whether the LLM reads words of the items.
    """
    bars = {**WITHOUT_LLM, **(WORDS_WITHOUT_LLM if words else {})}
    for (dataset, backbone), group in tests.groupby(["dataset", "backbone"], sort=False):
        against = group.set_index("against")
        missing = [row for row in bars if row not in against.index]
        yield f"{dataset}, {backbone}: " + (
            f"nothing is credited to an LLM, since the rows {', '.join(missing)} are missing (--rows)."
            if missing
            else _verdict(subject, bars, against)
        )


def _verdict(subject: str, bars: Mapping[str, str], against: pd.DataFrame) -> str:
    told = f"({'; '.join(f'{row} {_told(against.loc[row])}' for row in bars)})"
    if against.loc[list(bars), "seeds p"].isna().any():
        return f"nothing is credited to an LLM, since there is no test over seeds {told}."
    unbeaten = [name for row, name in bars.items() if not _beats(against.loc[row])]
    if unbeaten:
        return f"{subject} does not beat {_listed(unbeaten)}, so no LLM is credited {told}."
    gain = f"{subject} beats {_listed(list(bars.values()))}: the gain is credited to the LLM {told}"
    if subject == UNTUNED:
        return f"{gain}, without Stage 1."
    if UNTUNED not in against.index:
        return f"{gain}; the row {UNTUNED} would show whether also to Stage 1."
    untuned = against.loc[UNTUNED]
    if not _beats(untuned):
        return f"{gain}, but not to Stage 1: the {UNTUNED} one is not beaten ({_told(untuned)})."
    return f"{gain} and to Stage 1, since the {UNTUNED} one is beaten too ({_told(untuned)})."


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _beats(test: pd.Series) -> bool:
    return bool(test["difference"] > 0 and test["seeds p Holm"] <= LEVEL)


def _told(test: pd.Series) -> str:
    pvalue = "no p" if pd.isna(test["seeds p"]) else f"p {test['seeds p Holm']:.3f}"
    return f"{test['difference']:+.4f}, {pvalue}"
