"""One tile of sources to one tile of features, in a worker process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skymill.features.kernel import FEATURE_FLAGS, compute_features
from skymill.features.recipe import Recipe
from skymill.features.registry import Feature, features_of
from skymill.sky import Tile
from skymill.store import Accounting, Pool, TileEntry, Variable, digest, receipt

if TYPE_CHECKING:
    from skymill.store import TileReader

CATALOGUE = "features"
FEATURES = "features"
VALUES = "values"
IDENTITY = ("objectId", "_healpix_29", "coord_ra", "coord_dec", "flags")


@dataclass(frozen=True)
class TileJob:
    """One source tile to compute features of."""

    tile: Tile
    path: str
    sha256: str


@dataclass(frozen=True)
class FeatureRun:
    """What all tiles of a feature catalogue share."""

    catalogue: str
    """Folder of the catalogue."""
    recipe: Recipe
    ingredients: Mapping[str, Any]

    def key(self, job: TileJob) -> str:
        """Key of the tile made from a source tile."""
        return digest(self.all_ingredients(job))

    def all_ingredients(self, job: TileJob) -> dict[str, Any]:
        """What the key of the tile is the digest of."""
        return {"input": job.sha256, **self.ingredients}


def make_tile(job: TileJob, *, run: FeatureRun) -> TileEntry:
    """Compute a tile's features and put them into the pool; a tile that stands there is not made again.

    Raises
    ------
    CorruptTile
        If the source tile is damaged.
    ValueError
        If it does not hold what the recipe needs.
    """
    pool, key = Pool(run.catalogue), run.key(job)
    done = pool.entry(job.tile, key)
    if done is not None:
        return done
    from skymill.store import TileWriter, open_tile  # Zarr, which the coordinator does without

    source = open_tile(job.path)
    photometry = _photometry(source, run.recipe)
    columns = [*IDENTITY, *photometry, *([VALUES] if run.recipe.values else [])]
    form = _form(source, features_of(run.recipe))
    tally = FlagTally(form["flags"].attrs)
    with TileWriter(
        pool.path(job.tile, key), form, source.n_rows, chunk_rows=source.chunk_rows, staging=pool.staging
    ) as writer:
        for block in source.blocks(columns):
            values = block.get(VALUES, np.empty((len(block["flags"]), 0), np.float32))
            features, flags = compute_features(block, values, run.recipe)
            flags |= block["flags"]
            tally.add(flags)
            writer.append({**{name: block[name] for name in IDENTITY}, "flags": flags, FEATURES: features})
        accounting = tally.accounting().check(str(job.tile))
        attrs = {"catalogue": CATALOGUE, "features": [asdict(feature) for feature in features_of(run.recipe)]}
        made = receipt(job.tile, key, run.all_ingredients(job), accounting, catalogue=CATALOGUE)
        file = writer.commit(attrs=attrs, receipt=made)
    return TileEntry(*job.tile, key, file.sha256, file.n_bytes, source.n_rows, accounting)


class FlagTally:
    """Rows by flag, counted block by block."""

    def __init__(self, attrs: Mapping[str, Any]) -> None:
        self._masks = dict(zip(attrs["flag_meanings"].split(), attrs["flag_masks"], strict=True))
        self._flagged = dict.fromkeys(self._masks, 0)
        self._rows = self._rows_flagged = 0

    def add(self, flags: NDArray[np.int32]) -> None:
        """Count a block."""
        self._rows += len(flags)
        odd = flags[flags != 0]
        self._rows_flagged += len(odd)
        for name, mask in self._masks.items():
            self._flagged[name] += int(np.count_nonzero(odd & mask))

    def accounting(self) -> Accounting:
        """All rows are kept; some have flags."""
        flagged = {name: count for name, count in self._flagged.items() if count}
        return Accounting(self._rows, self._rows - self._rows_flagged, self._rows_flagged, flagged)


def _photometry(source: TileReader, recipe: Recipe) -> list[str]:
    """Name the photometries to read, having checked bands and values against the recipe's."""
    wanted = [name for name in (recipe.colour_flux, recipe.size_flux) if name]
    wanted += [f"{recipe.colour_flux}Err"] if recipe.has_errors else []
    expected = dict.fromkeys(wanted, recipe.bands)
    if recipe.values:
        expected[VALUES] = recipe.value_names
    for name, columns in expected.items():
        found = tuple(source.arrays[name].attrs["columns"]) if name in source.arrays else ()  # type: ignore[arg-type]
        if found != columns:
            raise ValueError(
                f"{source.location}: {name}: expected {', '.join(columns)}, found "
                f"{', '.join(map(str, found)) or 'none'}; "
                "the survey's description has changed since: run the tiling again"
            )
    return wanted


def _form(source: TileReader, features: list[Feature]) -> dict[str, Variable]:
    """Describe the arrays of the new tile; ids and positions are described as in the source tile."""
    form = {
        name: Variable(np.empty(0, array.dtype), attrs=dict(array.attrs))
        for name in IDENTITY
        for array in (source.arrays[name],)
    }
    known: Mapping[str, Any] = form["flags"].attrs
    flags = {
        "flag_masks": [*known["flag_masks"], *(flag.mask for flag in FEATURE_FLAGS)],
        "flag_meanings": " ".join([known["flag_meanings"], *(flag.name for flag in FEATURE_FLAGS)]),
    }
    form["flags"] = Variable(form["flags"].data, attrs={**known, **flags})
    form[FEATURES] = Variable.of_rows(
        np.float32,
        dim="feature",
        columns=tuple(feature.name for feature in features),
        long_name="features, NaN where not measured",
        column_units=[feature.unit for feature in features],
    )
    return form
