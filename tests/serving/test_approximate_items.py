"""The best items by an index. With thirty items all of them are searched for, so that answers are the exact ones."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_tslrec.models.backbones import BACKBONES
from recbole_tslrec.pipeline.run import Run
from recbole_tslrec.serving import approximate_items as module
from recbole_tslrec.serving.approximate_items import ApproximateItems, IndexFileError
from recbole_tslrec.serving.model_export import export
from recbole_tslrec.serving.recommend import main, recommend
from recbole_tslrec.serving.saved_model import SavedModel, load_model
from recbole_tslrec.serving.score_comparison import ExportError
from tests.serving.conftest import Fresh
from tests.serving.test_recommend import HISTORIES, ITEMS

pytest.importorskip("usearch", reason="needs recbole_tslrec[ann]")


@pytest.fixture
def folder(trained: Callable[..., Run]) -> Path:
    return trained("TSLRecSASRec").artifacts["recommender"].folder


@pytest.fixture
def index(folder: Path, tmp_path: Path) -> Path:
    return export(folder, "ann", tmp_path / "items.ann")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[int]], None]:
    """``without(ids)``: the index does not find these items."""
    read = ApproximateItems.read.__func__  # type: ignore[attr-defined]

    def forget(ids: list[int]) -> None:
        def forgetful(cls: Any, path: Path, saved: SavedModel) -> ApproximateItems:
            found: ApproximateItems = read(cls, path, saved)
            found.index.remove(np.array(ids, dtype=np.uint64))
            return found

        monkeypatch.setattr(ApproximateItems, "read", classmethod(forgetful))

    return forget


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for user in expected:
        assert [token for token, _ in found[user]] == [token for token, _ in expected[user]], user
        assert [score for _, score in found[user]] == pytest.approx([score for _, score in expected[user]], rel=1e-5)


# What is recommended


@pytest.mark.parametrize("mask_history", [True, False])
@pytest.mark.parametrize("batch_size", [1, 256])
def test_what_the_index_finds_is_ranked_as_the_model_does(
    folder: Path, index: Path, mask_history: bool, batch_size: int
) -> None:
    found = recommend(folder, HISTORIES, 5, mask_history, batch_size, index=index)
    same(found, recommend(folder, HISTORIES, 5, mask_history))


def test_an_item_that_the_index_misses_is_not_recommended(
    folder: Path, index: Path, without: Callable[[list[int]], None]
) -> None:
    exact = recommend(folder, {"a": HISTORIES["a"]}, k=4)["a"]
    without([load_model(folder).id_of_item[exact[0][0]]])
    same(recommend(folder, {"a": HISTORIES["a"]}, k=3, index=index), {"a": exact[1:]})


def test_a_user_for_whom_too_few_are_found_is_ranked_exactly(
    folder: Path, index: Path, without: Callable[[list[int]], None]
) -> None:
    without(list(range(3, ITEMS + 1)))
    same(recommend(folder, HISTORIES, k=5, index=index), recommend(folder, HISTORIES, k=5))


def test_a_user_for_whom_too_many_would_be_searched_is_ranked_exactly(
    folder: Path, index: Path, without: Callable[[list[int]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With k 5 and 64 to spare that is the user of twelve items."""
    monkeypatch.setattr(module, "_MOST", 5 + 64 + 11)
    exact = recommend(folder, HISTORIES, k=5)
    missed = {user: load_model(folder).id_of_item[best[0][0]] for user, best in exact.items()}
    without(sorted(set(missed.values())))
    found = recommend(folder, HISTORIES, k=5, index=index)
    assert {user for user in HISTORIES if found[user][0][0] == exact[user][0][0]} == {"e"}


def test_the_index_of_every_backbone_that_scores_by_products(fresh: Fresh, tmp_path: Path) -> None:
    """With the items' biases, where there are any."""
    name = type(fresh.model).__name__
    backbone = BACKBONES[name.removeprefix("TSLRec")]
    if backbone.knows_users:
        pytest.skip("serves no new users")
    if backbone.scoring is None:
        with pytest.raises(ExportError, match=f"^{name} does not score by the product"):
            export(fresh.artifact.folder, "ann", tmp_path / "items.ann")
        return
    path, saved = export(fresh.artifact.folder, "ann", tmp_path / "items.ann"), load_model(fresh.artifact.folder)
    item_seq, lengths = (fresh.users[field] for field in (saved.model.ITEM_SEQ, saved.model.ITEM_SEQ_LEN))
    scores, items = ApproximateItems.read(path, saved).best(item_seq, lengths, 3)
    torch.testing.assert_close(scores, saved.scores(item_seq, lengths).gather(1, items))
    _, exact = saved.best(item_seq, lengths, 3)
    assert (items.unsqueeze(2) == exact.unsqueeze(1)).any(dim=2).float().mean() > 0.95


# Files and the command


def test_tokens_lie_beside_the_index(folder: Path, index: Path) -> None:
    assert Path(f"{index}.tokens.txt").read_text().splitlines() == load_model(folder).item_tokens


def test_the_command_prints_the_recall(
    folder: Path, index: Path, without: Callable[[list[int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """One of the two best items is missed."""
    exact = recommend(folder, {"a": HISTORIES["a"]}, k=2)["a"]
    without([load_model(folder).id_of_item[exact[0][0]]])
    Path("in.jsonl").write_text(json.dumps({"user": "a", "items": HISTORIES["a"]}))
    main([f"--model_folder={folder}", "--input=in.jsonl", "--output=out.jsonl", "--k=2", f"--index={index}"])
    assert capsys.readouterr().out == "recall@2 of the index: 0.5000, over 1 of the users\nout.jsonl\n"
    assert json.loads(Path("out.jsonl").read_text())["items"][0] == exact[1][0]


# Bad input


def test_the_index_of_another_model_is_refused(trained: Callable[..., Run], index: Path) -> None:
    other = trained("SASRec").artifacts["backbone"].folder
    with pytest.raises(
        IndexFileError, match="is the index of another model, a TSLRecSASRec of 30 items; make the one of"
    ):
        recommend(other, HISTORIES, index=index)


def test_a_model_without_products_is_refused(folder: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "SASRec", replace(BACKBONES["SASRec"], scoring=None))
    with pytest.raises(ExportError, match="does not score by the product"):
        recommend(folder, HISTORIES, index=index)


@pytest.mark.parametrize(
    ("ending", "damage", "message"),
    [
        ("", lambda data: data[:-1] + bytes([data[-1] ^ 1]), r"items.ann differs from its hash in .*; make it again"),
        (".json", lambda data: data[:20], r"items.ann.json is damaged; make it again"),
        (".json", lambda data: b"[]", r"items.ann.json is damaged; make it again"),
        (".json", lambda data: data.replace(b'_version": 1', b'_version": 2'), r"another format, \[2\]; make it again"),
        ("", None, r"items.ann does not exist; check the path"),
        (".json", None, r"items.ann.json does not exist; check the path"),
    ],
)
def test_a_damaged_file_is_refused(folder: Path, index: Path, ending: str, damage: Any, message: str) -> None:
    path = Path(f"{index}{ending}")
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()
    with pytest.raises(IndexFileError, match=message):
        recommend(folder, HISTORIES, index=index)


def test_a_missing_package_names_the_extra(folder: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch", None)
    with pytest.raises(ImportError, match=r"needs usearch; install it with: pip install 'recbole_tslrec\[ann\]'"):
        recommend(folder, HISTORIES, index=index)
