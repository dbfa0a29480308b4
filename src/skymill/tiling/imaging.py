"""The plan of image tiles: where they lie, which overlap, and which job measures them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from skymill.compute import group_lock
from skymill.config import RunConfig
from skymill.sky import at_order, order29, unit_vectors
from skymill.store import canonical_json
from skymill.store.durable import write_bytes
from skymill.survey import Survey
from skymill.survey.images import ImageError, TileFiles, list_tiles, read_geometry, tile_digests
from skymill.survey.images.files import check_readable
from skymill.survey.images.ownership import Outline
from skymill.tiling.files import TilingFiles
from skymill.tiling.image_group import ImageGroup, PlannedImage, tile_number
from skymill.tiling.settings import image_plan_name

logger = logging.getLogger(__name__)
UNPLACED = "o0p0"
"""The group of tiles whose place on the sky cannot be read; its job quarantines them."""


def plan_images(run: RunConfig, survey: Survey, output: str | Path, *, workers: int) -> None:
    """Plan the image tiles of a survey; no pixel is decoded.

    Writes `tiling/images.json`, its copy named by survey and settings, and one file a group. A tile whose place cannot
    be read is planned all the same, so that its job can say why it is quarantined.

    Parameters
    ----------
    run : RunConfig
    survey : Survey
        Of format `images`.
    output : Path
        Folder of the run.
    workers : int
        Threads that read headers.

    Raises
    ------
    ImageError
        If no image is found, or two tiles have one number.
    """
    files = TilingFiles(Path(output))
    with group_lock(files.root / ".images.lock"):
        tiles = image_tiles(survey)
        sha256 = dict(zip((tile.name for tile in tiles), tile_digests(tiles, survey.folder, survey.cache), strict=True))
        _check_numbers(survey.config.name, [tile.name for tile in tiles])
        placed = _with_neighbours(_planned(tiles, sha256, survey, workers))
        groups = _grouped(placed, run.tiling.group_order)
        for group in groups:
            group.write(files)
        for tile in placed:
            if tile.problem:
                logger.warning("image tile %s cannot be placed: %s", tile.name, tile.problem)
        summary = {
            "survey": survey.config.name,
            "n_tiles": len(placed),
            "groups": {group.name: {"digest": group.digest, "n_tiles": len(group.tiles)} for group in groups},
        }
        content = canonical_json(summary) + b"\n"
        write_bytes(files.images, content)
        write_bytes(files.named_images(image_plan_name(run, survey)), content)


def _check_numbers(survey: str, names: Sequence[str]) -> None:
    """Refuse two tiles whose sources would have the same ids: of 100,000 tiles, once in some 400 surveys."""
    numbers: dict[int, str] = {}
    for name in names:
        other = numbers.setdefault(tile_number(survey, name), name)
        if other != name:
            raise ImageError(
                f"survey '{survey}': the tiles '{other}' and '{name}' have the same number, which ids begin with; "
                "give the survey another name"
            )


def image_tiles(survey: Survey) -> list[TileFiles]:
    """List a survey's image tiles and their files, by name."""
    config = survey.config
    assert config.images is not None
    return list_tiles(survey.folder, config.images, config.bands, band_names=config.band_names)


def _planned(tiles: Sequence[TileFiles], sha256: Mapping[str, str], survey: Survey, workers: int) -> list[PlannedImage]:
    """Read where tiles lie."""
    with ThreadPoolExecutor(workers) as threads:
        found = list(threads.map(partial(_place, survey=survey), tiles))
    return [
        PlannedImage(tile.name, sha256[tile.name], *((place,) if isinstance(place, Outline) else (None, (), place)))
        for tile, place in zip(tiles, found, strict=True)
    ]


def _place(tile: TileFiles, *, survey: Survey) -> Outline | str:
    config = survey.config
    assert config.images is not None
    try:
        check_readable(tile, survey.folder)
        geometry = read_geometry(tile, survey.folder, config.images, config.bands, band_names=config.band_names)
        outline = Outline(tile.name, geometry.header, geometry.shape)
        if not np.isfinite(outline.centre + (outline.radius,)).all():
            return f"{tile.name}: expected a tile on the sky, found that its corners have no position; correct its WCS"
    except (ImageError, OSError) as error:
        return str(error)
    return outline


def _with_neighbours(tiles: Sequence[PlannedImage]) -> list[PlannedImage]:
    """Find the tiles that share sky with each."""
    outlines = [tile.outline for tile in tiles if tile.outline is not None]
    if not outlines:
        return list(tiles)
    vectors = unit_vectors(*np.array([outline.centre for outline in outlines]).T)
    reach = 2 * np.sin(np.radians(max(outline.radius for outline in outlines)))
    near = cKDTree(vectors).query_ball_point(vectors, reach * 1.01)
    neighbours = {
        outline.name: tuple(
            outlines[other]
            for other in sorted(others, key=lambda index: outlines[index].name)
            if outlines[other] is not outline and outline.overlaps(outlines[other])
        )
        for outline, others in zip(outlines, near, strict=True)
    }
    return [PlannedImage(t.name, t.sha256, t.outline, neighbours.get(t.name, ()), t.problem) for t in tiles]


def _grouped(tiles: Sequence[PlannedImage], group_order: int) -> list[ImageGroup]:
    """Put tiles into groups by the HEALPix pixel that holds their middle."""
    groups: dict[str, list[PlannedImage]] = {}
    for tile in tiles:
        groups.setdefault(_group_name(tile, group_order), []).append(tile)
    return [ImageGroup(name, tuple(groups[name])) for name in sorted(groups)]


def _group_name(tile: PlannedImage, group_order: int) -> str:
    if tile.outline is None:
        return UNPLACED
    ra, dec = tile.outline.centre
    return f"o{group_order}p{int(at_order(order29([ra], [dec]), group_order)[0])}"
