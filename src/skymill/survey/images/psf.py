"""The point-spread function of a band: an image of it, or its declared width."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.config.images import ImageSettings
from skymill.survey.images.tile import ImageError, Psf

OFF_CENTRE_px = 1.0
FINER = 8
"""Times finer pixels on which the area above half the maximum is counted."""


def declared_psf(settings: ImageSettings, band: str, pixel_scale_arcsec: float) -> Psf | None:
    """Give the declared width of a band's PSF in pixels; None where none is declared."""
    fwhm = settings.psf_fwhm_arcsec
    fwhm_arcsec = fwhm.get(band) if isinstance(fwhm, Mapping) else fwhm
    return None if fwhm_arcsec is None else Psf(fwhm_arcsec / pixel_scale_arcsec)


def psf_of(image: NDArray[Any], where: str) -> Psf:
    """Make a PSF of an image of it.

    Parameters
    ----------
    image : ndarray, (k, k)
        k odd; of any positive sum, centred on the middle pixel.
    where : str
        File, for messages.

    Raises
    ------
    ImageError
        If it is not such an image.
    """
    size = image.shape[0]
    if image.ndim != 2 or image.shape != (size, size) or size % 2 == 0:
        raise ImageError(
            f"{where}: expected the image of a PSF of odd size, k x k, found {' x '.join(map(str, image.shape))}; "
            "cut or pad it so that its peak is the middle pixel"
        )
    values = np.array(np.ma.filled(image, np.nan), dtype=np.float64)
    if not np.isfinite(values).all() or not values.sum() > 0:
        raise ImageError(
            f"{where}: expected a PSF of finite values and positive sum, found sum {values.sum():.3g}; leave it out "
            "and declare psf_fwhm_arcsec"
        )
    peak = np.unravel_index(np.argmax(values), values.shape)
    offset = max(abs(int(place) - size // 2) for place in peak)
    if offset > OFF_CENTRE_px:
        raise ImageError(
            f"{where}: expected a PSF centred on its middle pixel, found the peak {offset} px off; centre it"
        )
    values /= values.sum()
    return Psf(fwhm_px(values), np.ascontiguousarray(values, dtype=np.float32))


def fwhm_px(image: NDArray[np.float64]) -> float:
    """Measure the diameter of the circle whose area is that above half the maximum, by cubic interpolation."""
    from scipy.ndimage import zoom

    fine = zoom(image, FINER, order=3, mode="grid-constant", grid_mode=True)
    return 2.0 * math.sqrt(np.count_nonzero(fine >= fine.max() / 2) / math.pi) / FINER


def on_grid(psf: Psf, jacobian: NDArray[np.float64]) -> Psf:
    """Give a PSF as it is after its band was brought to another grid.

    Parameters
    ----------
    psf : Psf
    jacobian : ndarray, (2, 2)
        Change of row and column of the band's own grid by row and column of the other.
    """
    if psf.image is None:
        return Psf(psf.fwhm_px / math.sqrt(abs(np.linalg.det(jacobian))))
    return psf_of(resampled_image(psf.image.astype(np.float64), jacobian), "a resampled PSF")


def resampled_image(image: NDArray[np.float64], jacobian: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the image of a PSF, (k, k) with k odd, on other pixels, by cubic splines; its sum is not kept.

    Parameters
    ----------
    image : ndarray of float64, (k, k)
    jacobian : ndarray, (2, 2)
        Change of its row and column by row and column of the other pixels.
    """
    from scipy.ndimage import affine_transform

    half = math.ceil(image.shape[0] // 2 / math.sqrt(abs(np.linalg.det(jacobian))))
    middle, own = np.array([half, half]), np.array([image.shape[0] // 2] * 2)
    resampled: NDArray[np.float64] = affine_transform(
        image, jacobian, own - jacobian @ middle, output_shape=(2 * half + 1, 2 * half + 1)
    )
    return resampled
