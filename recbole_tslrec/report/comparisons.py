"""A row with an LLM against every other row of its backbone, and what its gain may be credited to."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from recbole_tslrec.evaluation.significance import holm
from recbole_tslrec.report.scores import LEVEL, Scores

OURS = "TSLRec"
# what a gain of an LLM has to beat: the vectors that it was given, and what an ideal Stage 1 could say without it
WITHOUT_LLM = ("stage0", "co_interaction")
UNTUNED = "untuned"  # what a gain of Stage 1 has to beat beside them; itself a gain of the LLM, if it beats them


def comparisons(scores: Scores, metric: str, subject: str = OURS) -> pd.DataFrame:
    """A row for each dataset, backbone and other row.

    Args:
        scores: in one history mode.
        metric: by RecBole's name.
        subject: the row that is compared with the others.

    Returns:
        Columns ``dataset``, ``backbone``, ``against``, ``difference`` (of the means over seeds); over seeds
        ``seeds p`` (none with one seed) and ``seeds p Holm``; over users ``low`` and ``high`` of the interval,
        ``t p``, ``t p Holm``, ``Wilcoxon p`` and ``Wilcoxon p Holm``. Holm's family is the whole table.

    Raises:
        ValueError: the rows of a pair were evaluated on different data.
    """
    rows = []
    for dataset, line in scores.outcomes:
        if line.row != subject:
            continue
        for other in scores.others(dataset, line):
            seeds = scores.over_seeds(dataset, line, other, metric)
            users = scores.over_users(dataset, line, other, metric)
            row: dict[str, Any] = {"dataset": dataset, "backbone": line.backbone, "against": other.row}
            row |= {"difference": seeds.mean_difference, "seeds p": seeds.pvalue}
            if users:
                row |= {"low": users.low, "high": users.high}
                row |= {"t p": users.t_pvalue, "Wilcoxon p": users.wilcoxon_pvalue}
            rows.append(row)
    columns = ["dataset", "backbone", "against", "difference", "low", "high", "seeds p", "t p", "Wilcoxon p"]
    table = pd.DataFrame(rows, columns=columns)
    for test in ("seeds p", "t p", "Wilcoxon p"):
        pvalues = [None if pd.isna(value) else float(value) for value in table[test]]
        table[test] = pd.Series(pvalues, dtype=float)
        table.insert(table.columns.get_loc(test) + 1, f"{test} Holm", pd.Series(holm(pvalues), dtype=float))
    return table


def credit(tests: pd.DataFrame, subject: str = OURS) -> Iterator[str]:
    """A sentence for each dataset and backbone: whether its gain may be credited to an LLM.

    Args:
        tests: of :func:`comparisons`.
        subject: the row that they are of.
    """
    for (dataset, backbone), group in tests.groupby(["dataset", "backbone"], sort=False):
        against = group.set_index("against")
        missing = [row for row in WITHOUT_LLM if row not in against.index]
        yield f"{dataset}, {backbone}: " + (
            f"nothing is credited to an LLM, for the rows {', '.join(missing)} are not there (--rows=all)."
            if missing
            else _verdict(
                subject, *(against.loc[row] if row in against.index else None for row in (*WITHOUT_LLM, UNTUNED))
            )
        )


def _verdict(subject: str, stage0: pd.Series, co_interaction: pd.Series, untuned: pd.Series | None) -> str:
    told = f"(stage0 {_told(stage0)}; co_interaction {_told(co_interaction)})"
    if pd.isna(stage0["seeds p"]) or pd.isna(co_interaction["seeds p"]):
        return f"nothing is credited to an LLM, for there is no test over seeds {told}."
    if not _beats(stage0):
        return f"{subject} does not beat the stage-0 vectors, so no LLM is credited {told}."
    if not _beats(co_interaction):
        return f"{subject} beats the stage-0 vectors but not the co-interaction row, so no LLM is credited {told}."
    gain = f"{subject} beats the stage-0 vectors and the co-interaction row: the gain is credited to the LLM {told}"
    if subject == UNTUNED:
        return f"{gain}, without Stage 1."
    if untuned is None:
        return f"{gain}; whether to Stage 1 too, the row {UNTUNED} would tell."
    if not _beats(untuned):
        return f"{gain}, as it was before Stage 1: the {UNTUNED} one is not beaten ({_told(untuned)})."
    return f"{gain} and to Stage 1: the {UNTUNED} one is beaten too ({_told(untuned)})."


def _beats(test: pd.Series) -> bool:
    return bool(test["difference"] > 0 and test["seeds p Holm"] <= LEVEL)


def _told(test: pd.Series) -> str:
    pvalue = "no p" if pd.isna(test["seeds p"]) else f"p {test['seeds p Holm']:.3f}"
    return f"{test['difference']:+.4f}, {pvalue}"
