"""Which columns of a table are read, and what each must hold."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.survey.errors import TableError
from skymill.survey.ragged import Ragged

if TYPE_CHECKING:
    from skymill.config.survey import AngleColumn, IdColumn, NestedValue, SurveyConfig

Columns = Mapping[str, NDArray[np.generic]]
"""Raw columns as a reader gives them, (n,) each; masked arrays where rows are empty."""
RawColumns = Mapping[str, NDArray[np.generic] | Ragged]
"""The same, with the lists of nested columns."""
TypeKind = Literal[
    "integer", "float", "boolean", "text", "untyped", "other",
    "nested", "integer list", "float list", "boolean list", "text list",
]  # fmt: skip
"""`untyped` is what becomes of its role: the text of a CSV file; `nested` holds tables, whose fields are lists."""
NESTED = "it holds many values per source: name it, or its fields, under `nested`, or leave it out"
Role = Literal[
    "integer id", "hashed id", "packed id", "angle", "flux", "number", "mark", "class",
    "observed number", "observed integer", "observed text",
]  # fmt: skip
NUMPY_KINDS: dict[str, TypeKind] = {
    "i": "integer", "u": "integer", "f": "float", "b": "boolean", "U": "text", "S": "text", "O": "text",
}  # fmt: skip

SHOWN_COLUMNS = 60


class ColumnType(NamedTuple):
    """The type of a column as its file declares it."""

    kind: TypeKind
    name: str


class Demand(NamedTuple):
    """What a role accepts, in words too, and what to do when a column holds something else."""

    kinds: tuple[TypeKind, ...]
    words: str
    mend: str


DEMANDS: dict[Role, Demand] = {
    "integer id": Demand(
        ("integer", "text"),
        "integers",
        "a float cannot hold ids above 2^53: use another column, or `pack` or `hash`",
    ),
    "packed id": Demand(("integer",), "integers", "pack only integer columns, or use `hash`"),
    "mark": Demand(("boolean", "integer"), "booleans or integers", "store it as a boolean"),
    "angle": Demand(("float", "integer"), "numbers", "store angles as numbers; sexagesimal text is not read"),
    "flux": Demand(("float", "integer"), "numbers", "store fluxes and magnitudes as numbers, empty as null or NaN"),
    "number": Demand(("float", "integer", "boolean"), "numbers", "store it as a number, empty as null or NaN"),
    "class": Demand(("text", "integer", "boolean"), "text or integers", "store classes as text or integers"),
    "hashed id": Demand(("text", "integer", "boolean", "float"), "text or numbers", "choose a scalar column"),
    "observed number": Demand(("float list",), "lists of floats", "for integers, set `dtype: int64`"),
    "observed integer": Demand(("integer list", "boolean list"), "lists of integers", "for floats, leave out `dtype`"),
    "observed text": Demand(("text list",), "lists of text", "`categories` are for text; give numbers a `unit`"),
}
"""In the order in which a column of several roles is read from a file without types: exact numbers before text."""


def column_type(values: NDArray[np.generic] | Ragged) -> ColumnType:
    """Give the type of a numpy column, or of one of lists; a column of vectors is `other`."""
    if isinstance(values, Ragged):
        return list_type(column_type(values.values))
    if values.ndim != 1:
        return ColumnType("other", f"{values.dtype} vector of shape {values.shape[1:]}")
    return ColumnType(NUMPY_KINDS.get(values.dtype.kind, "other"), str(values.dtype))


def plain(raw: RawColumns) -> Columns:
    """Give the columns that have one value per row."""
    return {name: values for name, values in raw.items() if not isinstance(values, Ragged)}


def lists(raw: RawColumns) -> Mapping[str, Ragged]:
    """Give the columns that have a list per row."""
    return {name: values for name, values in raw.items() if isinstance(values, Ragged)}


def list_type(element: ColumnType) -> ColumnType:
    """Give the type of a column of lists from that of the lists' elements."""
    lists: dict[TypeKind, TypeKind] = {
        "integer": "integer list", "float": "float list", "boolean": "boolean list", "text": "text list",
    }  # fmt: skip
    return ColumnType(lists.get(element.kind, "nested"), f"list of {element.name}")


def id_roles(column: IdColumn) -> list[tuple[str, Role]]:
    """The columns of an identifier."""
    role: Role = "integer id" if column.column else "packed id" if column.pack else "hashed id"
    return [(name, role) for name in column.sources]


def source_roles(config: SurveyConfig) -> list[tuple[str, Role]]:
    """Every column that a survey's map names, with its role.

    Raises
    ------
    TableError
        If the map lacks id, ra or dec.
    """
    identifier, ra, dec = positions_of(config)
    roles: list[tuple[str, Role]] = [*id_roles(identifier), (ra.column, "angle"), (dec.column, "angle")]
    for photometry in config.photometry.values():
        for template in photometry.columns:
            roles += [(config.in_band(template, band), "flux") for band in config.bands]
    roles += [(value.column, "number") for value in config.expanded_values().values()]
    if config.extinction:
        roles.append((config.extinction.column, "number"))
    if config.primary:
        roles.append((config.primary.column, "mark"))
    return [*roles, *_observed_roles(config)]


def _observed_roles(config: SurveyConfig) -> list[tuple[str, Role]]:
    def role(value: NestedValue) -> Role:
        if value.categories:
            return "observed text"
        return "observed integer" if value.dtype.startswith("int") else "observed number"

    return [(value.column, role(value)) for of in config.nested.values() for value in of.values()]


def positions_of(config: SurveyConfig) -> tuple[IdColumn, AngleColumn, AngleColumn]:
    """The id, ra and dec of a map, which must be there."""
    if config.id is None or config.ra is None or config.dec is None:
        raise TableError(f"{config.where}: its column map must name id, ra and dec")
    return config.id, config.ra, config.dec


def names(roles: list[tuple[str, Role]]) -> list[str]:
    """Column names, each once, in order."""
    return list(dict.fromkeys(name for name, _ in roles))


def as_read(roles: list[tuple[str, Role]]) -> dict[str, Role]:
    """Give each column once, with that of its roles that stands first in `DEMANDS`."""
    wanted: dict[str, Role] = {}
    for role in reversed(DEMANDS):
        wanted |= {name: role for name, other in roles if other == role}
    return {name: wanted[name] for name in names(roles)}


def check_columns(
    found: Mapping[str, ColumnType],
    roles: list[tuple[str, Role]],
    *,
    where: str,
    mend: str = "correct the survey's column map",
) -> None:
    """Check that every mapped column is there and holds what its role asks for.

    Parameters
    ----------
    found : mapping of name to ColumnType
        What the table has.
    roles : list of (str, Role)
        What is asked for.
    where : str
        The table, for the message.
    mend : str
        What to do where a column is missing.

    Raises
    ------
    TableError
        Naming all missing columns, with the names that the table has, and all columns of a wrong type.
    """
    missing = [name for name in names(roles) if name not in found]
    faults: list[str] = []
    if missing:
        listed = ", ".join(_with_hint(name, list(found)) for name in missing)
        faults.append(
            f"{where}: {len(missing)} of {len(names(roles))} mapped columns are missing: {listed}; "
            f"{mend}; the table has {_listed(list(found))}"
        )
    for name, role in dict.fromkeys(roles):
        demand = DEMANDS[role]
        if name in found and found[name].kind not in ("untyped", *demand.kinds):
            many = found[name].kind.endswith(("nested", "list")) and not role.startswith("observed")
            mend = NESTED if many else demand.mend
            faults.append(
                f"{where}: column '{name}' ({role}): expected {demand.words}, found {found[name].name}; {mend}"
            )
    if faults:
        raise TableError("\n".join(faults))


def _listed(known: list[str]) -> str:
    shown = ", ".join(known[:SHOWN_COLUMNS])
    return shown if len(known) <= SHOWN_COLUMNS else f"{shown} and {len(known) - SHOWN_COLUMNS} more"


def _with_hint(name: str, known: list[str]) -> str:
    lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), lower, n=2, cutoff=0.7)
    return f"'{name}' (similar: {', '.join(lower[key] for key in close)})" if close else f"'{name}'"
