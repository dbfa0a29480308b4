"""An image tile that sources were measured on, and the stamps of these sources: all that decides their pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skymill.config.images import ImageSettings
from skymill.config.model import PSF_PX, StampSettings
from skymill.survey.images import TileFiles, TilePixels, cutouts, read_tile
from skymill.survey.images.celestial import pixel_scale_arcsec
from skymill.survey.images.tile import ImageError, Psf

SCALE_TOLERANCE = 0.05
"""By which the pixels of two tiles may differ in size, for one model to look at both."""


class PixelScaleError(ImageError):
    """Pixels of an image are of another size than a model was made for."""


class StampBatch(NamedTuple):
    """Stamps of k sources, whose flux and weights the batch after the next overwrites."""

    sources: slice
    """Which of the sources asked for these are."""
    flux: NDArray[np.float32]
    """(k, bands, size, size), nJy; 0 where a pixel has no weight or lies outside the image."""
    inverse_variance: NDArray[np.float32]
    """(k, bands, size, size), 1 / nJy^2; 0 there too."""
    coverage_frac: NDArray[np.float32]
    """(k, bands): share of the pixels that have weight."""
    masked_frac: NDArray[np.float32]
    """(k, bands): share of the pixels in a mask plane that means something (`config.images.PLANES`)."""


@dataclass(frozen=True)
class SourceTile:
    """An image tile that sources were measured on, and what is needed to read it."""

    files: TileFiles
    sha256: str
    folder: str
    images: ImageSettings
    bands: tuple[str, ...]
    band_names: dict[str, str]

    def stamps(
        self, ra: NDArray[np.float64], dec: NDArray[np.float64], form: StampSettings, *, batch: int
    ) -> Iterator[StampBatch]:
        """Read the tile once and cut the stamps of sources.

        Parameters
        ----------
        ra, dec : ndarray of float64, (n,)
            Degrees, ICRS.
        form : StampSettings
        batch : int
            Stamps at a time.

        Raises
        ------
        ImageError
            As `read`.
        """
        yield from self.cut(self.read(form), ra, dec, form, batch=batch)

    def read(self, form: StampSettings) -> TilePixels:
        """Read the tile.

        Raises
        ------
        ImageError
            If the files cannot be used.
        PixelScaleError
            If their pixels are not of the size that `form` declares.
        """
        tile = read_tile(self.files, Path(self.folder), self.images, self.bands, band_names=self.band_names)
        scale = pixel_scale_arcsec(tile.wcs)
        if abs(scale / form.pixel_scale_arcsec - 1) > SCALE_TOLERANCE:
            raise PixelScaleError(
                f"{tile.name}: its pixels are of {scale:.4g} arcsec, the model takes stamps of pixels of "
                f"{form.pixel_scale_arcsec:.4g}; set stamps.pixel_scale_arcsec in the model's file and fit it again"
            )
        return tile

    def psf(self, tile: TilePixels, form: StampSettings) -> NDArray[np.float32]:
        """Give the PSFs of the tile that was read, (bands, `PSF_PX`, `PSF_PX`), of sum 1; 0 for a band without one."""
        return np.stack([_psf_image(tile.psf.get(band)) for band in form.bands or self.bands])

    def cut(
        self,
        tile: TilePixels,
        ra: NDArray[np.float64],
        dec: NDArray[np.float64],
        form: StampSettings,
        *,
        batch: int,
    ) -> Iterator[StampBatch]:
        """Cut the stamps of sources out of the tile that was read; arguments as of `stamps`."""
        seen = _in_bands(tile, form.bands or self.bands)
        x, y = seen.wcs.all_world2pix(ra, dec, 0)
        cuts = cutouts(seen, x, y, form.size_px, batch=batch, what=("pixels", "inverse_variance"), buffers=2)
        for cut in cuts:
            assert cut.pixels is not None and cut.inverse_variance is not None
            holed = np.flatnonzero((cut.coverage_frac < 1).any(axis=1))
            cut.pixels[holed] = np.where(cut.inverse_variance[holed] > 0, cut.pixels[holed], np.float32(0))
            yield StampBatch(cut.sources, cut.pixels, cut.inverse_variance, cut.coverage_frac, cut.masked_frac)


def _psf_image(psf: Psf | None) -> NDArray[np.float32]:
    """Give the middle of a PSF's image, or a Gaussian where only its width is known."""
    middle, half = np.zeros((PSF_PX, PSF_PX)), PSF_PX // 2
    if psf is None:
        return middle.astype(np.float32)
    if psf.image is None:
        square = np.add.outer(*2 * [np.arange(-half, half + 1) ** 2])
        middle = np.exp(-4 * np.log(2) * square / psf.fwhm_px**2)
    else:
        edge = min(half, len(psf.image) // 2)
        own, there = len(psf.image) // 2, slice(half - edge, half + edge + 1)
        middle[there, there] = psf.image[own - edge : own + edge + 1, own - edge : own + edge + 1]
    return (middle / middle.sum()).astype(np.float32)


def _in_bands(tile: TilePixels, wanted: Sequence[str]) -> TilePixels:
    """Give a tile in some of its bands; views of its arrays where they stand together in this order."""
    places = [tile.bands.index(band) for band in wanted]
    together = slice(places[0], places[0] + len(places))
    chosen = together if places == list(range(together.start, together.stop)) else places
    return replace(
        tile,
        bands=tuple(wanted),
        pixels=tile.pixels[chosen],
        inverse_variance=tile.inverse_variance[chosen],
        mask=tile.mask[chosen],
    )


def by_tile(numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Group sources by the number of their tile."""
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    yield from zip(found.tolist(), np.split(order, starts[1:]), strict=True)


def stacked(batch: StampBatch) -> NDArray[Any]:
    """Give flux and inverse variance of a batch in one array, (k, 2, bands, size, size)."""
    return np.stack([batch.flux, batch.inverse_variance], axis=1)
