"""The profiles of bulge and disc: radii that hold light, and the Sersic index that is as concentrated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import gammaincinv

from skymill.survey.rendered.profiles import bulge_light, disc_light, half_light_radius, light_radius, sersic_index
from skymill.survey.simulated.population import Sources


def galaxies(bulge_fraction: list[float], bulge_radius: list[float], disc_radius: list[float]) -> Sources:
    n = len(bulge_fraction)
    rest = {
        name: np.zeros(n) for name in ("redshift", "spectral_type", "axis_ratio", "position_angle", "point_fraction")
    }
    return Sources(
        kind=np.zeros(n, np.int8), magnitudes=np.zeros((n, 6)), bulge_fraction=np.array(bulge_fraction),
        bulge_radius=np.array(bulge_radius), disc_radius=np.array(disc_radius), **rest,
    )  # fmt: skip


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_radii_hold_the_share_of_the_light(share: float) -> None:
    sources = galaxies([0.0, 1.0, 0.3, 0.7], [1.0, 1.0, 0.4, 3.0], [2.0, 1.0, 2.0, 0.5])
    radius = light_radius(sources, share)
    bulge, disc = bulge_light(radius / sources.bulge_radius), disc_light(radius / sources.disc_radius)
    held = sources.bulge_fraction * bulge + (1 - sources.bulge_fraction) * disc
    np.testing.assert_allclose(held, share, rtol=1e-6)
    np.testing.assert_array_equal(light_radius(galaxies([0.5], [0.0], [0.0]), share), [0.0])


def test_a_discs_index_is_1_a_bulges_nearly_4_and_sizes_do_not_matter() -> None:
    found = sersic_index(galaxies([0.0, 0.0, 1.0, 1.0], [1.0, 3.0, 1.0, 3.0], [1.0, 3.0, 1.0, 3.0]))
    np.testing.assert_allclose(found[:2], 1, rtol=1e-3)
    assert 3.5 < found[2] < 4 and found[2] == pytest.approx(found[3], rel=1e-6)
    assert np.isnan(sersic_index(galaxies([0.5], [0.0], [0.0]))).all()


def test_the_index_is_that_of_the_sersic_profile_whose_integral_has_the_same_radii() -> None:
    sources = galaxies([0.3], [0.4], [2.0])
    [index] = sersic_index(sources)
    b = gammaincinv(2 * index, 0.5)

    def light(radius: float) -> float:
        return quad(lambda r: r * np.exp(-b * r ** (1 / index)), 0, radius)[0]

    whole = light(400)
    inner, outer = (brentq(lambda r, s=share: light(r) / whole - s, 1e-4, 100) for share in (0.2, 0.8))
    ratio = light_radius(sources, 0.8)[0] / light_radius(sources, 0.2)[0]
    assert outer / inner == pytest.approx(ratio, rel=1e-3)


def test_half_light_radii_lie_between_those_of_bulge_and_disc() -> None:
    radius = half_light_radius(galaxies([0.2, 0.9], [0.3, 0.3], [1.0, 1.0]))
    assert 0.3 < radius[1] < radius[0] < 1
