"""Vectors of several sources side by side: their scale, what a source lacks, and the stages that make them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_tslrec.augmentation.knowledge import Knowledge, fusion_knowledge, join_sources
from recbole_tslrec.augmentation.settings import KnowledgeFusionSettings
from recbole_tslrec.augmentation.vectors import listed_paths
from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.settings import ConfigError

MakeConfig = Callable[..., Any]


def knowledge_of(*rows: list[float] | None) -> Knowledge:
    """Vectors of the items 1, 2, ...; ``None`` where an item has none."""
    width = next(len(row) for row in rows if row)
    return Knowledge(
        torch.tensor([[0.0] * width, *(row or [0.0] * width for row in rows)]),
        torch.tensor([False, *(row is not None for row in rows)]),
    )


def test_each_source_is_standardised_for_itself() -> None:
    """Two items at -1 and 1 from their mean, whatever the scale and the width."""
    joined = join_sources([knowledge_of([1000.0], [3000.0]), knowledge_of([0.3, 0.0], [0.1, 0.0])])
    expected = torch.tensor([[0.0, 0.0, 0.0], [-1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
    torch.testing.assert_close(joined.rows, expected)
    assert joined.present.tolist() == [False, True, True]


def test_what_a_source_lacks_is_its_mean_and_marked_in_a_column() -> None:
    """The second source lacks item 2, the first one item 3, and no source has item 4."""
    joined = join_sources([knowledge_of([4.0], [2.0], None, None), knowledge_of([7.0], None, [9.0], None)])
    expected = torch.tensor(
        [
            [0.0, 0.0, 0.0, 0.0],
            [1.0, 0.0, -1.0, 0.0],
            [-1.0, 0.0, 0.0, 1.0],
            [0.0, 1.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 0.0],
        ]
    )
    torch.testing.assert_close(joined.rows, expected)
    assert joined.present.tolist() == [False, True, True, True, False]


def test_a_list_of_sources_is_a_stage_each_and_one_that_joins_them(make_config: MakeConfig) -> None:
    run = run_stages(make_config("TSLRecSASRec", knowledge_source=["stage0", "co_interaction"]))
    names = [str(stage) for stage in run.finished if stage.kind in ("knowledge", "recommender")]
    assert names == ["knowledge of stage0", "knowledge of co_interaction", "knowledge", "recommender"]
    assert list(run.evaluations) == ["Base", "stage0+co_interaction"]
    width = sum(run.artifacts[name].tensors()["knowledge"].shape[1] for name in names[:2])
    rows = run.artifacts["knowledge"].tensors()["knowledge"]
    assert rows.shape[1] == width
    torch.testing.assert_close(rows[:, :8].square().sum(dim=1).mean(), torch.tensor(1.0))  # e_v, of hidden_size 8


def test_a_source_is_the_same_artifact_alone_and_beside_others(make_config: MakeConfig) -> None:
    """So that one that took an LLM is not made again."""
    several = run_stages(make_config("TSLRecSASRec", knowledge_source="stage0, co_interaction"), stop_after="knowledge")
    alone = run_stages(make_config("TSLRecSASRec", knowledge_source="co_interaction"), stop_after="knowledge")
    assert alone.artifacts["knowledge"].hash == several.artifacts["knowledge of co_interaction"].hash
    assert alone.reused["knowledge"]


def test_the_order_of_the_sources_is_that_of_the_columns(make_config: MakeConfig) -> None:
    orders = [["stage0", "random"], ["random", "stage0"]]
    first, second = (
        run_stages(make_config("TSLRecSASRec", knowledge_source=order), stop_after="knowledge").artifacts["knowledge"]
        for order in orders
    )
    assert torch.equal(first.tensors()["knowledge"][:, :8], second.tensors()["knowledge"][:, -8:])
    assert first.hash != second.hash


@pytest.fixture
def paths(make_knowledge: Any) -> list[str]:
    """Two tables; the second lacks item ``i29``."""
    generator = torch.Generator().manual_seed(0)
    whole = make_knowledge([f"i{item}" for item in range(30)], torch.randn(30, 5, generator=generator))
    partly = make_knowledge([f"i{item}" for item in range(29)], torch.randn(29, 3, generator=generator))
    return [str(whole.folder), str(partly.folder)]


def test_given_files_stand_side_by_side(make_config: MakeConfig, paths: list[str]) -> None:
    run = run_stages(make_config("TSLRecSASRec", knowledge_path=",".join(paths)))
    assert [str(stage) for stage in run.finished] == ["knowledge", "recommender", "evaluation of TSLRec"]
    assert run.artifacts["knowledge"].tensors()["knowledge"].shape == (30, 5 + 3 + 1)  # one for what i29 lacks
    as_list = run_stages(make_config("TSLRecSASRec", knowledge_path=paths))
    assert as_list.reused == dict.fromkeys(map(str, run.finished), True)


def test_a_model_that_reads_the_files_itself_gets_the_same_rows(make_config: MakeConfig, paths: list[str]) -> None:
    """As RecBole's own tools build it."""
    config = make_config("TSLRecSASRec", knowledge_path=paths)
    run = run_stages(config, stop_after="knowledge")
    knowledge = fusion_knowledge(paths, run.data.dataset, KnowledgeFusionSettings.of(config), 1)
    given = (knowledge.rows[1:] * knowledge.norm + knowledge.center).float()  # before it was standardised as a whole
    torch.testing.assert_close(given, run.artifacts["knowledge"].tensors()["knowledge"], rtol=1e-5, atol=1e-6)


def test_a_path_with_a_comma_is_one_path_where_it_exists(tmp_path: Path) -> None:
    file = tmp_path / "a, b.parquet"
    assert listed_paths(str(file)) == [f"{tmp_path}/a", "b.parquet"]
    file.touch()
    assert listed_paths(str(file)) == [str(file)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("stage0,dice", r"knowledge_source \[dice\] is not one of sft, random"),
        (["stage0", "stage0"], r"knowledge_source names \[stage0\] twice"),
        ([], "must be a source or a list of several"),
        (3, "must be a source or a list of several"),
    ],
)
def test_wrong_lists_are_refused(make_config: MakeConfig, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_stages(make_config("TSLRecSASRec", knowledge_source=value))


def test_sources_beside_given_vectors_are_refused(make_config: MakeConfig, paths: list[str]) -> None:
    config = make_config("TSLRecSASRec", knowledge_source="sft,stage0", knowledge_path=paths)
    with pytest.raises(ConfigError, match=r"knowledge_source \[sft,stage0\] makes item vectors, and knowledge_path"):
        run_stages(config)
