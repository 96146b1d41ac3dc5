"""Item vectors are read from every format, and what is wrong with a file is said in one sentence."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import save_file

from recbole_tslrec.augmentation.vector_rows import VectorsError
from recbole_tslrec.augmentation.vectors import open_vectors, read_vectors
from recbole_tslrec.store.artifacts import ArtifactError
from recbole_tslrec.store.contents import ContentHashes

TOKENS = ["b", "a", "ä b"]  # neither sorted nor ASCII, and with a space
ROWS = torch.tensor([[0.1, -2.0], [3.0, 1e-30], [-0.0, 7.5]])


def write_tokens(folder, tokens=TOKENS):
    (folder / "tokens.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")


def write_npy(folder, rows=ROWS, tokens=TOKENS):
    write_tokens(folder, tokens)
    np.save(folder / "vectors.npy", rows.numpy() if isinstance(rows, torch.Tensor) else rows)
    return folder / "vectors.npy"


def write_safetensors(folder):
    write_tokens(folder)
    save_file({"embeddings": ROWS}, folder / "vectors.safetensors")
    return folder / "vectors.safetensors"


def write_export(folder):
    """As `export --format=safetensors` leaves it: a table, a bias and the tokens in the header."""
    metadata = {"tokens": json.dumps(TOKENS), "model": "SASRec"}
    save_file({"item_table": ROWS, "item_bias": torch.zeros(3)}, folder / "vectors.safetensors", metadata)
    return folder / "vectors.safetensors"


def write_parquet(folder, columns=None):
    columns = columns or {"item_id": TOKENS, "vector": pa.array(ROWS.tolist(), pa.list_(pa.float32()))}
    parquet.write_table(pa.table(columns), folder / "vectors.parquet")
    return folder / "vectors.parquet"


def write_fixed_size_lists(folder):
    vectors = pa.array(ROWS.tolist(), pa.list_(pa.float32(), 2))
    return write_parquet(folder, {"bias": [0.5, 0.5, 0.5], "vector": vectors, "item_id": TOKENS})


def write_number_columns(folder):
    table = {"x": pa.array(ROWS[:, 0].numpy()), "name": pa.array(TOKENS).dictionary_encode(), "y": ROWS[:, 1].numpy()}
    return write_parquet(folder, table)


def write_itememb(folder, header="iid:token\titem_emb:float_seq", lines=None):
    lines = lines or [f"{token}\t{' '.join(map(repr, row))}" for token, row in zip(TOKENS, ROWS.tolist(), strict=True)]
    (folder / "vectors.itememb").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder / "vectors.itememb"


def write_float_fields(folder):
    lines = [f"{x!r}\t{token}\t{y!r}" for token, (x, y) in zip(TOKENS, ROWS.tolist(), strict=True)]
    return write_itememb(folder, "x:float\titem_id:token\ty:float", lines)


WRITERS = [
    write_npy,
    write_safetensors,
    write_export,
    write_parquet,
    write_fixed_size_lists,
    write_number_columns,
    write_itememb,
    write_float_fields,
]


# What is read


@pytest.mark.parametrize("write", WRITERS)
def test_tokens_and_vectors_come_back(write, tmp_path):
    vectors = read_vectors(write(tmp_path))
    assert vectors.tokens == TOKENS
    assert vectors.rows.dtype == torch.float32
    assert torch.equal(vectors.rows, ROWS)


def test_artifact_is_read(make_knowledge):
    vectors = read_vectors(make_knowledge(TOKENS, ROWS).folder)
    assert vectors.tokens == TOKENS
    assert torch.equal(vectors.rows, ROWS)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, ">f4"])
def test_numbers_of_other_types_become_float32(tmp_path, dtype):
    whole = np.array([[1, 2], [3, 4], [5, 6]])
    assert torch.equal(read_vectors(write_npy(tmp_path, whole.astype(dtype))).rows, torch.from_numpy(whole).float())


def test_whole_numbers_as_tokens_become_their_decimal_strings(tmp_path):
    columns = {"item_id": [30, 4, 500], "vector": pa.array(ROWS.tolist(), pa.list_(pa.float32()))}
    assert read_vectors(write_parquet(tmp_path, columns)).tokens == ["30", "4", "500"]


def test_tensor_named_knowledge_is_taken_among_several(tmp_path):
    write_tokens(tmp_path)
    save_file({"knowledge": ROWS, "centers": torch.zeros(4, 2)}, tmp_path / "vectors.safetensors")
    assert torch.equal(read_vectors(tmp_path / "vectors.safetensors").rows, ROWS)


def test_vectors_of_an_npy_file_can_be_changed_without_changing_the_file(tmp_path):
    path = write_npy(tmp_path)
    read_vectors(path).rows.zero_()
    assert torch.equal(read_vectors(path).rows, ROWS)


# What is refused


def refused(path, message):
    with pytest.raises(VectorsError, match=message) as error:
        read_vectors(path)
    assert str(path.parent) in str(error.value)


def test_file_that_does_not_exist(tmp_path):
    refused(tmp_path / "vectors.npy", "does not exist; check the path")


def test_folder_that_is_no_artifact(tmp_path):
    with pytest.raises(ArtifactError, match="is no artifact folder"):
        read_vectors(tmp_path)


@pytest.mark.parametrize("write", [write_npy, write_safetensors])
def test_missing_tokens(write, tmp_path):
    path = write(tmp_path)
    (tmp_path / "tokens.txt").unlink()
    refused(path, rf"tokens\.txt is missing; write the item token of each row of {path.name} there, one a line")


def test_too_few_tokens(tmp_path):
    refused(write_npy(tmp_path, tokens=TOKENS[:2]), "has 3 rows but 2 item tokens; give one token for each row")


def test_duplicate_tokens_are_counted_and_the_first_is_named(tmp_path):
    tokens = ["c", "a", "b", "a", "b", "b"]
    refused(write_npy(tmp_path, ROWS.repeat(2, 1), tokens), "has 2 item tokens more than once, the first is 'a'")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_vectors_that_are_not_finite_are_counted_and_the_first_is_named(tmp_path, value):
    rows = ROWS.clone()
    rows[1, 0] = rows[2, 1] = value
    refused(write_npy(tmp_path, rows), "has 2 vectors that are not finite, the first is of item 'a'; compute")


def test_number_too_large_for_float32_is_not_finite(tmp_path):
    rows = ROWS.double().numpy()
    rows[0, 0] = 1e300
    with np.errstate(over="ignore"):
        refused(write_npy(tmp_path, rows), "has 1 vectors that are not finite, the first is of item 'b'")


def test_array_of_three_dimensions(tmp_path):
    refused(write_npy(tmp_path, ROWS.view(3, 2, 1)), r"shape \(3, 2, 1\); item vectors are 2-d")


def test_pickled_npy(tmp_path):
    np.save(tmp_path / "vectors.npy", np.array([[1, None]], dtype=object), allow_pickle=True)
    write_tokens(tmp_path)
    refused(tmp_path / "vectors.npy", "is no plain array .*; save the vectors as a float32 array")


@pytest.mark.parametrize("write", [write_npy, write_export, write_parquet])
def test_damaged_file(write, tmp_path):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    refused(path, f"{path.name} is no .*; (write it again|save the vectors)")


def test_values_that_are_no_numbers(tmp_path):
    refused(write_npy(tmp_path, np.array([["x"], ["y"], ["z"]])), "holds values of type <U1; save the vectors")


def test_several_tables_in_safetensors(tmp_path):
    write_tokens(tmp_path)
    save_file({"x": ROWS, "y": ROWS + 1}, tmp_path / "vectors.safetensors")
    refused(tmp_path / "vectors.safetensors", r"holds 2 2-d tensors; keep one, or name the item vectors \[knowledge\]")


@pytest.mark.parametrize("lists", [[[1.0], [1.0, 2.0], [3.0]], [[1.0], None, [3.0]]])
def test_ragged_lists_in_parquet(tmp_path, lists):
    path = write_parquet(tmp_path, {"item_id": TOKENS, "vector": pa.array(lists, pa.list_(pa.float32()))})
    refused(path, "has vectors of several widths .*; give every item one of the same width")


def test_parquet_without_a_column_of_tokens(tmp_path):
    path = write_parquet(tmp_path, {"x": [0.5], "y": [0.5]})
    refused(path, r"has no column item_id; .*\n +df = df\.reset_index\(names=\"item_id\"\)")


def test_parquet_with_two_columns_that_may_be_tokens(tmp_path):
    path = write_parquet(tmp_path, {"asin": ["a"], "title": ["b"], "x": [0.5]})
    refused(path, r"has 2 columns .*\[asin, title\]\) and none of them is named item_id")


def test_parquet_with_two_columns_of_lists(tmp_path):
    refused(write_parquet(tmp_path, {"item_id": ["a"], "x": [[0.5]], "y": [[0.5]]}), "has 2 columns of lists .*; keep")


def test_parquet_row_without_a_token(tmp_path):
    refused(write_parquet(tmp_path, {"item_id": ["a", None], "x": [0.5, 0.5]}), "has 1 rows without a token")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("item_id\titem_emb:float_seq", "it must name one token field and one float_seq field"),
        ("item_id:token\tuser_id:token\titem_emb:float_seq", "it must name one token field"),
        ("item_id:token\tx:float_seq\ty:float_seq", "it must name one token field"),
        ("item_id:token\ttitle:token_seq", "it must name one token field"),
    ],
)
def test_header_of_an_itememb_file(tmp_path, header, message):
    refused(write_itememb(tmp_path, header), message)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a\t1 2", "b\t1"], r"several widths \(1, 2\)"),
        (["a\t1 2", "b\t1 two"], "no list of numbers .*two"),
        (["a\t1 2", "", "b"], "line 4 has 1 fields separated by tabs, not 2"),
        ([""], "holds no vectors"),
        (["a\t1 2\t3"], "line 2 has 3 fields separated by tabs, not 2"),
    ],
)
def test_rows_of_an_itememb_file(tmp_path, lines, message):
    refused(write_itememb(tmp_path, lines=lines), message)


# What tells one file from another


@pytest.fixture
def opened(tmp_path):
    """``opened(path)``: as a run opens vectors, with hashes that are kept in a folder of their own."""
    return lambda path: open_vectors(path, ContentHashes(tmp_path / "hashes"))


@pytest.mark.parametrize("write", WRITERS)
def test_hash_is_of_the_contents_wherever_they_lie(write, tmp_path, opened):
    (tmp_path / "one").mkdir()
    path = write(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    moved = (tmp_path / "other" / path.name).rename(tmp_path / "other" / f"renamed{path.suffix}")
    assert opened(moved).folder == moved
    assert opened(moved).hash == opened(path).hash


def test_changed_vectors_have_another_hash(tmp_path, opened):
    before = opened(write_npy(tmp_path)).hash
    assert opened(write_npy(tmp_path, ROWS + 1)).hash != before


def test_changed_tokens_have_another_hash(tmp_path, opened):
    before = opened(write_npy(tmp_path)).hash
    assert opened(write_npy(tmp_path, tokens=["b", "a", "c"])).hash != before


def test_artifact_keeps_its_hash(make_knowledge, opened):
    artifact = make_knowledge(TOKENS, ROWS)
    assert opened(artifact.folder).hash == artifact.hash
