"""Sources made of classes, centres and offsets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skymill.features.segmenting.instances import Maps, find_centres, instances

SKY, STAR, GALAXY, ARTEFACT = range(4)
LETTERS = {".": SKY, "s": STAR, "g": GALAXY, "x": ARTEFACT}


def maps_of(picture: list[str], centres: dict[tuple[int, int], float]) -> Maps:
    """Maps of a picture of classes, each pixel sure of its own, with zero offsets."""
    of_pixel = np.array([[LETTERS[letter] for letter in row] for row in picture])
    classes = np.stack([of_pixel == each for each in range(4)]).astype(np.float32)
    centre = np.zeros(of_pixel.shape, np.float32)
    for place, value in centres.items():
        centre[place] = value
    return Maps(classes, centre, np.zeros((2, *of_pixel.shape), np.float32))


def sources(maps: Maps, **changes: float):
    options = {"fwhm_px": 2.0, "min_centre": 0.1, "reach_px": 16.0, "min_area_px": 1, **changes}
    return instances(maps, **options)


PICTURE = [
    "..........",
    ".sss..gggg",
    ".sssggggg.",
    ".sss......",
    "........g.",
    "..xx......",
]


def test_a_case_worked_out_by_hand():
    """A star and a galaxy that touch share a parent; offsets decide their border; a pixel without a centre is sky."""
    maps = maps_of(PICTURE, {(2, 2): 0.9, (1, 7): 0.5})
    maps.offset[:, 2, 4] = 0.0, -2.0  # leads to the star, (2, 2), though it is a galaxy's by class
    found = sources(maps)
    assert found.labels.tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 2, 2, 2, 0, 0, 1, 1, 1, 1],
        [0, 2, 2, 2, 2, 1, 1, 1, 1, 0],
        [0, 2, 2, 2, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert np.array_equal(found.parents, np.minimum(found.labels, 1))
    assert (found.peak_y.tolist(), found.peak_x.tolist()) == ([1, 2], [7, 2])
    assert found.n_blended.tolist() == [2, 2]
    classes = maps.classes.argmax(axis=0)
    classes[4, 8] = SKY
    assert np.array_equal(found.classes, classes)


def test_a_source_is_a_blend_with_the_probability_of_its_pixels_mean_log_odds():
    """Worked out by hand; without a map of them nothing is said."""
    maps = maps_of(["..ss..gg"], {(0, 2): 0.9, (0, 6): 0.5})
    assert sources(maps).blend_probability is None
    log_odds = np.array([[9, 9, 1, 3, 9, 9, -1, -2]], np.float32)
    found = sources(replace(maps, blend=log_odds))
    assert np.allclose(found.blend_probability, [1 / (1 + np.exp(-2)), 1 / (1 + np.exp(1.5))])
    empty = sources(replace(maps, classes=maps.classes[[1, 0, 3, 2]], blend=log_odds, centre=np.zeros((1, 8), "f4")))
    assert empty.n == 0 and empty.blend_probability.shape == (0,)


def test_a_pixel_does_not_reach_a_centre_of_another_footprint():
    """Nearer in space, yet across the sky: the pixel goes to the centre of its own footprint."""
    maps = maps_of(["sss.sssssss"], {(0, 1): 0.9, (0, 10): 0.9})
    maps.offset[1, 0, 4] = -3.0
    found = sources(maps)
    assert found.labels.tolist() == [[1, 1, 1, 0, 2, 2, 2, 2, 2, 2, 2]]
    assert found.parents.tolist() == found.labels.tolist()
    near = sources(maps, reach_px=4.5)
    assert near.labels.tolist() == [[1, 1, 1, 0, 0, 0, 2, 2, 2, 2, 2]]


def test_a_centre_owns_its_pixel_wherever_that_leads():
    maps = maps_of(["ssssss"], {(0, 1): 0.9, (0, 4): 0.8})
    maps.offset[1, 0, 4] = -3.0
    assert sources(maps).labels.tolist() == [[1, 1, 1, 2, 2, 2]]


def test_small_sources_become_sky_all_at_once():
    """The pixels of a small source are nobody's, not its neighbour's, which is small too."""
    picture = ["ssgg.sssss"]
    found = sources(maps_of(picture, {(0, 0): 0.9, (0, 3): 0.8, (0, 7): 0.5}), min_area_px=3)
    assert found.labels.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]]
    assert found.parents.tolist() == found.labels.tolist()
    assert found.classes.tolist() == [[SKY] * 5 + [STAR] * 5]


@pytest.mark.parametrize("letter", [".", "x"])
def test_only_pixels_of_stars_and_galaxies_are_centres(letter: str):
    found = sources(maps_of([f"ss{letter}ss"], {(0, 2): 0.9}))
    assert found.n == 0
    assert not found.labels.any() and not found.parents.any()


def test_probabilities_add_up_before_they_are_compared():
    """Star 0.3 and galaxy 0.25 outweigh sky 0.45, and the source is a star."""
    classes = np.array([0.45, 0.3, 0.25, 0.0], np.float32)[:, None, None] * np.ones((1, 1, 3), np.float32)
    found = sources(Maps(classes, np.array([[0, 1, 0]], np.float32), np.zeros((2, 1, 3), np.float32)))
    assert found.labels.tolist() == [[1, 1, 1]]
    assert found.classes.tolist() == [[STAR] * 3]


def test_centres_are_the_highest_around_and_touching_ones_count_once():
    height = np.zeros((9, 12), np.float32)
    height[1:4, 1:4] = 1.0  # a plateau
    height[6, 1], height[6, 3], height[6, 6] = 0.5, 0.4, 0.4
    height[8, 11] = 0.05
    rows, columns = find_centres(height, 2, 0.1)
    assert list(zip(rows, columns)) == [(2, 2), (6, 1), (6, 6)]
    rows, columns = find_centres(height, 1, 0.1)
    assert list(zip(rows, columns)) == [(2, 2), (6, 1), (6, 3), (6, 6)]


def test_an_empty_tile_has_no_sources():
    found = sources(maps_of(["...", "..."], {}))
    assert (found.n, found.labels.max(), found.parents.max()) == (0, 0, 0)
