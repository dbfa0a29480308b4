"""One tile of images to one tile of the segmentation catalogue: its sources, measured, and whose pixel is whose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skymill.config.images import ImageSettings, MeasureSettings
from skymill.features.forced import ForcedSources, forced_sources
from skymill.features.measuring import MEASURE_FLAGS, Measured, measure, value_units
from skymill.features.segmentation import CLASSES, multiscales, pixel_classes, pyramid
from skymill.features.segmenting import MODULE as SEGMENTING
from skymill.sky import ImageTile, order29
from skymill.store import Pool, digest, receipt
from skymill.store.flags import FlagTally
from skymill.store.manifest import AnyEntry, entry_of
from skymill.store.variable import SOURCE, Variable
from skymill.survey.images import ImageError, TileFiles, TilePixels, read_tile
from skymill.survey.images.ownership import PRIMARY, owned
from skymill.tiling.form import PLAIN
from skymill.tiling.image_group import LABEL_BITS, PlannedImage, tile_number

if TYPE_CHECKING:
    from skymill.features.segmenting.segmenter import Segmenter

CATALOGUE = "segmentation"


@dataclass(frozen=True)
class ImageJob:
    """One image tile to measure."""

    planned: PlannedImage
    files: TileFiles

    @property
    def tile(self) -> ImageTile:
        """The tile's place in the pool."""
        return ImageTile(self.planned.name)


@dataclass(frozen=True)
class MeasureRun:
    """What all tiles of a segmentation catalogue share."""

    catalogue: str
    """Folder of the catalogue; its name is the catalogue's."""
    survey: str
    """Name of the survey, which ids depend on."""
    folder: str
    """What names of image files are relative to."""
    bands: tuple[str, ...]
    band_names: Mapping[str, str]
    images: ImageSettings
    settings: MeasureSettings
    ingredients: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the catalogue."""
        return Path(self.catalogue).name

    def key(self, job: ImageJob) -> str:
        """Key of the tile made from an image tile."""
        return digest(self.all_ingredients(job))

    def all_ingredients(self, job: ImageJob) -> dict[str, Any]:
        """What the key of the tile is the digest of."""
        neighbours = [[each.name, each.header, list(each.shape)] for each in job.planned.neighbours]
        return {"input": job.planned.sha256, "tile": job.planned.name, "neighbours": neighbours, **self.ingredients}


def make_tile(job: ImageJob, *, run: MeasureRun) -> AnyEntry:
    """Measure an image tile and put it into the pool; a tile that stands there is not made again.

    Raises
    ------
    ImageError
        If its files cannot be used.
    MeasureError
        If nothing can be measured on them.
    ModelFileError
        If the segmenter's file does not keep its contract.
    """
    pool, key = Pool(run.catalogue), run.key(job)
    done = pool.entry(job.tile, key)
    if done is not None:
        return done
    if job.planned.outline is None:
        raise ImageError(job.planned.problem)
    from skymill.store import write_tile  # Zarr, which the coordinator does without

    forced = forced_sources(run.settings.positions, job.planned.outline) if run.settings.positions else None
    pixels = read_tile(job.files, Path(run.folder), run.images, run.bands, band_names=run.band_names)
    segmenter = _segmenter(run)
    measured = measure(pixels, run.settings, positions=forced.positions if forced else None, segmenter=segmenter)
    rows = source_rows(job, pixels, measured, run, forced)
    tally = FlagTally(rows["flags"].attrs)
    tally.add(rows["flags"].data)
    accounting = tally.accounting().check(job.planned.name)
    versions = segmenter.versions if segmenter else None
    made = receipt(job.tile, key, run.all_ingredients(job), accounting, catalogue=run.name, versions=versions)
    maps = pixel_maps(pixels, measured)
    attrs = attributes(job, pixels, maps, run.name) | ({"segmenter": segmenter.described} if segmenter else {})
    path = pool.path(job.tile, key)
    file = write_tile(path, {**rows, **maps}, attrs=attrs, receipt=made, staging=pool.staging)
    return entry_of(job.tile, key, file.sha256, file.n_bytes, measured.n, accounting)


def _segmenter(run: MeasureRun) -> Segmenter | None:
    """Open the run's learned segmenter; None where sources are detected."""
    if run.settings.segmenter is None:
        return None
    load: Callable[[str, str], Segmenter] = import_module(SEGMENTING).load_segmenter
    return load(run.settings.segmenter, run.ingredients["segmenter"])


def source_rows(
    job: ImageJob, pixels: TilePixels, measured: Measured, run: MeasureRun, forced: ForcedSources | None = None
) -> dict[str, Variable]:
    """Give the table of a tile's sources, sorted by their place on the sky.

    What decides whose a source is is its brightest pixel, which overlapping tiles agree on to the bit, or the position
    that it was measured at.
    """
    assert job.planned.outline is not None
    if forced is None:
        ids = (tile_number(run.survey, job.planned.name) << LABEL_BITS) + measured.label.astype(np.int64)
        place = _sky(pixels, measured.x, measured.y)
        decides = _sky(pixels, measured.peak_x.astype(float), measured.peak_y.astype(float))
    else:
        ids, place = forced.object_id, (forced.ra, forced.dec)
        decides = place
    found = {**_identity(ids, *place, measured), **_measurements(pixels, measured, run.settings), **_places(measured)}
    primary = owned(*decides, job.planned.outline, job.planned.neighbours)
    found[PRIMARY] = _rows(primary, long_name="the source belongs to this tile, not to one that overlaps it")
    order = np.lexsort((found["objectId"].data, found["_healpix_29"].data))
    return {
        name: Variable(np.ascontiguousarray(each.data[order]), each.dims, each.attrs, each.columns)
        for name, each in found.items()
    }


def _identity(
    ids: NDArray[np.int64], ra: NDArray[np.float64], dec: NDArray[np.float64], measured: Measured
) -> dict[str, Variable]:
    """Ids, positions and flags."""
    plain = {"objectId": ids, "_healpix_29": order29(ra, dec), "coord_ra": ra, "coord_dec": dec}
    flags = {
        "long_name": "what is odd about the measurement",
        "flag_masks": [flag.mask for flag in MEASURE_FLAGS],
        "flag_meanings": " ".join(flag.name for flag in MEASURE_FLAGS),
        "ucd": "meta.code",
    }
    found = {name: Variable(values, attrs=PLAIN[name][1]) for name, values in plain.items()}
    return {**found, "flags": Variable(measured.flags, attrs=flags)}


def _measurements(pixels: TilePixels, measured: Measured, settings: MeasureSettings) -> dict[str, Variable]:
    """Fluxes and other numbers, a matrix each."""
    found = {
        name: Variable(values, (SOURCE, "band"), {"long_name": name, "units": "nJy"}, pixels.bands)
        for name, values in measured.photometry.items()
    }
    units = value_units(pixels.bands, morphology=settings.morphology)
    table = np.stack([measured.values[name] for name in units], axis=1).astype(np.float32)
    attrs = {"long_name": "other measurements", "column_units": list(units.values())}
    return {**found, "values": Variable(table, (SOURCE, "value"), attrs, tuple(units))}


def _places(measured: Measured) -> dict[str, Variable]:
    """Where a source is among the tile's pixels."""
    return {
        "label": _rows(measured.label, long_name="the source's pixels in `labels`"),
        "parent": _rows(measured.parent, long_name="the footprint's pixels in `parents`"),
        "n_blended": _rows(measured.n_blended, long_name="sources that share its footprint"),
        "centre_x": _rows(measured.x, long_name="column of its centre, from 0", units="pixel"),
        "centre_y": _rows(measured.y, long_name="row of its centre, from 0", units="pixel"),
        "bbox": Variable(measured.bbox, (SOURCE, "edge"), {"units": "pixel"}, ("y0", "y1", "x0", "x1")),
        **_blends(measured),
    }


def _blends(measured: Measured) -> dict[str, Variable]:
    """What a segmenter says of sources that it has not taken apart, where it does."""
    if measured.blend_probability is None:
        return {}
    told = "probability that the source is an unrecognised blend"
    return {"blend_probability": _rows(measured.blend_probability, long_name=told)}


def _rows(values: NDArray[Any], **attrs: str) -> Variable:
    return Variable(values, attrs=attrs)


def pixel_maps(pixels: TilePixels, measured: Measured) -> dict[str, Variable]:
    """Give the maps of a tile: instances, footprints and semantic classes, and the instances at lower resolution."""
    classes = pixel_classes(measured.labels, pixels, measured.values["extendedness"], measured.classes)
    values, meanings = list(range(len(CLASSES))), " ".join(CLASSES)
    found = {
        "labels": Variable(measured.labels, ("y", "x"), {"long_name": "source of each pixel, 0 is sky"}),
        "parents": Variable(measured.parents, ("y", "x"), {"long_name": "footprint of each pixel, 0 is sky"}),
        "classes": Variable(classes, ("y", "x"), {"flag_values": values, "flag_meanings": meanings}),
    }
    for factor, reduced in pyramid(measured.labels):
        found[f"labels_{factor}"] = Variable(reduced, (f"y_{factor}", f"x_{factor}"), {"downsampling": factor})
    return found


def attributes(
    job: ImageJob, pixels: TilePixels, maps: Mapping[str, Variable], catalogue: str = CATALOGUE
) -> dict[str, Any]:
    """Give what a reader of the tile needs besides its arrays."""
    assert job.planned.outline is not None
    return {
        "catalogue": catalogue,
        "image": job.planned.name,
        "bands": list(pixels.bands),
        "wcs": job.planned.outline.header,
        "resampled": list(pixels.resampled),
        "mask_planes": dict(pixels.planes),
        "ome": multiscales(job.planned.name, maps),
    }


def _sky(pixels: TilePixels, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    if not len(x):
        return np.empty(0), np.empty(0)
    ra, dec = pixels.wcs.all_pix2world(x, y, 0)
    return np.asarray(ra) % 360.0, np.asarray(dec)
