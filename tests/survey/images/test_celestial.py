"""The WCS of a tile: in ICRS wherever it comes from, and the same when written as a header."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame
from hypothesis import given
from hypothesis import strategies as st
from image_tiles import image_settings, tan_wcs

from skymill.survey.images.celestial import header_text, header_wcs, in_icrs, laid_out, pixel_scale_arcsec
from skymill.survey.images.tile import ImageError


@given(
    st.sampled_from(["TAN", "SIN", "ARC", "ZEA", "STG"]),
    st.sampled_from(["FK5", "Galactic"]),
    st.floats(0, 359.9),
    st.floats(-89.9, 89.9),
    st.floats(-180, 180),
    st.sampled_from([2000.0, 1985.5]),
)
def test_every_pixel_stays_where_it_is_when_the_frame_becomes_icrs(
    projection: str, frame: str, longitude: float, latitude: float, lonpole: float, equinox: float
) -> None:
    wcs = WCS(naxis=2)
    axes = ("RA--", "DEC-") if frame == "FK5" else ("GLON", "GLAT")
    wcs.wcs.ctype = [f"{axis}-{projection}" for axis in axes]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.lonpole = [longitude, latitude], [300, 200], lonpole
    wcs.wcs.cd = [[-3e-5, 1e-5], [1e-5, 4e-5]]
    if frame == "FK5":
        wcs.wcs.radesys, wcs.wcs.equinox = "FK5", equinox
    wcs.wcs.set()
    pixels = np.random.default_rng(0).uniform(0, 600, (20, 2))
    before = SkyCoord(*wcs.all_pix2world(pixels, 0).T, unit="deg", frame=wcs_to_celestial_frame(wcs)).icrs
    after = SkyCoord(*in_icrs(wcs, "here").all_pix2world(pixels, 0).T, unit="deg")
    assert before.separation(after).arcsec.max() < 1e-6


def test_a_projection_that_is_not_zenithal_must_be_in_icrs() -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR"]
    wcs.wcs.set()
    with pytest.raises(ImageError, match=r"here: expected a WCS in ICRS, .* found GLON-CAR in Galactic"):
        in_icrs(wcs, "here")


def test_a_wcs_is_the_same_after_it_was_a_header() -> None:
    wcs = tan_wcs(turn_deg=33, scale_arcsec=0.168, shift=(0.123456789, 7))
    again = header_wcs(header_text(wcs))
    pixels = np.array([[0.0, 0.0], [2000.0, 3000.0]])
    np.testing.assert_allclose(again.all_pix2world(pixels, 0), wcs.all_pix2world(pixels, 0), rtol=0, atol=1e-11)


def test_pixels_without_a_wcs_lie_around_the_centre() -> None:
    wcs = laid_out((100, 201), image_settings(centre=(10.0, 80.0), pixel_scale_arcsec=0.5), "here")
    np.testing.assert_allclose(wcs.all_pix2world([[100.0, 49.5]], 0), [[10.0, 80.0]], atol=1e-10)
    assert pixel_scale_arcsec(wcs) == pytest.approx(0.5)
