"""Atomic files that RecBole would misread in silence are refused with file, line, column, count and cure."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_tslrec.data.atomic_files import check_atomic_files
from recbole_tslrec.data.dataset import Data, DatasetError
from recbole_tslrec.evaluation.held_out import held_out

HEAD = "user_id:token\titem_id:token\ttimestamp:float"
ROWS = [f"u{user}\ti{(user + step) % 9}\t{step}" for user in range(9) for step in range(5)]
SPLIT = "user_id:token\titem_id_list:token_seq\titem_id:token"


@pytest.fixture
def write(make_config: Callable[..., Any]) -> Callable[..., Any]:
    """``write(rows, head, **settings)``: a configuration whose toy.inter has these lines."""

    def write(rows: list[str] = ROWS, head: str = HEAD, encoding: str = "utf-8", **settings: Any) -> Any:
        config = make_config(**settings)
        path = Path(config["data_path"], "toy.inter")
        path.write_bytes(("\n".join([head, *rows]) + "\n").encode(encoding))
        return config

    return write


def refusal(config: Any) -> str:
    with pytest.raises(DatasetError) as refused:
        check_atomic_files(config)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_file_as_it_should_be_passes(write: Callable[..., Any]) -> None:
    check_atomic_files(write())


# files


def test_missing_dataset_says_where_to_get_it(make_config: Callable[..., Any]) -> None:
    config = make_config()
    config["dataset"], config["data_path"] = "ml-1m", str(Path(config["data_path"]).parent / "ml-1m")
    said = refusal(config)
    assert "there is no" in said
    assert "data download ml-1m" in said
    assert "data import ml-1m" in said


def test_files_of_another_name_are_listed(write: Callable[..., Any]) -> None:
    config = write()
    Path(config["data_path"], "toy.inter").rename(Path(config["data_path"], "other.inter"))
    assert "only other.inter; folder and files must have the dataset's name" in refusal(config)


@pytest.mark.parametrize("given", ["data/toy", "data/toy/toy.inter"])
def test_path_in_the_place_of_a_name_is_taken_apart(make_config: Callable[..., Any], given: str) -> None:
    config = make_config()
    config["dataset"] = given
    assert "set --data_path=data --dataset=toy" in refusal(config)


@pytest.mark.parametrize("name", ["", "to\ny"])
def test_a_name_that_no_folder_can_have(make_config: Callable[..., Any], name: str) -> None:
    config = make_config()
    config["dataset"] = name
    assert refusal(config) == f"dataset {name!r} is no name of a folder; give the name of one in data_path"


# the first line


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("user_id\titem_id\ttimestamp", "column 1 of 3 of {path} is [user_id], and must be name:type"),
        ("u31\ti8\t1600549400", "where this is no line of names but data, `python -m recbole_tslrec data import`"),
        ("user_id:token:x\titem_id:token\ttimestamp:float", "is [user_id:token:x], and must be name:type"),
        ("user_id:tokens\titem_id:token\ttimestamp:float", "is [user_id:tokens], and its type must be one of token,"),
        ("user_id:token\t item_id:token\ttimestamp:float", "column 2 of 3 of {path} is [ item_id:token], with blanks"),
        ("user_id:token\tuser_id:token\ttimestamp:float", "a name that an earlier column has"),
        ("user_id:token,item_id:token,timestamp:float", "separated by commas: set --field_separator=','"),
        ("user:token\titem_id:token\ttimestamp:float", "has no column user_id; it has user, item_id, timestamp"),
        ("user_id:float\titem_id:token\ttimestamp:float", "change its name in the first line to user_id:token"),
        ("user_id:token\titem_id:token\ttimestamp:token", "change its name in the first line to timestamp:float"),
    ],
)
def test_first_line_that_names_no_usable_columns_is_refused(write: Callable[..., Any], head: str, said: str) -> None:
    config = write(head=head)
    assert said.format(path=Path(config["data_path"], "toy.inter")) in refusal(config)


def test_column_of_load_col_that_is_not_there_is_named(write: Callable[..., Any]) -> None:
    config = write(load_col={"inter": ["user_id", "item_id", "timestamp", "rating"]})
    assert "has no column rating, which load_col names; it has user_id, item_id, timestamp" in refusal(config)


def test_column_of_another_file_that_is_not_there_is_named(write: Callable[..., Any]) -> None:
    config = write(load_col={"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]})
    Path(config["data_path"], "toy.item").write_text("item_id:token\ttitle:token_seq\ni1\ta\n")
    assert "toy.item has no column class, which load_col names; it has item_id, title" in refusal(config)


# lines


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("u1\ti3", "1 lines of {path} have another number of fields than the first line names (3: user_id, item_id, "
         "timestamp), the first is line 47 with 2"),
        ("u1\ti3\t5\t6", "the first is line 47 with 4"),
        ("\ti3\t5", "1 of 46 lines of {path} have no user_id, the first is line 47 with []"),
        ("u1\tNA\t5", "have no item_id, the first is line 47 with [NA]"),
        ("u1\t  \t5", "have no item_id, the first is line 47 with [  ]"),
        ("u1\ti3\t", "have no finite number in column timestamp, first line 47 with []"),
        ("u1\ti3\tNULL", "have no finite number in column timestamp, first line 47 with [NULL]"),
        ("u1\ti3\tinf", "have no finite number in column timestamp, first line 47 with [inf]"),
        ("u1\ti3\t2020-09-19", "have no number in column timestamp, the first is line 47 with [2020-09-19]"),
    ],
)  # fmt: skip
def test_line_that_would_be_filled_or_dropped_is_named(write: Callable[..., Any], row: str, said: str) -> None:
    config = write([*ROWS, row])
    assert said.format(path=Path(config["data_path"], "toy.inter")) in refusal(config)


def test_blank_lines_count_in_the_number_of_a_line(write: Callable[..., Any]) -> None:
    assert "first line 49 with [NULL]" in refusal(write(["", *ROWS, "", "u1\ti3\tNULL"]))


def test_first_row_that_is_too_long_does_not_shift_the_columns(write: Callable[..., Any]) -> None:
    assert "45 lines" in refusal(write([f"{row}\t" for row in ROWS]))


def test_line_in_another_encoding_is_named(write: Callable[..., Any]) -> None:
    said = refusal(write([*ROWS, "u1\tcafé\t7"], encoding="latin-1"))
    assert re.search(r"line 47 of .*toy\.inter is not in utf-8; name its encoding, such as --encoding=latin-1", said)


@pytest.mark.parametrize("row", ['u1\t"i3\t7', 'u1\ti"3\t7'])
def test_lone_quote_swallows_nothing(write: Callable[..., Any], row: str) -> None:
    data = Data(write([row, *ROWS, row]))
    assert len(data.full.items) == 47


def test_quote_of_a_comma_separated_file_that_swallows_lines_is_refused(write: Callable[..., Any]) -> None:
    rows = [row.replace("\t", ",") for row in ROWS]
    rows[3], rows[7] = f'"{rows[3]}', rows[7].replace(",", '",', 1)
    said = refusal(write(rows, head=HEAD.replace("\t", ","), field_separator=","))
    assert "double quote" in said or "another number of fields" in said


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_file_with_a_byte_order_mark_is_read(write: Callable[..., Any], encoding: str) -> None:
    plain = Data(write())
    marked = Data(write(encoding=encoding))
    assert marked.description == plain.description


def test_blanks_around_ids_are_left_out_and_said(write: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    plain = Data(write()).description
    stray = Data(write([f" {ROWS[0]}", *ROWS[1:]])).description
    assert stray == plain
    assert "1 of 10 values of user_id" in caplog.text


def test_mixture_of_seconds_and_milliseconds_is_said(
    write: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f"u{user}\ti{user}\t{1_600_000_000 * (1000 if user % 3 else 1)}" for user in range(9)]
    check_atomic_files(write(rows))
    assert "3 in seconds, 6 in milliseconds" in caplog.text


def test_what_filters_drop_is_said_in_one_line(write: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    config = write([*ROWS, ROWS[0], "v\ti1\t1"], user_inter_num_interval="[5,inf)", rm_dup_inter="first")
    with caplog.at_level(logging.INFO):
        Data(config)
    assert (
        "toy.inter: 47 interactions read, 45 kept; dropped 1 repeated (rm_dup_inter), 1 by user_inter_num_interval and "
        "item_inter_num_interval"
    ) in caplog.text


# files that were split already


@pytest.fixture
def split(make_config: Callable[..., Any]) -> Callable[..., Any]:
    """``split(head, **settings)``: a configuration of three files without times."""

    def split(head: str = SPLIT, **settings: Any) -> Any:
        given = {
            "benchmark_filename": ["train", "valid", "test"],
            "alias_of_item_id": ["item_id_list"],
            "load_col": {"inter": ["user_id", "item_id_list", "item_id"]},
        }
        config = make_config(**{**given, **settings})
        for place, part in enumerate(config["benchmark_filename"]):
            rows = [f"u{user}\ti{user} i{user + 1}\ti{user + 2 + place}" for user in range(4)]
            Path(config["data_path"], f"toy.{part}.inter").write_text("\n".join([head, *rows]) + "\n")
        return config

    return split


def test_split_files_need_no_times(split: Callable[..., Any]) -> None:
    check_atomic_files(split())


def test_split_files_are_known_by_their_histories(split: Callable[..., Any]) -> None:
    config = split()
    before = Data(config).description["fingerprint"]
    path = Path(config["data_path"], "toy.train.inter")
    path.write_text(path.read_text().replace("i0 i1", "i1 i0"))
    assert Data(config).description["fingerprint"] != before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"alias_of_item_id": None}, "set --alias_of_item_id=\"['item_id_list']\""),
        ({"load_col": {"inter": ["user_id", "item_id"]}}, "set --load_col=\"{'inter':['item_id', 'item_id_list', "),
        ({"benchmark_filename": ["train", "dev", "test"]}, None),
        ({"head": SPLIT.replace("_list:token_seq", "s:token_seq")}, "has no column item_id_list:token_seq"),
    ],
)
def test_split_files_that_recbole_would_misread_are_refused(
    split: Callable[..., Any], settings: dict[str, Any], said: str | None
) -> None:
    config = split(**settings)
    if said is None:
        Path(config["data_path"], "toy.dev.inter").unlink()
        said = "there is no"
    assert said in refusal(config)


def test_rows_of_split_files_need_a_history(split: Callable[..., Any]) -> None:
    config = split()
    with Path(config["data_path"], "toy.valid.inter").open("a") as file:
        file.write("u9\t\ti3\n")
    found = refusal(config)
    assert "1 of 5 lines of" in found
    assert "toy.valid.inter have no item_id_list, the first is line 6 with []" in found


def test_histories_of_split_files_are_the_latest_items_in_all_columns(split: Callable[..., Any]) -> None:
    train, *_ = Data(split(MAX_ITEM_LIST_LENGTH=1, train_mode="prefix")).loaders
    dataset = train._dataset
    found = dataset.id2token("item_id", dataset.inter_feat["item_id_list"])
    assert found.tolist() == [["i1"], ["i2"], ["i3"], ["i4"]]
    assert dataset.inter_feat["item_length"].tolist() == [1, 1, 1, 1]
    wide, *_ = Data(split(MAX_ITEM_LIST_LENGTH=5, train_mode="prefix")).loaders
    assert wide._dataset.inter_feat["item_id_list"].shape == (4, 5)


def test_training_part_of_split_files_cannot_be_told(split: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"give the plain \.inter file and let RecBole split it, or item vectors"):
        Data(split()).check_histories()


@pytest.mark.parametrize("longest", [1, 5])  # of what a model reads
def test_held_out_rows_of_split_files_have_their_whole_histories(split: Callable[..., Any], longest: int) -> None:
    data = Data(split(MAX_ITEM_LIST_LENGTH=longest))
    rows = held_out(data, "test")
    assert rows.user_tokens.tolist() == ["u0", "u1", "u2", "u3"]
    assert rows.length.tolist() == [2, 2, 2, 2]
    first = [data.item_tokens[item - 1] for item in rows.items[rows.start[0] : rows.start[0] + 2]]
    assert (first, data.item_tokens[rows.target[0] - 1]) == (["i0", "i1"], "i4")
