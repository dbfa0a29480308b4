"""Nested columns of the rows that pass the gate: each source's observations, in the declared types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skymill.survey import flags
from skymill.survey.errors import TableError
from skymill.survey.flux import cleaned
from skymill.survey.ragged import ObservedValue, Ragged, observation_dtype

if TYPE_CHECKING:
    from skymill.config.survey import NestedValue, SurveyConfig
    from skymill.survey.blocks import SourceSchema

CATEGORY_DTYPE = "int8"
TAKEN = ("objectId", "coord_ra", "coord_dec", "flags", "values", "value", "band")
"""Arrays and dimensions of every source tile."""
OWN = ("count", "digest", "obs")
"""What stands behind the name of a nested column besides its values."""


def observed_values(config: SurveyConfig) -> dict[str, dict[str, ObservedValue]]:
    """Say what the observations of each nested column hold."""
    return {
        name: {
            key: ObservedValue(_dtype(value), value.unit or "", tuple(value.categories)) for key, value in of.items()
        }
        for name, of in config.nested.items()
    }


def check_names(config: SurveyConfig, schema: SourceSchema) -> None:
    """Refuse nested columns whose arrays (`lc_count`, `lc_mjd`) would be named like another.

    Raises
    ------
    TableError
        Naming the column and the arrays.
    """
    taken = {*TAKEN, *schema.photometry}
    for name, of in schema.nested.items():
        arrays = [f"{name}_{key}" for key in (*OWN, *of)]
        twice = sorted({array for array in arrays if array in taken or arrays.count(array) > 1})
        if twice:
            raise TableError(f"{config.where}: nested.{name}: two arrays would be named {', '.join(twice)}; rename one")
        taken.update(arrays)


def misfits(columns: Mapping[str, Ragged], config: SurveyConfig, n_rows: int) -> NDArray[np.bool_]:
    """Tell which rows have no clear observations: lists of different length, or an integer that has no number, (n,)."""
    wrong = np.zeros(n_rows, bool)
    for of in config.nested.values():
        counts = [columns[value.column].counts for value in of.values()]
        wrong |= np.any([each != counts[0] for each in counts], axis=0)
        for value in of.values():
            if _is_integer(value):
                wrong |= _rows_with(columns[value.column], _unfit(columns[value.column].values, value.dtype))
    return wrong


def nested(
    columns: Mapping[str, Ragged], config: SurveyConfig, n_rows: int
) -> tuple[dict[str, Ragged], NDArray[np.int32]]:
    """Convert the observations of rows without `misfits`.

    Returns
    -------
    nested : dict of Ragged
        By name of the nested column; a record per observation. NaN = not measured, of one bit pattern only.
    bits : ndarray of int32, (n,)
        Flags.
    """
    forms, found = observed_values(config), dict[str, Ragged]()
    bits = np.zeros(n_rows, np.int32)
    for name, of in config.nested.items():
        counts = columns[next(iter(of.values())).column].counts
        records = np.empty(counts.sum(), observation_dtype(forms[name]))
        for key, value in of.items():
            raw = columns[value.column]
            records[key] = _converted(raw.values, value)
            if value.categories:
                bits |= np.where(_rows_with(raw, records[key] < 0), flags.CATEGORY_UNKNOWN.mask, 0).astype(np.int32)
        found[name] = Ragged(counts, records)
    return found, bits


def _dtype(value: NestedValue) -> str:
    return CATEGORY_DTYPE if value.categories else value.dtype


def _is_integer(value: NestedValue) -> bool:
    return not value.categories and np.dtype(value.dtype).kind == "i"


def _unfit(values: NDArray[np.generic], dtype: str) -> NDArray[np.bool_]:
    limits, raw = np.iinfo(dtype), np.ma.getdata(values)
    outside = (raw > limits.max) | ((raw < limits.min) if raw.dtype.kind == "i" else False)
    return np.asarray(np.ma.getmaskarray(values) | outside)


def _rows_with(column: Ragged, what: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which rows have an observation of which something is true."""
    before = np.concatenate([[0], np.cumsum(what)])
    return np.asarray(before[column.edges[1:]] > before[column.edges[:-1]])


def _converted(values: NDArray[np.generic], value: NestedValue) -> NDArray[np.generic]:
    if value.categories:
        return _numbered(values, value.categories)
    if _is_integer(value):
        return np.ma.getdata(values).astype(value.dtype)
    with np.errstate(over="ignore"):
        numbers = cleaned(values, value.missing).astype(value.dtype)
    return np.where(np.isfinite(numbers), numbers + 0, np.nan)  # one NaN, one zero


def _numbered(values: NDArray[np.generic], categories: list[str]) -> NDArray[np.int8]:
    """Give the place of each text among the categories, -1 where it is none of them."""
    found, place = np.unique(np.ma.filled(values, None).astype(str), return_inverse=True)
    numbers = {name: number for number, name in enumerate(categories)}
    return np.array([numbers.get(str(text).strip(), -1) for text in found], np.int8)[place]
