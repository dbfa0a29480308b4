"""Fluxes and other numbers of the rows that the gate keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skymill.survey import flags
from skymill.survey.blocks import SourceSchema
from skymill.survey.columns import Columns
from skymill.survey.errors import TableError
from skymill.survey.flux import cleaned, fluxes
from skymill.survey.nested import check_names, observed_values

if TYPE_CHECKING:
    from skymill.config.survey import SurveyConfig

EBV = "ebv"


def source_schema(config: SurveyConfig) -> SourceSchema:
    """Say what the sources of a survey hold.

    Raises
    ------
    TableError
        If two columns would have one name.
    """
    values = {name: value.unit for name, value in config.expanded_values().items()}
    if config.extinction:
        if EBV in values:
            raise TableError(f"{config.where}: values.ebv: this name is taken by `extinction`; rename it")
        values[EBV] = "mag"
    schema = SourceSchema(
        tuple(config.bands), tuple(config.photometry), values, observed_values(config), flags.possible(config)
    )
    if len(set(schema.photometry)) < len(schema.photometry):
        raise TableError(f"{config.where}: photometry: a flux is named like another's error: {schema.fluxes}")
    check_names(config, schema)
    return schema


def measurements(
    columns: Columns, config: SurveyConfig
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32], NDArray[np.int32]]:
    """Convert fluxes and values.

    Returns
    -------
    photometry : dict of float32 arrays, (n, bands) each
        nJy; NaN = not measured.
    values : float32, (n, k)
    bits : int32, (n,)
        Flags of what is missing.
    """
    n_rows = len(next(iter(columns.values())))
    photometry, bits = _photometry(columns, config, n_rows)
    values, missing = _values(columns, config, n_rows)
    return photometry, values, bits | missing


def _photometry(
    columns: Columns, config: SurveyConfig, n_rows: int
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int32]]:
    shape = (n_rows, len(config.bands))
    arrays: dict[str, NDArray[np.float32]] = {}
    bits = np.zeros(n_rows, dtype=np.int32)
    measured = np.zeros(n_rows, dtype=bool)
    for name, photometry in config.photometry.items():
        flux, error = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        for index, band in enumerate(config.bands):
            raw, *errors = (columns[config.in_band(name, band)] for name in photometry.columns)
            one = fluxes(raw, errors[0] if errors else None, photometry, band)
            flux[:, index], error[:, index] = one.flux, one.error
            missing = np.isnan(one.flux)
            measured |= ~missing
            _set(bits, flags.FLUX_MISSING, missing)
            _set(bits, flags.FLUX_NOT_DETECTED, one.not_detected)
            if photometry.has_errors:
                _set(bits, flags.FLUX_ERR_MISSING, np.isnan(one.error) & ~missing & ~one.not_detected)
        arrays[name], arrays[f"{name}Err"] = flux, error
    if config.photometry:
        _set(bits, flags.ALL_FLUX_MISSING, ~measured)
    return arrays, bits


def _values(columns: Columns, config: SurveyConfig, n_rows: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    given = config.expanded_values().values()
    sources = [(value.column, value.missing, 1.0, flags.VALUE_MISSING) for value in given]
    if config.extinction:
        sources.append((config.extinction.column, [], config.extinction.per_ebv, flags.EBV_MISSING))
    values = np.empty((n_rows, len(sources)), dtype=np.float32)
    bits = np.zeros(n_rows, dtype=np.int32)
    for index, (column, codes, divisor, flag) in enumerate(sources):
        with np.errstate(over="ignore"):
            values[:, index] = cleaned(columns[column], codes) / divisor
        values[~np.isfinite(values[:, index]), index] = np.nan
        _set(bits, flag, np.isnan(values[:, index]))
    return values, bits


def _set(bits: NDArray[np.int32], flag: flags.Flag, where: NDArray[np.bool_]) -> None:
    bits[where] |= np.int32(flag.mask)
