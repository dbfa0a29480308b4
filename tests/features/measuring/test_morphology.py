"""Morphology: equal to statmorph on real galaxies, to what is known of simple profiles, and to itself when turned."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photutils.segmentation import SegmentationImage
from real_galaxies import STATMORPH, Galaxies, SameQuantities, hst_galaxies, sdss_galaxies
from scipy.optimize import brentq

from skymill.features.measuring.morphology import morphology

SIDE, CENTRE = 241, 120
TOLERANCES = {"signal_to_noise": 1e-6}
"""Relative; all others 1e-6 of the value and 4e-6 in its own unit."""


@pytest.fixture(scope="module")
def galaxies(data: Path) -> dict[str, list[Galaxies]]:
    frames = {name: [sdss_galaxies(data, name, 10)] for name in ("ngc6976", "stripe82")}
    return {"hst": list(hst_galaxies(data))[::14], **frames}


@pytest.mark.parametrize("name", ["hst", "ngc6976", "stripe82"])
def test_values_are_those_of_statmorph(galaxies, name):
    for one in galaxies[name]:
        found = morphology(one.image, one.labels, one.sources, inverse_variance=one.sigma**-2.0)
        segments = SegmentationImage(one.labels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = [SameQuantities(one.image, segments, n, weightmap=one.sigma) for n in one.sources.tolist()]
        for ours, theirs in STATMORPH.items():
            values = np.array([galaxy[theirs] for galaxy in expected], float)
            values[values == -99] = np.nan
            atol = TOLERANCES.get(ours, 4e-6)
            np.testing.assert_allclose(found[ours], values, rtol=1e-6, atol=atol, err_msg=f"{name} {ours}")
        np.testing.assert_array_equal(found["flag"], [galaxy.flag for galaxy in expected])


def profile(kind: str, scale: float, ratio: float = 1.0, angle: float = 0.0, side: int = SIDE) -> np.ndarray:
    """A Gaussian of that sigma or an exponential disc of that scale length, integrated over pixels by 5 x 5 points."""
    fine = (np.arange(5 * side) - 2) / 5 - side // 2
    x, y = np.meshgrid(fine, fine)
    along, across = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / ratio
    r = np.hypot(along, across) / scale
    values = np.exp(-0.5 * r**2) if kind == "gaussian" else np.exp(-r)
    return values.reshape(side, 5, side, 5).mean(axis=(1, 3))


def light(kind: str, r: np.ndarray | float) -> Any:
    """Light within r scale lengths, up to a factor."""
    return 1 - np.exp(-0.5 * r**2) if kind == "gaussian" else 1 - (1 + r) * np.exp(-r)


def truth(kind: str) -> dict[str, float]:
    """Radii in scale lengths, from the profile's own curve of growth."""
    brightness = {"gaussian": lambda r: np.exp(-0.5 * r**2) / 2, "exponential": lambda r: np.exp(-r) / 2}[kind]
    petrosian = brentq(lambda r: brightness(r) * r**2 / light(kind, r) - 0.2, 0.5, 9)
    r20, r80 = (
        brentq(lambda r: light(kind, r) - share * light(kind, 1.5 * petrosian), 1e-3, 1.5 * petrosian)  # noqa: B023
        for share in (0.2, 0.8)
    )
    half = brentq(lambda r: light(kind, r) - 0.5, 0.1, 5)
    return {"petrosian_radius": petrosian, "concentration": 5 * np.log10(r80 / r20), "half_light_radius": half}


def measure(image: np.ndarray, threshold: float, **options: Any) -> dict[str, float]:
    found = morphology(image, (image > threshold).astype(np.int32), [1], **options)
    return {name: float(values[0]) for name, values in found.items()}


@pytest.mark.parametrize("kind", ["gaussian", "exponential"])
def test_round_profiles_have_the_radii_and_concentration_of_their_curve_of_growth(kind):
    scale = 8.0
    expected = truth(kind)
    found = measure(profile(kind, scale), 1e-4)
    assert found["petrosian_radius"] == pytest.approx(scale * expected["petrosian_radius"], rel=2e-3)
    assert found["petrosian_radius_ellip"] == pytest.approx(found["petrosian_radius"], rel=1e-4)
    assert found["concentration"] == pytest.approx(expected["concentration"], rel=3e-3)
    assert found["half_light_radius"] == pytest.approx(scale * expected["half_light_radius"], rel=5e-3)
    assert abs(found["asymmetry"]) < 1e-4
    assert 0 <= found["smoothness"] < 0.05


def test_known_concentrations():
    """2.145 for a Gaussian and 2.80 for a disc of infinite extent; the Petrosian aperture takes little off."""
    assert truth("gaussian")["concentration"] == pytest.approx(2.145, abs=0.01)
    assert truth("exponential")["concentration"] == pytest.approx(2.80, abs=0.07)


@pytest.mark.parametrize("angle", [0.0, 0.6, 2.0])
def test_an_inclined_disc_has_the_radii_of_the_round_one_along_its_axis(angle):
    found = measure(profile("exponential", 8.0, ratio=0.5, angle=angle), 1e-4)
    expected = truth("exponential")
    assert found["petrosian_radius_ellip"] == pytest.approx(8 * expected["petrosian_radius"], rel=5e-3)
    assert found["half_light_radius_ellip"] == pytest.approx(8 * expected["half_light_radius"], rel=1e-2)
    assert found["petrosian_radius"] < 0.8 * found["petrosian_radius_ellip"]


@pytest.fixture(scope="module")
def lopsided() -> tuple[np.ndarray, np.ndarray]:
    """A disc with clumps on noise, and a neighbour, with their segments."""
    random = np.random.default_rng(7)
    image = profile("exponential", 6.0, ratio=0.7, angle=0.5, side=121)
    for x, y in ((70, 62), (52, 68), (63, 49)):
        image += 0.5 * np.roll(profile("gaussian", 1.5, side=121), (y - 60, x - 60), (0, 1))
    labels = (image > 0.02).astype(np.int32)
    image += np.roll(profile("gaussian", 2.0, side=121), (25, 30), (0, 1))
    labels[76:95, 81:100] = np.where(labels[76:95, 81:100] == 0, 2, labels[76:95, 81:100])
    return image + random.normal(0, 0.004, image.shape), labels


def test_clumps_raise_asymmetry_and_smoothness(lopsided):
    found = morphology(*lopsided, [1])
    smooth = measure(profile("exponential", 6.0, ratio=0.7, angle=0.5, side=121), 0.02)
    assert found["asymmetry"][0] > 0.05 + smooth["asymmetry"]
    assert found["smoothness"][0] > 0.01 + smooth["smoothness"]
    assert found["flag"][0] <= 1


@pytest.mark.parametrize("turn", [np.rot90, np.fliplr, np.flipud, np.transpose])
def test_values_stay_when_the_image_is_turned(lopsided, turn):
    """Up to the box of sky, which is then another one, and to where the search for the centre ends."""
    found, turned = (morphology(*images, [1]) for images in (lopsided, [turn(array) for array in lopsided]))
    for name in ("concentration", "gini", "m20", "petrosian_radius", "petrosian_radius_ellip"):
        assert turned[name][0] == pytest.approx(found[name][0], rel=2e-3), name
    assert turned["asymmetry"][0] == pytest.approx(found["asymmetry"][0], abs=0.02)


def test_values_do_not_depend_on_the_unit(lopsided):
    image, labels = lopsided
    for factor in (1e-12, 57.544, 1e9):
        scaled = morphology(factor * image, labels, [1])
        for name, values in morphology(image, labels, [1]).items():
            np.testing.assert_allclose(scaled[name], values, rtol=1e-6, atol=1e-6, err_msg=f"{factor} {name}")


def test_values_stay_within_a_larger_tile_whatever_else_is_measured(lopsided):
    image, labels = lopsided
    large = np.zeros((300, 400)), np.zeros((300, 400), np.int32)
    for whole, part in zip(large, (image, labels)):
        whole[100:221, 200:321] = part
    large[1][large[1] == 1] = 9
    alone = morphology(image, labels, [1])
    found = morphology(*large, [2, 9, 5])
    for name, values in alone.items():
        np.testing.assert_allclose(found[name][1], values[0], rtol=1e-5, atol=1e-5, err_msg=name)
    assert np.isnan(found["gini"][2]) and found["flag"][2] == 4


def test_what_is_masked_without_value_or_weight_or_anothers_does_not_count(lopsided):
    image, labels = lopsided
    spot = (slice(64, 67), slice(50, 53))
    mask = np.zeros(image.shape, bool)
    mask[spot] = True
    expected = morphology(image, labels, [1], mask=mask)
    bright, missing = image.copy(), image.copy()
    bright[spot], missing[spot] = 1e6, np.nan
    weights = np.where(mask, 0, 1e4)
    others = np.where(mask, 7, labels)
    for found in (
        morphology(bright, labels, [1], mask=mask),
        morphology(missing, labels, [1]),
        morphology(bright, labels, [1], inverse_variance=weights),
        morphology(bright, others, [1]),
    ):
        for name in expected.keys() - {"signal_to_noise"}:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-6, err_msg=name)
    unmasked = morphology(image, labels, [1])
    assert unmasked["concentration"][0] != expected["concentration"][0]


def test_a_single_hot_pixel_is_left_out(lopsided):
    image, labels = lopsided
    hot = image.copy()
    hot[58, 66] += 50
    mask = np.zeros(image.shape, bool)
    mask[58, 66] = True
    for name, values in morphology(hot, labels, [1]).items():
        np.testing.assert_allclose(values, morphology(image, labels, [1], mask=mask)[name], rtol=1e-5, atol=1e-5)


def test_signal_to_noise_is_that_of_the_pixels(lopsided):
    image, labels = lopsided
    weights = np.full(image.shape, 0.004**-2)
    found = morphology(image, labels, [1], inverse_variance=weights)["signal_to_noise"][0]
    noisier = morphology(image, labels, [1], inverse_variance=weights / 4)["signal_to_noise"][0]
    assert 20 < found < 250
    assert noisier == pytest.approx(found / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        (np.full((60, 60), -1.0), np.ones((60, 60), np.int32)),
        (np.zeros((60, 60)), np.ones((60, 60), np.int32)),
        (np.full((60, 60), np.nan), np.ones((60, 60), np.int32)),
        (np.ones((60, 60)), np.zeros((60, 60), np.int32)),
    ],
)
def test_where_there_is_no_flux_nothing_is_measured(image, labels):
    found = morphology(image, labels, [1])
    assert found["flag"][0] == 4
    assert all(np.isnan(values[0]) for name, values in found.items() if name != "flag")


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 60), (60, 60)])
@pytest.mark.parametrize("seed", range(5))
def test_odd_segments_are_measured_or_flagged(shape, seed):
    random = np.random.default_rng(seed)
    image = random.normal(0, 1, shape) + 1e-3
    labels = (random.random(shape) < 0.2).astype(np.int32)
    labels.flat[0], image.flat[0] = 1, 100
    found = morphology(image, labels, [1])
    assert found["flag"][0] in (1, 2, 4)
    assert all(values.dtype == (np.uint8 if name == "flag" else np.float32) for name, values in found.items())


def test_a_constant_image_is_flagged():
    image, labels = np.ones((80, 80)), np.zeros((80, 80), np.int32)
    labels[30:50, 30:50] = 1
    assert morphology(image, labels, [1])["flag"][0] >= 2


def test_sources_too_large_are_not_measured(lopsided):
    assert morphology(*lopsided, [1], largest_stamp=60)["flag"][0] == 4
    assert morphology(*lopsided, [1], largest_stamp=200)["flag"][0] <= 1


def test_inputs_stay_as_they_are_and_may_be_read_only(lopsided):
    image, labels = (array.copy() for array in lopsided)
    for array in (image, labels):
        array.flags.writeable = False
    morphology(image, labels, [1, 2], inverse_variance=np.ones_like(image))
    np.testing.assert_array_equal(image, lopsided[0])


def test_no_sources_are_no_rows(lopsided):
    assert {len(values) for values in morphology(*lopsided, np.array([], int)).values()} == {0}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"labels": np.zeros((5, 5), int)}, r"expected images of one shape \(ny, nx\), found \(5, 5\), \(6, 6\)"),
        ({"mask": np.zeros((6, 5), bool)}, r"found \(6, 5\), \(6, 6\)"),
        ({"labels": np.zeros((6, 6))}, "expected labels and sources .* found float64"),
        ({"sources": [1.5]}, "of integers, found int64 and float64"),
        ({"sources": 3}, r"expected labels and sources \(n,\) of integers"),
    ],
)
def test_wrong_inputs_are_told(change, match):
    arguments = {"image": np.zeros((6, 6)), "labels": np.zeros((6, 6), int), "sources": [1]}
    with pytest.raises(ValueError, match=match):
        morphology(**(arguments | change))
