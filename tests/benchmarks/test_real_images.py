"""The comparison on real images reads its data sets rightly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from real.dc2 import ANNOTATIONS, Masks, filled
from real.numbers import by_bin
from real.scarlet import field_of, hold_against
from real.tiles import dc2_cutout, scarlet_scenes

from skymill.config.images import MeasureSettings
from skymill.features.measuring import measure


def test_polygons_hold_their_borders():
    mask = filled([[1, 1, 3, 1, 3, 2, 1, 2], [5, 4, 5, 4]], (6, 8))
    assert np.argwhere(mask).tolist() == [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3], [4, 5]]


def test_bins_tell_medians_and_leave_out_what_is_not_known():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, np.nan, 9.0])
    first, second = by_bin(values, np.array([0, 0, 0, 0, 0, 0, 1.0]), (0, 1, 2))
    assert (first["from"], first["n"], first["median"]) == (0.0, 5, 3.0)
    assert second == {"from": 1.0, "n": 1}


def test_the_annotations_of_dc2_lie_on_its_brightest_sources(data: Path):
    true, tile = Masks.read(data / ANNOTATIONS), dc2_cutout(data)
    assert len(true.masks) == 424
    bright = np.flatnonzero(true.magnitude < 23)
    sky = np.median(tile.pixels[3])
    assert all(tile.pixels[3][true.masks[one]].mean() > sky + 5 for one in bright)
    assert np.count_nonzero(true.disjoint()) == np.count_nonzero(np.any(true.masks, axis=0))


def test_stars_of_scarlet_s_scenes_have_their_true_psf_flux_and_place(data: Path):
    for scene in scarlet_scenes(data):
        alone = field_of(scene, [[(star, 0.0, 0.0)] for star in np.flatnonzero(scene.star)])
        found = measure(alone.tile, MeasureSettings())
        compared = hold_against(alone, found)
        assert compared.seen.all()
        bright = alone.flux > 4000
        assert compared.ratio[bright] == pytest.approx(1, abs=0.03)
        apart = np.hypot(found.x[:, None] - alone.places[:, 0], found.y[:, None] - alone.places[:, 1]).min(axis=0)
        assert (apart < 0.15).all()
