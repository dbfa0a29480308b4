"""Tables of image tiles and their truth, made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from skymill.report.images.gather import TileRows
from skymill.report.images.truth import TrueSources
from skymill.survey.images.ownership import PRIMARY

BANDS = ("g", "i")


def flux_of(magnitudes: Any) -> np.ndarray:
    """nJy of AB magnitudes."""
    return 10 ** (0.4 * (31.4 - np.asarray(magnitudes, float)))


def tile_rows(x: Any, *, name: str = "tile=a", flux: Any = 1000.0, error: Any = 10.0, first_id: int = 1, **own: Any):
    """Sources at columns `x` of row 0; fluxes are those of both photometries and all bands unless given as (n, 2)."""
    x = np.asarray(x, float)
    n = len(x)
    full = {
        key: np.broadcast_to(np.asarray(value, float).T, (len(BANDS), n)).T.copy()
        for key, value in {"flux": flux, "error": error}.items()
    }
    values = {"extendedness": np.zeros(n), "half_light_radius": np.full(n, 2.0)}
    rows = {
        "objectId": first_id + np.arange(n),
        "flags": np.zeros(n, np.int32),
        PRIMARY: np.ones(n, bool),
        "label": 1 + np.arange(n, dtype=np.int32),
        "n_blended": np.ones(n, np.int32),
        "centre_x": x,
        "centre_y": np.zeros(n),
    }
    for key, value in own.items():
        target = values if key in values else rows
        target[key] = np.broadcast_to(np.asarray(value), (n,)).astype(target[key].dtype)
    kinds = ("psfFlux", "kronFlux")
    return TileRows(name, BANDS, dict.fromkeys(kinds, full["flux"]), dict.fromkeys(kinds, full["error"]), values, rows)


def true_sources(x: Any, magnitudes: Any, asked: Any, **own: Any) -> TrueSources:
    """True sources at columns `x` of row 0, of one magnitude in all bands; pixels are of 1 arcsec."""
    x = np.asarray(x, float)
    n = len(x)
    table: dict[str, Any] = {
        "objectId": 1001 + np.arange(n),
        "x": x,
        "y": np.zeros(n),
        "class": np.full(n, "STAR"),
        "point_fraction": np.ones(n),
        "neighbour_distance": np.full(n, 9.0),
        "own_share": np.ones(n),
        **{f"{band}_flux": np.broadcast_to(flux_of(magnitudes), (n,)) for band in BANDS},
    }
    masks = {"mine": np.ones(n, bool), "usable": np.ones(n, bool)}
    for key, value in own.items():
        kind = bool if key in masks else None
        (masks if key in masks else table)[key] = np.broadcast_to(np.asarray(value, kind), (n,))
    return TrueSources(table, **masks, asked=np.asarray(asked, bool), pixel_arcsec=1.0, n_pixels=10_000)
