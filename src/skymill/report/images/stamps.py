"""What is drawn of pixels: a few tiles, and stamps of the worst sources, each image tile opened once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skymill.report.images.collect import tiles_to_show
from skymill.report.images.gather import ImageRun, read_rows
from skymill.report.images.pictures import Look, crosshair, png_uri
from skymill.report.images.tile_figures import TilePicture, tile_picture
from skymill.report.images.worst import TITLES, Candidate, Worst, by_tile
from skymill.survey.images import ImageError, TileFiles, cutouts, list_tiles, read_tile
from skymill.survey.images.tile import TilePixels

MOST_TILES = 5
"""Image tiles that are opened, at most."""
STAMP_PX, STAMPS = 49, 10
"""Side of a stamp (odd: its source is in the middle), and stamps of each kind."""


@dataclass(frozen=True)
class Stamp:
    """A picture of a source, and what is said of it."""

    uri: str
    alt: str
    tile: str
    x: float
    y: float
    object_id: str
    facts: tuple[str, ...]


@dataclass(frozen=True)
class StampGallery:
    """Stamps of one kind."""

    anchor: str
    title: str
    text: str
    stamps: list[Stamp]


@dataclass
class Drawn:
    """All pictures of pixels, and why some are missing."""

    tiles: list[TilePicture] = field(default_factory=list)
    galleries: list[StampGallery] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def draw_pixels(made: ImageRun, worst: Worst) -> Drawn:
    """Draw tiles and stamps; a tile whose images can no longer be read is left out and named."""
    survey = made.survey
    assert survey.images is not None
    why = tiles_to_show(made)
    chosen = worst.chosen(list(why), MOST_TILES, STAMPS)
    wanted = by_tile(chosen)
    drawn, stamps = Drawn(), dict[Candidate, Stamp]()
    folder = Path(str(survey.path))
    files = _files(made, folder, drawn)
    for name in [*why, *(name for name in wanted if name not in why)] if files else []:
        try:
            tile = read_tile(files[name], folder, survey.images, survey.bands, band_names=survey.band_names)
        except (ImageError, OSError, KeyError) as error:
            drawn.problems.append(f"{name}: {error}")
            continue
        look = Look.of(tile)
        stamps |= cut_stamps(tile, look, wanted.get(name, []))
        if name in why:
            entry = next(entry for entry in made.entries if entry.image == name)
            maps = made.maps(name, "labels", "classes")
            drawn.tiles.append(tile_picture(tile, read_rows(name, made.path(entry)), maps, look, why[name]))
    for kind, candidates in chosen.items():
        cut = [stamps[one] for one in candidates if one in stamps]
        if cut:
            drawn.galleries.append(StampGallery(f"worst-{kind}", *TITLES[kind], cut))
    return drawn


def _files(made: ImageRun, folder: Path, drawn: Drawn) -> dict[str, TileFiles]:
    survey = made.survey
    assert survey.images is not None
    try:
        tiles = list_tiles(folder, survey.images, survey.bands, band_names=survey.band_names)
    except (ImageError, OSError) as error:
        drawn.problems.append(str(error))
        return {}
    return {tile.name: tile for tile in tiles}


def cut_stamps(tile: TilePixels, look: Look, candidates: Sequence[Candidate]) -> dict[Candidate, Stamp]:
    """Cut and draw the stamps of sources of a tile."""
    found: dict[Candidate, Stamp] = {}
    if not candidates:
        return found
    x, y = ([getattr(one, axis) for one in candidates] for axis in ("x", "y"))
    for batch in cutouts(tile, x, y, STAMP_PX):
        assert batch.pixels is not None
        for one, pixels in zip(candidates[batch.sources], batch.pixels, strict=True):
            picture = crosshair(look.draw(pixels), STAMP_PX // 2, STAMP_PX // 2)
            alt = f"Stamp of source {one.object_id} on tile {tile.name}: {', '.join(one.facts)}."
            found[one] = Stamp(png_uri(picture), alt, tile.name, one.x, one.y, str(one.object_id), one.facts)
    return found
