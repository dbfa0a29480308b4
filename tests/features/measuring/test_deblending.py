"""Blends taken apart by how far their peaks rise."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import label

from skymill.features.measuring.deblending import split_footprints


def hills(*peaks: tuple[float, float, float], shape: tuple[int, int] = (40, 60), sigma: float = 3.0) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return sum(h * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) for cx, cy, h in peaks).astype(np.float32)


def split(
    height: np.ndarray,
    threshold: float = 1.0,
    significance: float = 2.0,
    contrast: float = 0.1,
    resolution_px2: float = 1e6,
):
    parents = label(height > threshold, np.ones((3, 3)), output=np.int32)[0]
    return split_footprints(
        height, parents, significance=significance, contrast=contrast, resolution_px2=resolution_px2
    )


def test_two_hills_are_two_sources_and_share_all_pixels():
    height = hills((20, 20, 50), (30, 20, 30))
    labels, x, y = split(height)
    assert list(zip(x, y)) == [(20, 20), (30, 20)]
    assert np.array_equal(labels > 0, height > 1.0)
    assert labels[20, 20] == 1 and labels[20, 30] == 2


def test_a_hill_that_hardly_rises_belongs_to_its_neighbour():
    height = hills((20, 20, 50), (30, 20, 30))
    labels, x, _ = split(height, significance=40.0)
    assert x.tolist() == [20]
    assert set(np.unique(labels)) == {0, 1}


def test_a_large_footprint_asks_for_more():
    height = hills((20, 20, 50), (30, 20, 44))
    rise = height[20, 30] - height[20, 20:30].min()
    assert len(split(height, significance=rise - 0.5)[1]) == 2
    chances = np.count_nonzero(height > 1) / 10
    least = np.sqrt((rise - 0.5) ** 2 + 2 * np.log(chances))
    assert (len(split(height, significance=rise - 0.5, resolution_px2=10)[1]) == 2) == (least <= rise)
    assert len(split(height, significance=rise - 0.02, resolution_px2=10)[1]) == 1


def test_the_contrast_is_of_the_saddle_s_height():
    height = hills((20, 20, 1000), (29, 20, 900))
    saddle = height[20, 20:30].min()
    rise = (height.max(initial=0, where=np.arange(60) > 25) - saddle) / saddle
    assert len(split(height, contrast=rise * 0.9)[1]) == 2
    assert len(split(height, contrast=rise * 1.1)[1]) == 1


def test_a_plateau_is_one_source():
    height = np.zeros((30, 30), dtype=np.float32)
    height[5:25, 5:25] = 7.0
    labels, x, _ = split(height)
    assert len(x) == 1
    assert np.count_nonzero(labels) == 400


def test_separate_footprints_are_separate_however_low():
    labels, x, _ = split(hills((10, 10, 3), (50, 30, 2)), significance=100.0)
    assert len(x) == 2
    assert labels.max() == 2


def test_nothing_above_the_threshold():
    labels, x, y = split(np.zeros((10, 12), dtype=np.float32))
    assert labels.shape == (10, 12) and not labels.any()
    assert len(x) == len(y) == 0


@given(
    height=arrays.arrays(np.float32, (9, 11), elements=st.integers(0, 5).map(float)),
    significance=st.sampled_from([0.0, 1.0, 2.0]),
)
def test_labels_are_a_partition_whose_peaks_are_their_highest_pixels(height: np.ndarray, significance: float):
    labels, x, y = split(height, significance=significance, contrast=0.0)
    assert np.array_equal(labels > 0, height > 1.0)
    assert sorted(set(labels[labels > 0].tolist())) == list(range(1, len(x) + 1))
    for number, (column, row) in enumerate(zip(x, y), start=1):
        assert labels[row, column] == number
        assert height[row, column] == height[labels == number].max()


@given(height=arrays.arrays(np.float32, (8, 8), elements=st.floats(0, 20, width=32), unique=True))
def test_turned_images_give_turned_labels(height: np.ndarray):
    labels, _, _ = split(height)
    turned, _, _ = split(np.ascontiguousarray(np.rot90(height)))
    back = np.rot90(turned, -1)
    pairs = {(int(one), int(other)) for one, other in zip(labels.ravel(), back.ravel())}
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})


def test_what_is_far_away_does_not_matter():
    field = hills((20, 20, 50), (30, 20, 30), (60, 20, 40), shape=(40, 80))
    whole, _, _ = split(field)
    part, _, _ = split(np.ascontiguousarray(field[:, :50]))
    inner = np.s_[:, :42]
    assert set(np.unique(whole[inner])) == {0, 1, 2}
    assert np.array_equal(whole[inner], part[inner])


def test_a_crowded_field_keeps_each_peak_that_rises_enough():
    peaks = [(x, y, 50.0) for x in range(6, 200, 9) for y in range(6, 200, 9)]
    labels, x, _ = split(hills(*peaks, shape=(206, 206), sigma=2.0))
    assert len(x) == len(peaks) == labels.max()
