"""One tile of sources to one tile of features, in a worker process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from skymill.features.kernel import VALUES, tile_form, tile_rows
from skymill.features.recipe import Recipe
from skymill.features.registry import features_of
from skymill.sky import AnyTile
from skymill.store import Pool, digest, receipt
from skymill.store.flags import FlagTally
from skymill.store.manifest import AnyEntry, entry_of
from skymill.store.variable import IDENTITY

if TYPE_CHECKING:
    from skymill.store import TileReader

CATALOGUE = "features"


@dataclass(frozen=True)
class TileJob:
    """One source tile to compute features of."""

    tile: AnyTile
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


def make_tile(job: TileJob, *, run: FeatureRun) -> AnyEntry:
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
    form = tile_form(source.form(IDENTITY), run.recipe)
    tally = FlagTally(form["flags"].attrs)
    with TileWriter(
        pool.path(job.tile, key), form, source.n_rows, chunk_rows=source.chunk_rows, staging=pool.staging
    ) as writer:
        for block in source.blocks(columns):
            rows = tile_rows(block, run.recipe)
            tally.add(rows["flags"])
            writer.append(rows)
        accounting = tally.accounting().check(str(job.tile))
        attrs = {"catalogue": CATALOGUE, "features": [asdict(feature) for feature in features_of(run.recipe)]}
        made = receipt(job.tile, key, run.all_ingredients(job), accounting, catalogue=CATALOGUE)
        file = writer.commit(attrs=attrs, receipt=made)
    return entry_of(job.tile, key, file.sha256, file.n_bytes, source.n_rows, accounting)


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
