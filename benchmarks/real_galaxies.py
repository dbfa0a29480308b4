"""Real galaxies with their segments, as statmorph's tutorial makes them: for its comparison with ours."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import statmorph
from astropy.io import fits
from astropy.stats import SigmaClip, sigma_clipped_stats
from numpy.typing import NDArray
from photutils.background import Background2D
from photutils.segmentation import detect_sources
from photutils.utils.exceptions import NoDetectionsWarning
from scipy import ndimage

STATMORPH = {
    "concentration": "concentration",
    "asymmetry": "asymmetry",
    "smoothness": "smoothness",
    "gini": "gini",
    "m20": "m20",
    "petrosian_radius": "rpetro_circ",
    "petrosian_radius_ellip": "rpetro_ellip",
    "half_light_radius": "rhalf_circ",
    "half_light_radius_ellip": "rhalf_ellip",
    "signal_to_noise": "sn_per_pixel",
}
"""Our quantities by their names in statmorph."""
FRAMES = {
    "ngc6976": "images/small_references/reprojected_sdss_r.fits.bz2",
    "stripe82": "images/sdss_stripe82_94_1_12/frame-r-000094-1-0012.fits.bz2",
}
HST = "images/hst_cosmos_stamps/real_galaxy_images_extension.fits"
SIGMA, SMALLEST = 1.5, 30


class SameQuantities(statmorph.SourceMorphology):
    """statmorph without what we do not measure."""

    def _calculate_morphology(self) -> None:
        for name in STATMORPH.values():
            getattr(self, name)

    def _check_segmaps(self) -> None:
        """The MID segment is not made."""


@dataclass(frozen=True)
class Galaxies:
    """An image less its background, segments, which of them are to be measured, and the noise of each pixel."""

    image: NDArray[np.float64]
    labels: NDArray[np.int32]
    sources: NDArray[np.int64]
    sigma: NDArray[np.float64]


def hst_galaxies(data: Path) -> Iterator[Galaxies]:
    """Give the HST galaxies, each on its stamp, of which the largest segment is the galaxy."""
    for hdu in fits.open(data / HST):
        if hdu.data is None:
            continue
        image = np.asarray(hdu.data, np.float64)
        _, median, sigma = sigma_clipped_stats(image, sigma=3)
        found = detect(image - median, np.full(image.shape, sigma), smallest=5)
        if found is not None:
            areas = np.bincount(found.labels.ravel())[1:]
            yield Galaxies(found.image, found.labels, np.array([np.argmax(areas) + 1]), found.sigma)


def sdss_galaxies(data: Path, name: str, most: int | None = None) -> Galaxies:
    """Give an SDSS frame with its larger sources, of which at most so many are chosen, evenly by number."""
    image = np.asarray(fits.getdata(data / FRAMES[name]), np.float64)
    background = Background2D(image, 128, filter_size=3, sigma_clip=SigmaClip(sigma=3))
    found = detect(image - background.background, background.background_rms, smallest=SMALLEST)
    if found is None:
        raise ValueError(f"{name}: expected sources, found none")
    step = 1 if most is None else -(-len(found.sources) // most)
    return Galaxies(found.image, found.labels, found.sources[::step], found.sigma)


def detect(image: NDArray[np.float64], sigma: NDArray[np.float64], smallest: int) -> Galaxies | None:
    """Find what stands out of an image smoothed by a Gaussian of two pixels; touching sources are one."""
    smooth = ndimage.gaussian_filter(image, 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        segments = detect_sources(smooth, SIGMA * sigma, smallest)
    if segments is None:
        return None
    return Galaxies(image, segments.data.astype(np.int32), np.asarray(segments.labels, np.int64), sigma)
