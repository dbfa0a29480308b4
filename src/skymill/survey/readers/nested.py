"""What Arrow columns nest: lists of values, structs of values or of lists, lists of structs.

HATS tables keep a light curve as a struct of lists (as `nested-pandas` does), alerts as a list of structs; a field of
any struct is named by the column, a dot and the field: ``lc.mjd``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def field_types(name: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """Name the fields of a column of structs or of lists of structs, with their types; none of any other."""
    if pa.types.is_struct(kind):
        yield from ((f"{name}.{field.name}", field.type) for field in kind)
    elif is_list(kind) and pa.types.is_struct(kind.value_type):
        yield from ((f"{name}.{field.name}", pa.list_(field.type)) for field in kind.value_type)


def stored_field(name: str, known: Collection[str]) -> tuple[str, str] | None:
    """Give the column and the field that ``lc.mjd`` names; None where it is the name of a column, or of nothing."""
    column, dot, field = name.partition(".")
    return (column, field) if dot and name not in known and column in known else None


def lists_of(column: pa.Array, field: str | None) -> tuple[NDArray[np.int64], pa.Array]:
    """Take the lists of a column apart, or those of a field of the structs in them.

    Returns
    -------
    counts : ndarray of int64, (n,)
        Values of each row; an empty list and none at all are 0.
    values : Array, (sum of counts,)
        Those of all rows, one behind the other.
    """
    counts = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = column.flatten()
    return counts, values if field is None else pc.struct_field(values, field)


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a column has a list of any length in each row."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))
