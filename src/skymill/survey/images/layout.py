"""Reading image tiles: one interface for all layouts, geometry without pixels, pixels on one grid."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from astropy.utils.exceptions import AstropyWarning

from skymill.config.images import ImageSettings
from skymill.survey.images.alignment import PixelMap, grid_band, pixel_map, places, resampled, shifted
from skymill.survey.images.bands import BandSource, Description, Grid, Layout, OpenFiles, sources
from skymill.survey.images.celestial import header_text, pixel_scale_arcsec
from skymill.survey.images.files import TileFiles
from skymill.survey.images.gate import BandPixels, read_band
from skymill.survey.images.layout_modules import layout_module
from skymill.survey.images.mask_planes import CommonPlanes, unnamed_planes
from skymill.survey.images.psf import declared_psf, on_grid, psf_of
from skymill.survey.images.tile import ImageError, Psf, TileGeometry, TilePixels


def read_geometry(
    files: TileFiles, path: Path, settings: ImageSettings, bands: Sequence[str], *, band_names: Mapping[str, str] = {}
) -> TileGeometry:
    """Find where a tile is, from headers alone.

    Parameters
    ----------
    files : TileFiles
    path : Path
        The survey's folder.
    settings : ImageSettings
    bands : sequence of str
        Of the survey.
    band_names : mapping of str to str
        How files spell a band where that differs.

    Raises
    ------
    ImageError
        If a header cannot be used, or the unit of the pixels is neither declared nor told.
    """
    if settings.render is not None:
        return cast(TileGeometry, _module(settings).rendered_geometry(settings.render, files.name))
    with _described(files, path, settings, bands, band_names) as (_, described):
        grid = _target(settings, bands, described)
        return TileGeometry(files.name, header_text(grid.wcs), grid.shape, tuple(described), grid.origin, grid.inner)


def read_tile(
    files: TileFiles, path: Path, settings: ImageSettings, bands: Sequence[str], *, band_names: Mapping[str, str] = {}
) -> TilePixels:
    """Read all bands of a tile onto one grid.

    Parameters
    ----------
    files, path, settings, bands, band_names
        As of `read_geometry`.

    Raises
    ------
    ImageError
        If a file cannot be used; the message names it.
    """
    if settings.render is not None:
        return cast(TilePixels, _module(settings).rendered_pixels(settings.render, files.name, bands))
    layout = _layout(settings)
    with _described(files, path, settings, bands, band_names) as (found, described):
        grid = _target(settings, bands, described)
        layers = _Layers(len(bands), grid.shape)
        planes = CommonPlanes()
        psfs: dict[str, Psf] = {}
        moved: list[str] = []
        for number, (band, source) in enumerate(found.items()):
            with _parsed(source):
                where = _elsewhere(described[band].grid, grid)
                target = partial(layers.band, source.index) if where is None else None
                own = read_band(layout, source, described[band], planes, target)
                psf = _psf(layout, source, described[band].grid, where)
            was_resampled = False
            if where is not None:
                placed, psf, was_resampled = _on_grid(own, psf, where)
                layers.fill(source.index, placed)
            moved += [band] if was_resampled else []
            psfs |= {band: psf} if psf is not None else {}
            source.open.keep(path for later in list(found.values())[number + 1 :] for path in later.paths.values())
        return TilePixels(
            name=files.name,
            bands=tuple(bands),
            **vars(layers.whole),
            planes=planes.planes,
            roles=_roles(settings, planes.planes),
            wcs=grid.wcs,
            psf=psfs,
            metadata=_metadata(files, grid, described),
            resampled=tuple(moved),
            noise_known=all(each.noise in ("variance", "inverse_variance") for each in described.values()),
        )


class _Layers:
    """The arrays of all bands of a tile, made when a file is known to hold what its header announces."""

    def __init__(self, n_bands: int, shape: tuple[int, int]) -> None:
        self._shape = (n_bands, *shape)

    @cached_property
    def whole(self) -> BandPixels:
        """Those of all bands, (bands, ny, nx) each."""
        return BandPixels.nothing(self._shape)

    def band(self, index: int) -> BandPixels:
        """Those of one band, views."""
        return BandPixels(*(layer[index] for layer in vars(self.whole).values()))

    def fill(self, index: int, band: BandPixels) -> None:
        """Copy a band to its place."""
        for layer, values in zip(vars(self.band(index)).values(), vars(band).values(), strict=True):
            layer[:] = values


@contextmanager
def _described(
    files: TileFiles, path: Path, settings: ImageSettings, bands: Sequence[str], names: Mapping[str, str]
) -> Iterator[tuple[dict[str, BandSource], dict[str, Description]]]:
    """The bands of a tile and what their headers say; astropy's warnings of odd cards are of no use to anyone here."""
    layout = _layout(settings)
    with OpenFiles() as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        found = sources(files, path, settings, bands, names, opened)
        described = {}
        for band, source in found.items():
            with _parsed(source):
                described[band] = layout.describe(source)
        yield found, described


@contextmanager
def _parsed(source: BandSource) -> Iterator[None]:
    """Name the file, whatever astropy raises of a card that it cannot parse: when it is first asked for, or used."""
    try:
        yield
    except (ImageError, MemoryError, OSError):
        raise
    except Exception as error:
        raise ImageError(
            f"{source.path('image')}: expected headers that can be understood, found one that cannot "
            f"({type(error).__name__}: {error}); mend the header or fetch the file again"
        ) from error


def _layout(settings: ImageSettings) -> Layout:
    return cast(Layout, _module(settings))


def _module(settings: ImageSettings) -> ModuleType:
    """Import what reads a layout; by name, so that the code of other layouts decides nothing of a survey's tiles."""
    return import_module(layout_module(settings))


def _target(settings: ImageSettings, bands: Sequence[str], described: Mapping[str, Description]) -> Grid:
    return described[grid_band(settings, bands, list(described))].grid


def _elsewhere(own: Grid, target: Grid) -> PixelMap | None:
    """Where the common grid lies on a band's own; None where they are one."""
    if own is target:
        return None
    where = pixel_map(own, target)
    return None if where.shift == (0, 0) and own.shape == target.shape else where


def _on_grid(band: BandPixels, psf: Psf | None, where: PixelMap) -> tuple[BandPixels, Psf | None, bool]:
    """Bring a band to the common grid; also tells whether its pixels were interpolated."""
    if (shift := where.shift) is not None:
        return shifted(band, shift, where.target.shape), psf, False
    return resampled(band, where), on_grid(psf, where.jacobian) if psf is not None else None, True


def _psf(layout: Layout, source: BandSource, grid: Grid, where: PixelMap | None) -> Psf | None:
    """The PSF on the band's own pixels; of one that varies the mean over the tile."""
    image = layout.psf(source, places(grid.shape) if where is None else where.places)
    if image is None:
        return declared_psf(source.settings, source.band, pixel_scale_arcsec(grid.wcs))
    return psf_of(image, f"{source.paths.get('psf', source.paths['image'])} (PSF of band '{source.band}')")


def _roles(settings: ImageSettings, planes: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Which of a tile's planes mean what; a bit without a name is bad, as 0 is a good pixel."""
    roles = {role: tuple(name for name in names if name in planes) for role, names in settings.planes.items()}
    return {**roles, "bad": (*roles["bad"], *unnamed_planes(planes))}


def _metadata(files: TileFiles, grid: Grid, described: Mapping[str, Description]) -> dict[str, Any]:
    bands = {
        band: {"file": files.files["image"][band], "nJy_per_unit": each.nJy, **each.metadata}
        for band, each in described.items()
    }
    return {"origin": grid.origin, "inner": grid.inner, "bands": bands}
