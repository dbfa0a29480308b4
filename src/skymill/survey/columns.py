"""Which columns of a table are read, and what each must hold."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.survey.errors import TableError

if TYPE_CHECKING:
    from skymill.config.survey import AngleColumn, IdColumn, SurveyConfig

Columns = Mapping[str, NDArray[np.generic]]
"""Raw columns as a reader gives them, (n,) each; masked arrays where rows are empty."""
TypeKind = Literal["integer", "float", "boolean", "text", "untyped", "nested", "other"]
"""`untyped` is what becomes of its role: the text of a CSV file; `nested` holds lists or tables of each source."""
NESTED = "a nested column cannot be carried along yet; name one with one value per source, and leave this one out"
Role = Literal["integer id", "hashed id", "packed id", "angle", "flux", "number", "mark", "class"]
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
}
"""In the order in which a column of several roles is read from a file without types: exact numbers before text."""


def column_type(values: NDArray[np.generic]) -> ColumnType:
    """Give the type of a numpy column; a column of vectors is `other`."""
    if values.ndim != 1:
        return ColumnType("other", f"{values.dtype} vector of shape {values.shape[1:]}")
    return ColumnType(NUMPY_KINDS.get(values.dtype.kind, "other"), str(values.dtype))


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
    return roles


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
            mend = NESTED if found[name].kind == "nested" else demand.mend
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
