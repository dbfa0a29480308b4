"""A survey's images: which files make a tile, and what their pixels mean."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from skymill.config.base import Settings

ImageLayout = Literal["fits", "exposure", "cells", "zarr", "numpy", "rendered"]
PLANES = ("no_data", "bad", "saturated", "edge", "interpolated", "cosmic_ray")
"""What a pixel of a mask plane is, in skymill's words."""
PLANE_NAMES: dict[str, list[str]] = {
    "no_data": ["NO_DATA", "UNMASKEDNAN"],
    "bad": ["BAD", "SUSPECT"],
    "saturated": ["SAT", "SATURATED"],
    "edge": ["EDGE", "DETECTION_EDGE"],
    "interpolated": ["INTRP", "INTERPOLATED"],
    "cosmic_ray": ["CR", "COSMIC_RAY"],
}
"""The same in the words of the LSST pipelines, up to DP1 and from DP2 on."""


Positive = Annotated[float, Field(gt=0)]


class RenderSettings(Settings):
    """The embedded survey in pixels: tiles of one simulated sky."""

    seed: int = Field(1, ge=0)
    """Another seed gives another sky, other noise and other defects."""
    tiles: tuple[Annotated[int, Field(ge=1, le=100)], Annotated[int, Field(ge=1, le=100)]] = (2, 2)
    """Tiles along x and along y."""
    tile_px: int = Field(1024, ge=64, le=8192)
    """Pixels of 0.2 arcsec along each side of a tile."""
    overlap_px: int = Field(128, ge=0)
    """Pixels that neighbours share."""
    centre: tuple[Annotated[float, Field(ge=0, lt=360)], Annotated[float, Field(ge=-90, le=90)]] = (60.0, -30.0)
    """RA and Dec (degrees) of the middle of all tiles."""
    years: float = Field(10.0, ge=0.1, le=10)
    """Of LSST: 10 gives depths of 26.1, 27.4, 27.5, 26.8, 26.1, 24.9 in ugrizy, 1 gives 1.25 mag less."""
    faintest: float = Field(27.0, ge=20, le=28)
    """Faintest i magnitude drawn."""
    density: float = Field(1.0, gt=0, le=20)
    """Galaxies relative to the sky's, of which there are 46 per square arcmin brighter than i = 25."""
    stars: float = Field(10.0, ge=0, le=2000)
    """Stars per square arcmin down to `faintest`; some 5 at high Galactic latitude."""
    brightest_star: float = Field(14.0, ge=12, le=18)
    """The i magnitude at which the stars begin; from about 16.5 up they saturate."""
    quasars: float = Field(3.0, ge=0, le=50)
    """Quasars per square arcmin, far more than in the sky, so that a small field can teach the class."""
    pairs: float = Field(0.0, ge=0, le=100)
    """Extra companions per square arcmin, 0.3 to 2.5 arcsec from a galaxy and at most 1.5 mag fainter."""
    shapes: str | None = None
    """Folder of real galaxies as GalSim reads them (COSMOS: `real_galaxy_catalog*.fits` and its images), to draw in
    place of bulges and discs."""
    shapes_share: float = Field(0.5, gt=0, le=1)
    """Share of the galaxies with 20 < i < 25.5 that are drawn from `shapes`."""
    defects: bool = True
    """Bad columns, cosmic rays, a satellite's trail and a chip gap. Bright stars saturate either way."""
    mask_share: float = Field(1.0, gt=0)
    """A source's mask in the truth: pixels where its noise-free i flux exceeds so much of a pixel's noise."""

    @model_validator(mode="after")
    def _tiles_advance(self) -> RenderSettings:
        if self.overlap_px > self.tile_px // 2:
            raise ValueError(
                f"overlap_px must be at most half of tile_px, {self.tile_px // 2}; found {self.overlap_px}"
            )
        return self


class ImageFile(Settings):
    """Files of one kind: an image, its weights, its mask."""

    file: str
    """Name below `path`: `{band}` stands for a band, every other name in braces (`{tile}`, or `{tract}` and `{patch}`)
    for what tells tiles apart. Without `{band}` a file holds all bands."""
    hdu: str | int | None = None
    """Extension of a FITS file by name or number (`{band}` may stand in it); name of an array in Zarr or npz; where
    null, the first that holds an image."""


class ImageSettings(Settings):
    """The images of a survey."""

    layout: ImageLayout
    """`fits`; `exposure` (LSST and HSC: IMAGE, MASK, VARIANCE); `cells` (LSST CellCoadd); `zarr` (OME-Zarr too);
    `numpy` (npy, npz); `rendered`, the simulated survey, which has no files."""
    render: RenderSettings | None = None
    """What is rendered, with the layout `rendered`."""
    image: ImageFile | None = None
    """The pixels; with the layouts `exposure` and `cells`, the mask and the variance too."""
    unit: Literal["nJy", "nanomaggy", "count"] | None = None
    """Of the pixels; null: what the file says of them (`BUNIT`), and an error where it says nothing."""
    zero_point: float | dict[str, float] | None = None
    """AB magnitude of one count, of all bands or by band."""
    variance: ImageFile | None = None
    """Variance of the pixels, in the square of their unit."""
    inverse_variance: ImageFile | None = None
    """In place of it: 1 / variance; 0 where a pixel is not to be used."""
    weight: ImageFile | None = None
    """In place of it: relative weights, which are scaled by the measured noise."""
    mask: ImageFile | None = None
    """Bits per pixel; 0 is a good pixel."""
    mask_bits: dict[str, int] = {}
    """Name of each bit of `mask`, from 0, where the file does not name them."""
    planes: dict[str, list[str]] = PLANE_NAMES
    """Which of the survey's mask planes mean what: no_data, bad, saturated, edge, interpolated, cosmic_ray."""
    psf_fwhm_arcsec: Positive | dict[str, Positive] | None = None
    """Width of the point-spread function, where the files hold no model of it."""
    psf: ImageFile | None = None
    """Images of the point-spread function, of odd size and centred; or, in FITS files, models of PSFEx or SDSS
    (psField)."""
    pixel_scale_arcsec: float | None = Field(None, gt=0)
    """For pixels without a WCS: they are then laid around `centre`."""
    centre: tuple[float, float] | None = None
    """RA and Dec (degrees) of such an image's middle."""
    grid: str | None = None
    """Band on whose pixels the others are laid where their grids differ; null: the reference band (i, else r)."""

    @field_validator("planes")
    @classmethod
    def _known_planes(cls, planes: dict[str, list[str]]) -> dict[str, list[str]]:
        unknown = sorted(set(planes) - set(PLANES))
        if unknown:
            raise ValueError(f"expected planes among {', '.join(PLANES)}, found {', '.join(unknown)}")
        return {**PLANE_NAMES, **planes}

    @model_validator(mode="after")
    def _consistent(self) -> ImageSettings:
        if (self.layout == "rendered") != (self.render is not None) or (self.render is None) == (self.image is None):
            raise ValueError("give `render` with the layout 'rendered', which has no files, and `image` with any other")
        noise = [name for name in ("variance", "inverse_variance", "weight") if getattr(self, name)]
        if len(noise) > 1:
            raise ValueError(f"give at most one of variance, inverse_variance, weight; found {', '.join(noise)}")
        if (self.unit == "count") != (self.zero_point is not None):
            raise ValueError("zero_point, the AB magnitude of one count, goes with unit 'count' and with no other")
        if (self.pixel_scale_arcsec is None) != (self.centre is None):
            raise ValueError("pixel_scale_arcsec and centre lay out pixels without a WCS together; give both or none")
        if self.psf is not None and self.psf_fwhm_arcsec is not None:
            raise ValueError("give psf or psf_fwhm_arcsec, not both")
        return self


class MeasureSettings(Settings):
    """How sources are found and measured on images."""

    threshold: Positive = 3.5
    """Of detection: signal over noise of a pixel of the noise-weighted sum of all bands, filtered with the PSF."""
    min_area_px: int = Field(5, ge=1)
    """Connected pixels above it that make a footprint, of one source or more."""
    background_px: int = Field(128, ge=16)
    """Size of the meshes in which the background is estimated."""
    deblend_significance: float = Field(1.0, ge=0)
    """How far a peak must rise above the saddle that joins it to a higher one to be a source of its own, in sigma; more
    in a large footprint, where noise has more chances of a peak."""
    deblend_contrast: float = Field(0.1, ge=0)
    """The same, as a share of the saddle's height: bright galaxies have structure that is no noise."""
    psf_from_stars: bool = True
    """Where only the width of a band's PSF is known: make its image of the tile's own stars."""
    apertures_arcsec: list[Positive] = Field([0.6, 1.0, 1.4, 2.4, 3.4], min_length=1)
    """Radii of the circular apertures."""
    morphology: bool = False
    """Also measure concentration, asymmetry, smoothness, Gini, M20 and Petrosian radii in the reference band: some
    milliseconds a source, and ten seconds once in each worker."""
    max_sources: int = Field(400_000, ge=1, le=4_000_000)
    """Of a tile; a tile of more is measured no further and quarantined, with the number found."""
    positions: str | None = None
    """Table of positions (objectId, coord_ra, coord_dec; Parquet) to measure at, in place of detection."""
    segmenter: str | None = None
    """ONNX file of a learned segmenter that finds the sources, in place of detection."""

    @field_validator("apertures_arcsec")
    @classmethod
    def _apart(cls, radii: list[float]) -> list[float]:
        if any(second <= first for first, second in pairwise(radii)):
            raise ValueError(f"expected radii that grow, found {', '.join(f'{radius:g}' for radius in radii)}")
        return radii

    @model_validator(mode="after")
    def _one_finder(self) -> MeasureSettings:
        if self.positions is not None and self.segmenter is not None:
            raise ValueError(
                f"give positions to measure at or a segmenter that finds them, not both; found {self.positions} and "
                f"{self.segmenter}"
            )
        return self
