"""Item vectors in text: RecBole's ``.itememb``, CSV, TSV and JSON lines. As many vectors as lines, or an error."""

import re
from collections.abc import Sequence
from itertools import islice
from logging import getLogger
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import torch

from recbole_tslrec.augmentation.vector_rows import TokensAndRows, VectorsError, count_rows, one_width, parse_rows
from recbole_tslrec.augmentation.vector_tables import ITEM, listed, numbered, tokens_and_rows
from recbole_tslrec.data.content import LINE_LIMIT, open_bytes, open_text
from recbole_tslrec.data.delimited import WHITE, is_number, read_table, separator_of, split
from recbole_tslrec.data.lines import check_nesting, count_lines, first_lines

_BLOCK = 4096  # rows that are parsed at once


def read_text(path: Path) -> TokensAndRows:
    """Item vectors from text, by what its first line looks like.

    Raises:
        VectorsError: a line is not like the others, or it is not clear which column is what.
        SourceError: it is no text.
    """
    lines = first_lines(path)
    if not lines:
        raise VectorsError(f"{path} is empty; check what wrote it")
    if lines[0].lstrip().startswith("["):
        raise VectorsError(
            f"{path} is one JSON array; write one object a line:\n"
            f"    import pandas; df = pandas.read_json({str(path)!r})\n"
            f"    df.to_json({str(path.with_suffix('.jsonl'))!r}, orient='records', lines=True)"
        )
    if lines[0].lstrip().startswith("{"):
        return tokens_and_rows(path, _json_lines(path))
    if re.search(r":(token|float|float_seq)(\t|$)", lines[0]):
        return _read_atomic(path)
    return tokens_and_rows(path, _delimited(path, lines))


def _read_atomic(path: Path) -> TokensAndRows:
    """RecBole's atomic file. Tabs separate and nothing quotes, so that a lone double quote swallows no line."""
    tokens: list[str] = []
    blocks = []
    with open_text(path) as file:
        header = file.readline().rstrip("\n").split("\t")
        token_field, vector_fields = _atomic_fields(path, header)
        lines = ((number, line.rstrip("\n").split("\t")) for number, line in enumerate(file, start=2) if line.strip())
        # by blocks: the text of a vector takes several times the memory of its numbers
        while block := list(islice(lines, _BLOCK)):
            for number, fields in block:
                if len(fields) != len(header):
                    raise VectorsError(
                        f"{path}, line {number} has {len(fields)} fields separated by tabs, not {len(header)} as its "
                        "first line; correct it"
                    )
            tokens.extend(fields[token_field] for _, fields in block)
            blocks.append(parse_rows(path, (" ".join(fields[it] for it in vector_fields) for _, fields in block)))
    width = one_width(path, {block.shape[1] for block in blocks})
    taken = listed([header[it] for it in vector_fields])
    getLogger().info(
        f"{path}: {len(tokens):,} vectors of width {width} from {taken}, tokens from [{header[token_field]}]"
    )
    return tokens, torch.from_numpy(np.concatenate(blocks))


def _atomic_fields(path: Path, header: Sequence[str]) -> tuple[int, list[int]]:
    """The places of the token and of the numbers."""
    kinds = [field.rpartition(":")[2] for field in header]
    vector_fields = [i for i, kind in enumerate(kinds) if kind == "float_seq"]
    vector_fields = vector_fields or [i for i, kind in enumerate(kinds) if kind == "float"]
    if kinds.count("token") != 1 or kinds.count("float_seq") > 1 or not vector_fields:
        raise VectorsError(
            f"{path} has the header {header}; it must name one token field and one float_seq field (or float fields), "
            "separated by tabs, such as item_id:token and item_emb:float_seq"
        )
    return kinds.index("token"), vector_fields


def _json_lines(path: Path) -> pa.Table:
    check_nesting(path)
    with open_bytes(path) as file:
        try:
            return pyarrow.json.read_json(file, pyarrow.json.ReadOptions(use_threads=False, block_size=2 * LINE_LIMIT))
        except pa.ArrowInvalid as error:
            raise VectorsError(
                f"{path} is not one JSON object a line with the same fields ({error}); write it again"
            ) from error


def _delimited(path: Path, lines: Sequence[str]) -> pa.Table:
    separator = separator_of(lines)
    if separator in ("::", WHITE):
        raise _no_columns(path, lines)
    rows = [split(line, separator) for line in lines]
    has_header = not _holds_numbers(rows[0])
    names = [name.strip() for name in rows[0]] if has_header else _names(rows)
    types = {ITEM: pa.string(), **dict.fromkeys(_vector_columns(names, rows[has_header:]), pa.float32())}
    try:
        table = _parse(path, separator, names, has_header, types)
        whole = [field.name for field in table.schema if pa.types.is_integer(field.type)]
        if ITEM not in names and len(whole) == 1 and not count_rows(table.column(whole[0]).to_pylist()):
            table = _parse(path, separator, names, has_header, {**types, whole[0]: pa.string()})  # 007 is not 7
    except pa.ArrowInvalid as error:
        read_table(path, separator, len(names), [0], has_header)  # names the line if it has too many fields or too few
        raise VectorsError(f"{path} cannot be read as a table ({error}); write it again") from error
    total, blank = count_lines(path)
    if len(table) != total - blank - has_header:  # a quoted field goes over lines, or a lone quote has swallowed them
        read_table(path, separator, len(names), [0], has_header)
    return table


def _no_columns(path: Path, lines: Sequence[str]) -> VectorsError:
    last = lines[-1].split()
    if len(last) < 3 or not all(map(is_number, last[1:])):
        return VectorsError(
            f"{path} is text without columns, its first line is [{lines[0][:60]}]; write it again, as parquet or CSV "
            f"with a column {ITEM} and the vectors"
        )
    skipped = int(len(lines[0].split()) < len(last))  # word2vec's counts of words and numbers
    return VectorsError(
        f"{path} has blanks between columns without names, as word2vec and GloVe write vectors; convert it:\n"
        f"    import pandas; df = pandas.read_csv({str(path)!r}, sep=r'\\s+', header=None, quoting=3, "
        f"dtype={{0: str}}, skiprows={skipped})\n"
        f"    df.rename(columns={{0: '{ITEM}'}}).rename(columns=str).to_parquet({str(path.with_suffix('.parquet'))!r})"
    )


def _holds_numbers(first: Sequence[str]) -> bool:
    """Whether a first line is a vector, not names of columns; such names may be numbers, but they count."""
    numbers = [field for field in first if is_number(field)]
    return len(numbers) >= max(1, len(first) - 1) and not all(field.strip().isdecimal() for field in numbers)


def _names(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names for the columns of a file that has none: the first may hold tokens."""
    has_tokens = not any("." in row[0] and is_number(row[0]) for row in rows)
    numbers = list(map(str, range(len(rows[0]))))
    return ["first", *numbers[:-1]] if has_tokens else numbers


def _vector_columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The columns with numbers in their names that hold numbers, as far as one has looked."""
    are_floats = [
        all(is_number(row[place] or "nan") for row in rows if len(row) > place) for place in range(len(names))
    ]
    return numbered([name for name, is_one in zip(names, are_floats, strict=True) if is_one])


def _parse(
    path: Path, separator: str, names: Sequence[str], has_header: bool, types: dict[str, pa.DataType]
) -> pa.Table:
    with open_bytes(path) as file:
        return pyarrow.csv.read_csv(
            file,
            pyarrow.csv.ReadOptions(
                column_names=names, skip_rows=int(has_header), use_threads=False, block_size=2 * LINE_LIMIT
            ),
            pyarrow.csv.ParseOptions(
                delimiter=separator,
                quote_char=False if separator == "\t" else '"',
                newlines_in_values=separator != "\t",
            ),
            pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )
