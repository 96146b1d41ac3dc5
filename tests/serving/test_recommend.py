"""The best next items for users that the model has never seen, by external tokens."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import recbole_tslrec
from recbole_tslrec.pipeline.run import Run
from recbole_tslrec.sequential import ranking
from recbole_tslrec.serving import recommend as module
from recbole_tslrec.serving.recommend import main, recommend
from recbole_tslrec.serving.saved_model import SavedModel, load_model

HISTORIES = {
    "a": ["i3"],
    "b": ["i1", "i2", "i4"],
    "c": ["i5"] * 3,
    "d": ["i9", "i8"],
    "e": [f"i{n}" for n in range(12)],
}
ITEMS = 30


@pytest.fixture
def folder(trained: Callable[..., Run]) -> Path:
    return trained("TSLRecSASRec").artifacts["recommender"].folder


@pytest.fixture
def saved(folder: Path) -> SavedModel:
    return load_model(folder)


def scores_of(saved: SavedModel, items: list[str]) -> dict[str, float]:
    """The model's own scores for a history of at most eight items, by token."""
    seq = torch.zeros(1, 8, dtype=torch.int64)
    seq[0, : len(items)] = torch.tensor(saved.item_ids(items))
    return dict(zip(saved.item_tokens, saved.scores(seq, torch.tensor([len(items)]))[0, 1:].tolist(), strict=True))


# What is recommended


def test_the_items_with_the_highest_scores_best_first(folder: Path, saved: SavedModel) -> None:
    scores = scores_of(saved, HISTORIES["b"])
    best = sorted(scores, key=lambda token: -scores[token])[:4]
    found = recommend(folder, {"b": HISTORIES["b"]}, k=4, mask_history=False)["b"]
    assert [token for token, _ in found] == best
    assert [score for _, score in found] == pytest.approx([scores[token] for token in best])


def test_items_of_the_history_are_left_out(folder: Path) -> None:
    """Those too that the model, which sees eight items, does not see."""
    found = recommend(folder, HISTORIES, k=ITEMS - 12)
    for user, history in HISTORIES.items():
        assert not {token for token, _ in found[user]} & set(history), user
    assert {token for token, _ in found["e"]} == {f"i{n}" for n in range(12, ITEMS)}


def test_the_pad_is_never_recommended(folder: Path, saved: SavedModel) -> None:
    """All items, and nothing else, however low they score."""
    found = recommend(folder, HISTORIES, k=ITEMS, mask_history=False)
    for user in HISTORIES:
        assert sorted(token for token, _ in found[user]) == sorted(saved.item_tokens)


def test_of_a_long_history_the_most_recent_items_count(folder: Path) -> None:
    found = recommend(folder, {"long": HISTORIES["e"], "end": HISTORIES["e"][-8:]}, mask_history=False)
    assert found["long"] == found["end"]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_batches_do_not_matter(folder: Path, batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, where a product that is computed in another order is the same to twelve digits."""

    def load_in_double(model_folder: Path, device: torch.device) -> SavedModel:
        saved = load_model(model_folder, device)
        saved.model.double()
        return saved

    monkeypatch.setattr(module, "load_model", load_in_double)
    apart, together = recommend(folder, HISTORIES, batch_size=batch_size), recommend(folder, HISTORIES)
    assert list(apart) == list(together) == list(HISTORIES)
    for user in HISTORIES:
        assert [token for token, _ in apart[user]] == [token for token, _ in together[user]]
        expected = [score for _, score in together[user]]
        assert [score for _, score in apart[user]] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_chunks_of_items_do_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a catalogue that is too large to be scored at once."""
    whole = recommend(folder, HISTORIES, k=12)
    monkeypatch.setitem(ranking._PORTIONS, "cpu", ranking.Portions(scores=64, whole=8, chunk=7))
    in_chunks = recommend(folder, HISTORIES, k=12)
    for user in HISTORIES:
        assert [token for token, _ in in_chunks[user]] == [token for token, _ in whole[user]]
        assert [score for _, score in in_chunks[user]] == pytest.approx([score for _, score in whole[user]])


def test_the_package_offers_it(folder: Path) -> None:
    assert recbole_tslrec.recommend(folder, HISTORIES) == recommend(folder, HISTORIES)


# Bad input


def test_unknown_items_are_skipped_and_counted_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = recommend(folder, {"a": ["new", "i3"], "b": ["i1", "other", "i2", "new", "i4"]})
    assert found == recommend(folder, {user: HISTORIES[user] for user in "ab"})
    assert [record.message for record in caplog.records] == [
        "3 items of the histories are unknown to TSLRecSASRec and were skipped, the first is 'new' of user 'a'"
    ]


@pytest.mark.parametrize(
    ("histories", "settings", "message"),
    [
        (
            {**HISTORIES, "x": ["new"], "y": []},
            {},
            r"^user 'x' has no item that TSLRecSASRec knows .* \(2 are like that\); .* out with skip_bad=True",
        ),
        (HISTORIES, {"k": 31}, r"k \[31\] must be a whole number between 1 and the 30 items"),
        (HISTORIES, {"k": 0}, r"k \[0\] must be a whole number between 1 and the 30 items"),
        (
            HISTORIES,
            {"k": 19},
            r"user 'e' leaves fewer than k \[19\] items beside those of its history; lower k, or keep",
        ),
        (HISTORIES, {"batch_size": 0}, r"batch_size must be a whole number above 0, not \[0\]"),
    ],
)
def test_what_cannot_be_answered_is_refused_before_anything_is_computed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, histories: Any, settings: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(SavedModel, "best", None)
    with pytest.raises(ValueError, match=message):
        recommend(folder, histories, **settings)


def test_what_cannot_be_answered_is_skipped_where_that_is_asked_for(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = recommend(folder, {"x": ["new"], **HISTORIES, "y": []}, k=19, skip_bad=True)
    assert found == recommend(folder, {user: HISTORIES[user] for user in "abcd"}, k=19)
    (message,) = caplog.messages
    assert re.match(r"3 of 7 were skipped: user 'x' has no item .* \(2 are like that\); user 'e' leaves", message)


def test_a_model_that_knows_users_is_refused(trained: Callable[..., Run]) -> None:
    folder = trained("CICaser").artifacts["recommender"].folder
    with pytest.raises(ValueError, match="CICaser has an embedding per user"):
        recommend(folder, HISTORIES)


# From file to file


def write_lines(*lines: str) -> None:
    Path("in.jsonl").write_text("\n".join(lines) + "\n")


def run_command(folder: Path, *arguments: str) -> None:
    main([f"--model_folder={folder}", "--input=in.jsonl", "--output=out.jsonl", *arguments])


@pytest.mark.parametrize(("arguments", "mask_history"), [((), True), (("--keep_history",), False)])
def test_the_command_gives_what_the_function_gives(
    folder: Path, arguments: tuple[str, ...], mask_history: bool
) -> None:
    write_lines(*(json.dumps({"user": user, "items": items}) for user, items in HISTORIES.items()), "")
    run_command(folder, "--k=3", "--batch_size=2", *arguments)
    found = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    expected = recommend(folder, HISTORIES, k=3, mask_history=mask_history, batch_size=2)
    assert {line["user"]: list(zip(line["items"], line["scores"], strict=True)) for line in found} == expected
    assert list(Path.cwd().glob("out*")) == [Path.cwd() / "out.jsonl"]


def test_the_command_holds_a_batch_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, held = module.read_histories, []
    best = module.SavedModel.best

    def counted(source: Path) -> Any:
        for number, history in enumerate(read(source), start=1):
            held.append(number)
            yield history

    def ranked(saved: SavedModel, item_seq: torch.Tensor, *others: Any) -> Any:
        held.append(-len(item_seq))
        return best(saved, item_seq, *others)

    monkeypatch.setattr(module, "read_histories", counted)
    monkeypatch.setattr(module.SavedModel, "best", ranked)
    write_lines(*(json.dumps({"user": user, "items": items}) for user, items in HISTORIES.items()))
    run_command(folder, "--batch_size=2")
    assert held == [1, 2, 3, 4, 5, 1, 2, -2, 3, 4, -2, 5, -1]  # looked through, then batch by batch


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "is no JSON object"),
        ("[]", "is no JSON object"),
        ("{}", "has no user that is text or a whole number"),
        ('{"user": null, "items": []}', "has no user that is text or a whole number"),
        ('{"user": true, "items": ["i1"]}', "has no user that is text or a whole number"),
        ('{"user": "b"}', "(user 'b') has no list of items"),
        ('{"user": "b", "items": "i1"}', "(user 'b') has no list of items"),
        ('{"user": "b", "items": ["i1", null]}', "(user 'b') has an item that is neither text nor a whole number"),
        ('{"user": "b", "items": ["new"]}', "(user 'b') has no item that TSLRecSASRec knows"),
        ('{"user": "a", "items": ["i2"]}', "(user 'a') gives its user a second time"),
        (
            json.dumps({"user": "b", "items": [f"i{n}" for n in range(ITEMS)]}),
            "(user 'b') leaves fewer than k [10] items",
        ),
    ],
)
def test_a_bad_line_is_named_or_skipped(folder: Path, line: str, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    Path("out.jsonl").write_text("former")
    write_lines('{"user": "a", "items": ["i1"]}', "", line, '{"user": "c", "items": ["i1"]}', line)
    with pytest.raises(ValueError, match=rf"^in\.jsonl, line 3 {re.escape(fault)}.*\(2 are like that\).* --skip_bad"):
        run_command(folder)
    assert Path("out.jsonl").read_text() == "former"
    with caplog.at_level(logging.WARNING):
        run_command(folder, "--skip_bad")
    assert [json.loads(answer)["user"] for answer in Path("out.jsonl").read_text().splitlines()] == ["a", "c"]
    assert f"2 of 4 were skipped: in.jsonl, line 3 {fault}" in caplog.text


def test_every_kind_of_fault_is_said_at_once(folder: Path) -> None:
    write_lines('{"user": "a", "items": ["i1"]}', "{", '{"user": "b", "items": ["new"]}')
    with pytest.raises(ValueError, match=r"line 2 is no JSON object; line 3 \(user 'b'\) has no item .*The form is \{"):
        run_command(folder)


def test_nothing_but_bad_lines_is_refused(folder: Path) -> None:
    write_lines("{")
    with pytest.raises(ValueError, match=r"line 1 is no JSON object.*; nothing is left"):
        run_command(folder, "--skip_bad")


def test_an_empty_file_is_refused(folder: Path) -> None:
    write_lines("")
    with pytest.raises(ValueError, match=r"in\.jsonl has no histories; the form is \{"):
        run_command(folder)


@pytest.mark.parametrize("columns", [["user", "items"], ["user_id", "item_id"]])
def test_the_input_may_be_a_table(folder: Path, columns: list[str]) -> None:
    table = pd.DataFrame(list(HISTORIES.items()), columns=columns)
    (table if columns[1] == "items" else table.explode("item_id")).to_parquet("in.jsonl", index=False)
    run_command(folder)
    found = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    expected = recommend(folder, HISTORIES)
    assert {line["user"]: list(zip(line["items"], line["scores"], strict=True)) for line in found} == expected


def test_an_unknown_item_is_named_with_its_line(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_lines('{"user": "a", "items": ["i1"]}', '{"user": "b", "items": ["i1", "new"]}')
    with caplog.at_level(logging.WARNING):
        run_command(folder)
    assert "the first is 'new' of line 2 (user 'b')" in caplog.text


@pytest.mark.parametrize("name", ["o.csv", "o.parquet"])
def test_an_output_that_is_named_as_a_table_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"would hold JSON lines, .* end it with \.jsonl"):
        module.recommend_file(folder, Path("in.jsonl"), Path(name))


def test_an_output_in_the_place_of_the_input_or_the_model_is_refused(folder: Path) -> None:
    write_lines('{"user": "a", "items": ["i1"]}')
    with pytest.raises(ValueError, match=r"in\.jsonl is the input too"):
        module.recommend_file(folder, Path("in.jsonl"), Path("in.jsonl"))
    with pytest.raises(ValueError, match="would lie in the model's folder"):
        module.recommend_file(folder, Path("in.jsonl"), folder / "model.json")
    assert Path("in.jsonl").read_text()


def test_missing_files_are_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"in\.jsonl does not exist; check"):
        run_command(folder)
    write_lines('{"user": "a", "items": ["i1"]}')
    with pytest.raises(ValueError, match=r"folder of nowhere/out\.jsonl does not exist; make nowhere"):
        main([f"--model_folder={folder}", "--input=in.jsonl", "--output=nowhere/out.jsonl"])
