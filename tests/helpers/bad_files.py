"""Whole files that cannot be read, or look as if they could not: how they are made, and what the error says."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
from astropy.io import fits
from astropy.table import Table
from bad_rows import ROWS, sound_columns, write_parquet


@dataclass(frozen=True)
class FileCase:
    """A whole file that cannot be read, or looks as if it could not."""

    what: str
    table_format: str
    write: Callable[[Path], Path]
    refused: str | None
    """What the error says, as a regular expression; None where the file is read."""
    said: str
    changes: dict[str, Any] = field(default_factory=dict)


def spoilt(name: str, write: Callable[[Path], Path], change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """Write a file and change its bytes."""

    def make(folder: Path) -> Path:
        path = write(folder)
        content = path.read_bytes()
        path.unlink()
        (folder / name).write_bytes(change(content))
        return folder / name

    return make


def parquet(folder: Path, **columns: Any) -> Path:
    return write_parquet(sound_columns() | columns, folder / "t.parquet")


def plain() -> dict[str, np.ndarray]:
    return {name: np.ma.getdata(values) for name, values in sound_columns().items()}


def fits_table(folder: Path) -> Path:
    Table(plain()).write(folder / "t.fits")
    return folder / "t.fits"


def two_fits_tables(folder: Path) -> Path:
    tables = [fits.BinTableHDU(Table(plain()), name=name) for name in ("ONE", "TWO")]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(folder / "t.fits")
    return folder / "t.fits"


def csv_table(folder: Path) -> Path:
    arrow_csv.write_csv(pa.table(plain()), folder / "t.csv")
    return folder / "t.csv"


def hdf5_table(folder: Path) -> Path:
    with h5py.File(folder / "t.h5", "w") as file:
        for name, values in plain().items():
            file[f"data/{name}"] = values
    return folder / "t.h5"


def hdf5_of_two_lengths(folder: Path) -> Path:
    path = hdf5_table(folder)
    with h5py.File(path, "a") as file:
        file["data/short"] = np.zeros(3)
    return path


def hdf5_of_two_tables(folder: Path) -> Path:
    path = hdf5_table(folder)
    with h5py.File(path, "a") as file:
        file["other/id"] = np.zeros(3)
    return path


def hdf5_of_pandas(folder: Path) -> Path:
    path = hdf5_table(folder)
    with h5py.File(path, "a") as file:
        file["data"].attrs["pandas_type"] = "frame"
    return path


def votable(folder: Path) -> Path:
    Table(plain()).write(folder / "t.vot", format="votable")
    return folder / "t.vot"


def no_file(folder: Path) -> Path:
    return folder / "absent.parquet"


def lines(change: Callable[[list[str]], list[str]]) -> Callable[[bytes], bytes]:
    return lambda content: "".join(line + "\n" for line in change(content.decode().splitlines())).encode()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def cell(content: list[str], row: int, column: int, value: str) -> list[str]:
    fields = content[row].split(",")
    fields[column] = value
    return [*content[:row], ",".join(fields), *content[row + 1 :]]


VECTOR = np.ma.MaskedArray(np.zeros(ROWS, "f4"))
FILE_CASES = (
    FileCase("no such file", "parquet", no_file, "no such file or folder", "names the path"),
    FileCase(
        "a folder without tables",
        "parquet",
        lambda folder: folder,
        r"expected files named \.parquet",
        "names the endings",
    ),
    FileCase(
        "Parquet cut off",
        "parquet",
        spoilt("t.parquet", parquet, cut),
        "expected a complete Parquet file",
        "fetch or write it again",
    ),
    FileCase(
        "another kind of file under the name",
        "parquet",
        spoilt("t.parquet", parquet, lambda _: b"<html>"),
        "expected a complete Parquet file",
        "fetch or write it again",
    ),
    FileCase(
        "an id stored as float",
        "parquet",
        lambda folder: parquet(folder, id=VECTOR),
        r"column 'id' \(integer id\): expected integers, found float",
        "a float cannot hold ids above 2^53",
    ),
    FileCase(
        "a flux stored as text",
        "parquet",
        lambda folder: parquet(folder, g_flux=np.ma.MaskedArray(["1"] * ROWS)),
        r"column 'g_flux' \(flux\): expected numbers, found string",
        "store fluxes as numbers",
    ),
    FileCase(
        "a mapped column that is not there",
        "parquet",
        lambda folder: parquet(folder),
        r"1 of \d+ mapped columns are missing: 'sizes' \(similar: size\)",
        "names similar columns",
        {"values": {"size": {"column": "sizes", "unit": "arcsec"}}},
    ),
    FileCase(
        "FITS cut off",
        "fits",
        spoilt("t.fits", fits_table, cut),
        "the headers announce .* it was cut off",
        "fetch it again",
    ),
    FileCase(
        "FITS compressed",
        "fits",
        spoilt("t.fits.gz", fits_table, gzip.compress),
        "unpack compressed FITS tables first",
        "unpack it",
    ),
    FileCase(
        "two tables in one FITS file",
        "fits",
        two_fits_tables,
        r"expected one binary table, found 2 \('ONE', 'TWO'\)",
        "write the table to a file of its own",
    ),
    FileCase("big-endian numbers (every FITS file)", "fits", fits_table, None, "none needed"),
    FileCase(
        "CSV cut off in a line",
        "csv",
        spoilt("t.csv", csv_table, cut),
        r"Expected \d+ columns, got \d",
        "fetch the file again",
    ),
    FileCase(
        "CSV line with a field too many",
        "csv",
        spoilt("t.csv", csv_table, lines(lambda text: [*text, text[-1] + ",1"])),
        r"Expected \d+ columns, got \d",
        "correct the line",
    ),
    FileCase(
        "CSV with text where a flux should be",
        "csv",
        spoilt("t.csv", csv_table, lines(lambda text: cell(text, 8, 6, "bright"))),
        r"column 'g_flux' \(flux\): expected double, found 'bright'",
        "correct the value or leave it empty",
    ),
    FileCase(
        "CSV with an id written as a decimal",
        "csv",
        spoilt("t.csv", csv_table, lines(lambda text: cell(text, 8, 0, "1.15e18"))),
        r"column 'id' \(integer id\): expected int64, found '1.15e18'",
        "correct the value",
    ),
    FileCase(
        "CSV without names of columns",
        "csv",
        spoilt("t.csv", csv_table, lines(lambda text: text[1:])),
        "expected column names",
        "write a header line",
    ),
    FileCase(
        "CSV with two columns of one name",
        "csv",
        spoilt("t.csv", csv_table, lines(lambda text: cell(text, 0, 3, '"id"'))),
        "found 'id' twice",
        "write a header line of names, each once",
    ),
    FileCase(
        "CSV in another encoding",
        "csv",
        spoilt("t.csv", csv_table, lambda content: content.decode().encode("utf-16")),
        "t.csv: expected ",
        "write it in UTF-8",
    ),
    FileCase(
        "CSV with a quote that is not closed",
        "csv",
        spoilt("t.csv", csv_table, lambda content: content + b'1,"'),
        "a field in quotes runs over",
        "close it",
    ),
    FileCase(
        "CSV gzipped and cut off",
        "csv",
        spoilt("t.csv.gz", csv_table, lambda content: cut(gzip.compress(content))),
        "expected a complete gzip file",
        "fetch it again",
    ),
    FileCase(
        "CSV with a byte order mark and Windows line ends",
        "csv",
        spoilt("t.csv", csv_table, lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")),
        None,
        "none needed",
    ),
    FileCase(
        "CSV whose last line has no end",
        "csv",
        spoilt("t.csv", csv_table, lambda content: content.rstrip(b"\n")),
        None,
        "none needed; the log warns",
    ),
    FileCase(
        "HDF5 cut off", "hdf5", spoilt("t.h5", hdf5_table, cut), "expected a complete HDF5 file", "fetch it again"
    ),
    FileCase(
        "HDF5 datasets of different lengths",
        "hdf5",
        hdf5_of_two_lengths,
        "expected datasets of one length",
        "write the file again",
    ),
    FileCase(
        "two tables in one HDF5 file",
        "hdf5",
        hdf5_of_two_tables,
        "expected one table, .* found 2",
        "write the table to a file of its own",
    ),
    FileCase(
        "HDF5 in the layout of pandas",
        "hdf5",
        hdf5_of_pandas,
        "written by pandas in a layout of its own",
        "read_hdf, to_parquet",
    ),
    FileCase(
        "VOTable cut off",
        "votable",
        spoilt("t.vot", votable, cut),
        "expected a complete VOTable",
        "fetch the file again",
    ),
    FileCase(
        "VOTable that the service cut short",
        "votable",
        spoilt(
            "t.vot",
            votable,
            lambda content: content.replace(b"<TABLE", b'<INFO name="QUERY_STATUS" value="OVERFLOW"/><TABLE', 1),
        ),
        "marked it OVERFLOW: rows are missing",
        "query again in smaller pieces",
    ),
    FileCase(
        "VOTable with text where a number should be",
        "votable",
        spoilt("t.vot", votable, lambda content: content.replace(b"<TD>1</TD>", b"<TD>one</TD>", 1)),
        "expected a complete VOTable, found what cannot be read",
        "fetch the file again",
    ),
    FileCase(
        "a format that the file does not have", "fits", parquet, r"expected a file named \.fits", "correct `format`"
    ),
)
