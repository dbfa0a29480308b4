"""CSV files, plain or gzipped, read as a stream of lines; each column becomes what the survey's map says it is.

A CSV file names no types, and a guess would turn a long id into a float, so a column stays text until its role is
known. A range of rows is a range of bytes: the lines that begin in it.
"""

from __future__ import annotations

import csv
import gzip
import io
import logging
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from skymill.survey.columns import Columns, ColumnType, Role
from skymill.survey.errors import TableError
from skymill.survey.readers.base import Shape
from skymill.survey.readers.parquet import to_numpy

SUFFIXES = (".csv", ".csv.gz")
NULLS = ("", "null", "NULL", "\\N")
"""Texts that mean an empty field."""
TRUTHS = {"t": "true", "f": "false"}
"""Booleans as PostgreSQL writes them."""
BLOCK_BYTES = 8 << 20
"""What is parsed at a time."""
CUT_BYTES = 1 << 20
"""A file is cut at the first line that begins after a multiple of this."""
LONGEST_HEADER = 1 << 20
TYPES: dict[Role, tuple[pa.DataType, ...]] = {
    "integer id": (pa.int64(), pa.uint64()),
    "packed id": (pa.int64(), pa.uint64()),
    "mark": (pa.int64(), pa.bool_()),
    "angle": (pa.float64(),),
    "flux": (pa.float64(),),
    "number": (pa.float64(), pa.bool_()),
    "class": (pa.string(),),
    "hashed id": (pa.string(),),
}
"""What the texts of a role are read as; the second where not all are of the first."""

logger = logging.getLogger(__name__)


def shape(path: Path) -> Shape:
    """Read the line of column names; of a gzipped file, all of it, since its length is not written down.

    Raises
    ------
    TableError
        If there is no line of names, two columns have one name, or the file was cut off.
    """
    with _open(path) as stream:
        names, start = _header(stream, path)
        sample = stream.read(CUT_BYTES)
        end = stream.seek(0, io.SEEK_END) if path.suffix != ".gz" else _length(stream)
        n_lines = max(sample.count(b"\n"), 1)
    types = {name: ColumnType("untyped", "text of a CSV file") for name in names}
    cuts = [start, *range(start + CUT_BYTES, end, CUT_BYTES), end] if end > start else [start]
    return Shape(types, cuts, line_bytes=max(len(sample) / n_lines, 1.0))


def read(path: Path, columns: Mapping[str, Role], start: int, stop: int, block_rows: int) -> Iterator[Columns]:
    """Read the lines that begin in a range of bytes, block by block.

    Raises
    ------
    TableError
        If a line has more or fewer fields than there are names, or a field is not what its role asks for.
    """
    with _open(path) as stream:
        names, first = _header(stream, path)
        for lines in _chunks(stream, max(start, first), stop, first, path):
            table = _parsed(lines, names, columns)
            for offset in range(0, table.num_rows, block_rows):
                rows = table.slice(offset, block_rows)
                yield {
                    name: _typed(rows.column(name).combine_chunks(), name, role, path) for name, role in columns.items()
                }


def _chunks(stream: IO[bytes], start: int, stop: int, first: int, path: Path) -> Iterator[bytes]:
    """Give the lines that begin in [start, stop), about `BLOCK_BYTES` at a time and never a part of a line.

    pyarrow's own stream would read 32 blocks ahead.
    """
    stream.seek(max(start - 1, first))
    if start > first:
        stream.readline()  # the rest of the line in which the range begins; nothing but a line end where it is whole
    while (room := stop - stream.tell()) > 0:
        pieces = [stream.read(min(BLOCK_BYTES, room))]
        within_quotes = pieces[0].count(b'"') % 2
        while within_quotes or not pieces[-1].endswith(b"\n"):
            line = stream.readline()
            if not line or (within_quotes and stream.tell() - len(line) >= stop):
                break
            pieces.append(line)
            within_quotes ^= line.count(b'"') % 2
        if within_quotes:
            raise TableError(
                f"{path}: near byte {stream.tell()} a field in quotes runs over the end of a line where the file is "
                "cut, or over the end of the file; write the table without line ends inside fields"
            )
        if not pieces[-1].endswith(b"\n"):
            logger.warning("%s: the last line has no line end; make sure that the file was not cut off", path)
        yield b"".join(pieces)


def _parsed(lines: bytes, names: list[str], columns: Mapping[str, Role]) -> pa.Table:
    """Split lines into fields; the columns asked for, as text."""
    if not lines.strip():
        return pa.table({name: pa.array([], pa.string()) for name in columns})
    text = dict.fromkeys(columns, pa.string())
    return arrow_csv.read_csv(
        pa.py_buffer(lines),
        read_options=arrow_csv.ReadOptions(column_names=names, block_size=len(lines) + 1, use_threads=False),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(include_columns=list(columns), column_types=text),
    )


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    if not path.name.endswith(SUFFIXES):
        raise TableError(f"{path}: expected a file named {' or '.join(SUFFIXES)}; rename it, or correct `format`")
    try:
        with cast(IO[bytes], gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TableError(
            f"{path}: expected a complete gzip file, found one that is not ({error}); fetch it again"
        ) from error
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise TableError(
            f"{path}: expected lines of comma-separated fields in UTF-8, found what cannot be read ({reason}); "
            "correct the line, or fetch the file again if it was cut off"
        ) from error


def _header(stream: IO[bytes], path: Path) -> tuple[list[str], int]:
    """The names and the byte at which the rows begin.

    Lines that begin with # before the names are comments (ECSV, CasJobs). Where only such lines stand before the
    numbers, the last of them holds the names (HSC).
    """
    names: list[str] = []
    while True:
        start, line = stream.tell(), stream.readline(LONGEST_HEADER)
        if not line.endswith(b"\n") and not (line and len(line) < LONGEST_HEADER):
            raise TableError(f"{path}: expected a line of column names, found none; fetch or write the file again")
        fields = _fields(line.removeprefix(b"\xef\xbb\xbf"))
        if not line.startswith(b"#"):
            break
        names = _fields(line[1:])
    if not (_is_number(fields[0]) and len(names) == len(fields)):
        names, start = fields, stream.tell()
    stream.seek(start)
    twice = sorted({name for name in names if names.count(name) > 1})
    if all(map(_is_number, names)) or twice:
        found = f"'{twice[0]}' twice" if twice else f"'{','.join(names[:4])}'"
        raise TableError(f"{path}: expected column names, each once, found {found}; write a header line of names")
    return names, start


def _fields(line: bytes) -> list[str]:
    return [field.strip() for field in next(csv.reader([line.decode().strip()], skipinitialspace=True), [""])] or [""]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _length(stream: IO[bytes]) -> int:
    """Read to the end, and give its position."""
    while stream.read(BLOCK_BYTES):
        pass
    return stream.tell()


def _typed(column: pa.Array, name: str, role: Role, path: Path) -> NDArray[np.generic]:
    texts = pc.utf8_trim_whitespace(column)
    texts = pc.if_else(pc.is_in(texts, pa.array(NULLS)), None, texts)
    for wanted in TYPES[role]:
        try:
            return to_numpy(_cast(texts, wanted))
        except pa.ArrowInvalid:
            continue
    value = next((text for text in texts.drop_null().to_pylist() if not _fits(text, TYPES[role])), "a mixture")
    raise TableError(
        f"{path}: column '{name}' ({role}): expected {TYPES[role][0]}, found '{value}'; correct the value or the "
        f"column map, and leave empty what is missing (empty are: nothing, {', '.join(NULLS[1:])})"
    )


def _cast(texts: pa.Array, wanted: pa.DataType) -> pa.Array:
    if wanted == pa.bool_():
        for short, word in TRUTHS.items():
            texts = pc.if_else(pc.equal(pc.utf8_lower(texts), short), word, texts)
    return texts.cast(wanted)


def _fits(text: str, types: tuple[pa.DataType, ...]) -> bool:
    for wanted in types:
        try:
            _cast(pa.array([text]), wanted)
        except pa.ArrowInvalid:
            continue
        return True
    return False
