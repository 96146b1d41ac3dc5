"""Table 2: all rows on all datasets, with the tests that a gain has to pass."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recbole_tslrec.evaluation.history_modes import UNMASKED, shown_modes
from recbole_tslrec.evaluation.metrics import label, smaller_is_better
from recbole_tslrec.evaluation.model_free import MODEL_FREE
from recbole_tslrec.experiments.command import Command
from recbole_tslrec.experiments.jobs import trials_of
from recbole_tslrec.experiments.protocol import quoted_protocol
from recbole_tslrec.experiments.runner import outcomes
from recbole_tslrec.experiments.trials import Outcome, row_of
from recbole_tslrec.llm.settings import SCRATCH, ItemTextSettings
from recbole_tslrec.models.families import BASE, LLM_BASELINES
from recbole_tslrec.report.comparisons import LEVEL, OURS, UNTUNED, comparisons, credit, gains, stars
from recbole_tslrec.report.page import Opening, Page, ReportError, Section, best_and_second
from recbole_tslrec.report.paper import in_paper, paper_figure
from recbole_tslrec.report.scores import Line, Scores
from recbole_tslrec.report.table2_pictures import opening

_WITHOUT_BACKBONE = (*LLM_BASELINES, *MODEL_FREE)
_ABOUT_TESTS = (
    "seeds p: two-sample t-test over seeds (Welch). t p and Wilcoxon p: paired over users, of each user's mean over "
    "the seeds that both rows have, and over the user's held-out items; low and high: their 95% bootstrap interval. "
    "They say nothing of another seed. Holm: corrected over the rows of this table."
)


def build(command: Command) -> Page:
    """Run what is missing, then write the table, its tests and every figure, in each history mode that is asked for.

    Raises:
        ArtifactError: a run has no results by user.
        ReportError: no run has finished.
        ValueError: wrong settings; runs on different data.
    """
    return page_of(outcomes(trials_of(command), command), command)


def page_of(found: Sequence[Outcome], command: Command) -> Page:
    """The report of finished trials.

    Args:
        found: the outcomes.
        command: what was asked for.

    Raises:
        ArtifactError: a run has no results by user.
        ReportError: there is no outcome.
        ValueError: runs on different data.
    """
    if not found:
        raise ReportError("table2 has nothing to show: no run has finished; see the logs that are named above")
    config = command.config()
    metric = str(config["valid_metric"]).lower()
    subjects = [row for row in (OURS, UNTUNED) if row in command.rows]
    words = bool(ItemTextSettings.of(config).columns)
    sections: list[Section] = []
    openings: list[Opening] = []
    for mode in shown_modes(config["eval_history"]):
        scores = Scores.of(found, mode)
        if not sections:
            scores.check_comparable()
        tests = {subject: comparisons(scores, metric, subject) for subject in subjects}
        over_base = gains(scores, metric)
        verdicts = [sentence for subject, table in tests.items() for sentence in credit(table, subject, words)]
        numbers = figures(command, scores)
        openings.append(opening(numbers, tests, over_base, label(metric), mode))
        sections.append(table_section(command, scores, verdicts))
        sections += [tests_section(table, metric, mode, subject) for subject, table in tests.items() if len(table)]
        if len(over_base):
            sections.append(gains_section(over_base, metric, mode))
        sections.append(figures_section(numbers, mode))
    return Page("table2", "Table 2: recommendation", quoted_protocol(command), sections, openings)


def table_section(command: Command, scores: Scores, remarks: Sequence[str]) -> Section:
    """The table in one history mode.

    Args:
        command: rows, backbones and datasets; whether the paper's figures stand beside the measured ones.
        scores: the scores of its runs.
        remarks: below the caption.
    """
    lines = lines_of(command)
    table = pd.DataFrame({"row": map(str, lines), "remark": [_remark(line, scores) for line in lines]})
    emphasis: dict[tuple[int, str], str] = {}
    for dataset in command.datasets:
        for metric in scores.names():
            column = f"{dataset} {label(metric)}"
            starred = stars(scores, dataset, [line for line in lines if line.row == OURS], metric)
            table[column] = [_cell(scores.values(dataset, line, metric), line in starred) for line in lines]
            means = [scores.mean(dataset, line, metric) for line in lines]
            marks = best_and_second(means, smaller_is_better(metric))
            emphasis.update({(row, column): mark for row, mark in marks.items()})
            printed = [paper_figure(dataset, line.backbone, line.row, metric) for line in lines]
            if command.paper and scores.mode == UNMASKED and any(printed):  # RecBole's mode, which was the paper's
                table[f"{column}, paper"] = printed
    if not any(table["remark"]):
        table = table.drop(columns="remark")
    several = len(command.seeds) > 1
    seeds = f"mean ± standard deviation over seeds {', '.join(map(str, command.seeds))}"
    seeds = seeds if several else f"seed {command.seeds[0]}"
    text = f"Test items, full ranking, history mode {scores.mode}; {seeds}."
    unknown = [dataset for dataset in command.datasets if not in_paper(dataset)]
    if command.paper and unknown:
        text += f" The paper has no figures of {', '.join(unknown)}."
    return Section(
        f"Table 2, {scores.mode}",
        "\n\n".join([text, *remarks]),
        table,
        emphasis=emphasis,
        note=_note(command),
    )


def tests_section(tests: pd.DataFrame, metric: str, mode: str, subject: str) -> Section:
    """The table of :func:`recbole_tslrec.report.comparisons.comparisons`."""
    return Section(
        f"Table 2, {mode}: tests{'' if subject == OURS else f' of {subject}'}",
        f"{subject} less every other row of its backbone: {label(metric)} on the test items, history mode {mode}.",
        tests.drop(columns="row"),
        note=_ABOUT_TESTS,
    )


def gains_section(gained: pd.DataFrame, metric: str, mode: str) -> Section:
    """The table of :func:`recbole_tslrec.report.comparisons.gains`."""
    return Section(
        f"Table 2, {mode}: tests against {BASE.name}",
        f"Every row less {BASE.name} of its backbone: {label(metric)} on the test items, history mode {mode}.",
        gained.drop(columns="against"),
        note=_ABOUT_TESTS,
    )


def figures_section(figures: pd.DataFrame, mode: str) -> Section:
    """The table of :func:`figures`; the page leaves out what no run has finished of."""
    unfinished = np.flatnonzero(figures["seeds"] == 0).tolist()
    return Section(f"Table 2, {mode}: every figure", "", figures, empty_rows=unfinished)


def figures(command: Command, scores: Scores) -> pd.DataFrame:
    """A row for each line, dataset and metric.

    Returns:
        Columns ``dataset``, ``backbone``, ``row``, ``history``, ``metric``, ``seeds`` (finished), ``mean``,
        ``deviation`` (of the sample; none with one seed) and ``paper`` (the figure of its Table 2, if it has one, in
        the history mode of the paper).
    """
    rows: list[dict[str, Any]] = []
    cells = [(dataset, line) for dataset in command.datasets for line in lines_of(command)]
    for dataset, line in cells:
        for metric in scores.names():
            values = scores.values(dataset, line, metric)
            row: dict[str, Any] = {"dataset": dataset, "backbone": line.backbone, "row": line.row}
            row |= {"history": scores.mode, "metric": label(metric), "seeds": len(values)}
            row["mean"] = scores.mean(dataset, line, metric)
            row["deviation"] = np.std(values, ddof=1) if len(values) > 1 else None
            printed = paper_figure(dataset, line.backbone, line.row, metric)
            rows.append({**row, "paper": printed if scores.mode == UNMASKED else None})
    return pd.DataFrame(rows)


def lines_of(command: Command) -> list[Line]:
    """The lines of the table: those without a backbone, then the rows of one backbone after another."""
    alone = [Line("", row) for row in command.rows if row in _WITHOUT_BACKBONE]
    rows = [row for row in command.rows if row not in _WITHOUT_BACKBONE]
    return [*alone, *(Line(backbone, row) for backbone in command.models for row in rows)]


def _cell(values: Sequence[float], star: bool) -> str | None:
    if not values:
        return None
    deviation = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{deviation}{'*' if star else ''}"


def _remark(line: Line, scores: Scores) -> str:
    datasets = [dataset for dataset, found in scores.outcomes if found == line]
    if line.row in LLM_BASELINES and datasets:
        runs = [outcome for dataset in datasets for outcome in scores.outcomes[dataset, line].values()]
        llms = sorted({outcome.result["settings"]["llm_name_or_path"] for outcome in runs})
        named = ["an LLM of random weights, trained in full" if llm == SCRATCH else llm for llm in llms]
        return "; ".join([*named, *_coverage(line, datasets, scores)])
    ours = Line(line.backbone, OURS)
    if line != ours and any(scores.are_same(dataset, line, ours) for dataset in datasets):
        return f"the same runs as {OURS}"
    return "" if datasets else "no run has finished"


def _coverage(line: Line, datasets: Sequence[str], scores: Scores) -> Iterator[str]:
    """What a baseline can rank on each dataset, the mean over its seeds; nothing where that is all items."""
    for dataset in datasets:
        found = [outcome.result["coverage"][line.row] for outcome in scores.outcomes[dataset, line].values()]
        if found[0]["candidates"] is not None:
            share = np.mean([each["candidate_coverage"]["test"] for each in found])
            yield f"{dataset}: the target is among {found[0]['candidates']} candidates for {share:.1%} of the users"


def _note(command: Command) -> str:
    about = "; ".join(f"{row}: {row_of(row).about}" for row in command.rows)
    marks = "Bold: best of a column; underlined: second."
    if OURS not in command.rows:
        return f"{marks} {about}."
    star = (
        f"*: {OURS} is better than the best other row of its backbone at p ≤ {LEVEL} (two-sample t-test over seeds, as "
        "in the paper, with Holm's correction over the rows of the table)"
    )
    if len(command.seeds) < 2:
        star = "No star: one seed gives no test over seeds; give several with --seeds"
    return f"{marks} {star}. {about}."
