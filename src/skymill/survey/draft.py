"""A first column map of an unknown table: what its names and declared units tell, and marks where a person decides."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from skymill.config.load import UNDECIDED
from skymill.config.survey import TableFormat
from skymill.config.text import plain
from skymill.survey import readers
from skymill.survey.errors import TableError
from skymill.survey.patterns import DECS, EBVS, IDS, PRIMARIES, RAS, UNITS, FluxColumns, first_named, flux_columns
from skymill.survey.readers import Shape
from skymill.survey.readers.base import ELEMENT
from skymill.survey.readers.tables import suffixes

MOST_FLUXES = 4
NUMBERS = ("integer", "float", "untyped")
LISTS = ("integer list", "float list", "boolean list", "text list")
DECLARED = "as the table declares"
FLUXES = "nJy, uJy, mJy, Jy, nanomaggy or count (with zero_point)"
MAGNITUDES = "mag_ab or mag_asinh (with softening); for Vega magnitudes add ab_offset, or keep them under `values`"


def draft(name: str, table: Path) -> str:
    """Write a survey's YAML from what a table says of itself.

    Parameters
    ----------
    name : str
    table : Path
        A file, a folder of files, or a HATS catalogue or collection.

    Returns
    -------
    str
        YAML whose undecided values are `DECIDE`, which `skymill config check` refuses.

    Raises
    ------
    TableError
        If the table cannot be read or its format is not known by its name.
    """
    table_format = format_of(table)
    first = readers.table_files(table, table_format)[0]
    shape = readers.shape(first, table_format)
    fluxes = flux_columns(name for name, (kind, _) in shape.columns.items() if kind in NUMBERS)
    bands = fluxes[0].bands if fluxes else ()
    chosen = [flux for flux in fluxes if flux.bands == bands][:MOST_FLUXES]
    lines = [
        f"# Survey '{name}', drafted from {plain(first.name)}. Every {UNDECIDED} waits for a decision; until then",
        "# `skymill config check` refuses this file. Units stand here only where the table declares them.",
        f"name: {name}",
        f"format: {table_format}",
        f"path: {_quoted(str(table))}",
        _bands_line(bands),
        _id_line(shape),
        _angle_line("ra", RAS, shape),
        _angle_line("dec", DECS, shape),
        *_primary_lines(shape),
        *_photometry_lines(chosen, shape.units),
        *_extinction_lines(shape, bands),
        *_rest_lines(shape, chosen, bands),
        *_nested_lines(shape),
    ]
    return "\n".join(lines) + "\n"


def format_of(table: Path) -> TableFormat:
    """Tell a table's format from its name.

    Raises
    ------
    TableError
        If there is nothing, or no file of a known name.
    """
    if not table.exists():
        raise TableError(f"{table}: no such file or folder; correct the path (relative to {Path.cwd()})")
    if any((table / name).is_file() for name in ("hats.properties", "properties", "collection.properties")):
        return "hats"
    formats: list[TableFormat] = [kind for kind in get_args(TableFormat) if kind != "hats"]
    for kind in formats:
        names = [table.name] if table.is_file() else (path.name for path in table.rglob("*"))
        if any(name.endswith(suffixes(kind)) for name in names):
            return kind
    known = ", ".join(suffix for kind in formats for suffix in suffixes(kind))
    raise TableError(f"{table}: expected a HATS catalogue or files named {known}; convert the table to Parquet")


def _bands_line(bands: tuple[str, ...]) -> str:
    if not bands:
        return f"bands: [{UNDECIDED}]  # from blue to red; no column was recognised as a flux in several bands"
    return f"bands: [{', '.join(bands)}]  # from blue to red"


def _id_line(shape: Shape) -> str:
    found = first_named(shape.columns, IDS)
    if found and shape.columns[found].kind in ("integer", "untyped"):
        return f"id: {{ column: {_quoted(found)} }}"
    kinds = "{ column: NAME } for integers, { pack: { A: 16, B: 12 } }, or { hash: [NAME] } for names"
    seen = f"'{found}' is {shape.columns[found].name}: " if found else ""
    return f"id: {UNDECIDED}  # {seen}{kinds}"


def _angle_line(key: str, known: tuple[str, ...], shape: Shape) -> str:
    column = first_named(shape.columns, known) or UNDECIDED
    unit = UNITS.get(shape.units.get(column, ""))
    note = DECLARED if unit else "deg, hourangle or rad"
    return f"{key}: {{ column: {_quoted(column)}, unit: {unit or UNDECIDED} }}  # {note}"


def _primary_lines(shape: Shape) -> list[str]:
    column = first_named(shape.columns, PRIMARIES)
    if column is None:
        return []
    keep = UNDECIDED if column.lower() == "mode" else "true"
    return [
        f"primary: {{ column: {_quoted(column)}, keep: {keep} }}  # other rows are excluded; take it out to keep all"
    ]


def _photometry_lines(fluxes: list[FluxColumns], units: Mapping[str, str]) -> list[str]:
    if not fluxes:
        return [
            f"photometry: {UNDECIDED}  # NAME: {{ column: '{{band}}_flux', error: '{{band}}_err', unit: nJy }}, or {{}}"
        ]
    lines = ["photometry:"]
    for flux in fluxes:
        lines += [f"  {flux.name}:", f"    column: {json.dumps(flux.column)}"]
        lines += [
            f"    {key}: {json.dumps(value)}" for key in ("error", "inverse_variance") if (value := getattr(flux, key))
        ]
        lines.append(f"    unit: {_flux_unit(flux, units)}")
    return lines


def _flux_unit(flux: FluxColumns, units: Mapping[str, str]) -> str:
    """The unit that all bands declare, where a map knows it; of magnitudes no table says whether they are AB."""
    measured = FluxColumns(flux.name, flux.column, flux.bands)
    declared = {units.get(column, "") for column in measured.columns(flux.bands)}
    said = declared.pop() if len(declared) == 1 else ""
    if said in UNITS and not flux.is_magnitude:
        return f"{UNITS[said]}  # {DECLARED}"
    hint = MAGNITUDES if flux.is_magnitude else FLUXES
    return f"{UNDECIDED}  # the table says '{plain(said)}': {hint}" if said else f"{UNDECIDED}  # {hint}"


def _extinction_lines(shape: Shape, bands: tuple[str, ...]) -> list[str]:
    column = first_named(shape.columns, EBVS)
    if column is None or not bands:
        return []
    coefficients = ", ".join(f"{band}: {UNDECIDED}" for band in bands)
    return [
        "extinction:  # or take it out",
        f"  column: {_quoted(column)}",
        f"  coefficients: {{ {coefficients} }}  # A_band / E(B-V) of the survey's filters",
    ]


def _rest_lines(shape: Shape, fluxes: list[FluxColumns], bands: tuple[str, ...]) -> list[str]:
    """Columns that nothing above names, for `values`."""
    used = {first_named(shape.columns, known) for known in (IDS, RAS, DECS, PRIMARIES, EBVS)}
    used |= {column for flux in fluxes for column in flux.columns(bands)}
    numbers = (name for name, (kind, _) in shape.columns.items() if kind in NUMBERS and not ELEMENT.fullmatch(name))
    rest = [name for name in numbers if name not in used]
    if not rest:
        return []
    return [
        "# Name what else you need under `values`, each column with its unit:",
        f"# values: {{ NAME: {{ column: {_quoted(rest[0])}, unit: {UNDECIDED} }} }}",
        *textwrap.wrap("Others: " + ", ".join(map(plain, rest)), 120, initial_indent="# ", subsequent_indent="#   "),
    ]


def _nested_lines(shape: Shape) -> list[str]:
    """Lists of any length, such as light curves, for `nested`."""
    lists = [name for name, (kind, _) in shape.columns.items() if kind in LISTS]
    if not lists:
        return []
    return [
        "# Light curves and other lists are carried along where `nested` names them, each number with its unit:",
        f"# nested: {{ NAME: {{ VALUE: {{ column: {_quoted(lists[0])}, unit: {UNDECIDED} }} }} }}",
        *textwrap.wrap("Lists: " + ", ".join(map(plain, lists)), 120, initial_indent="# ", subsequent_indent="#   "),
    ]


def _quoted(name: str) -> str:
    """Write a text as YAML would."""
    return name if re.fullmatch(r"[A-Za-z_./][\w./-]*", name) else json.dumps(name)
