"""Counts per pixel lose no source, whatever the order they come out in."""

from __future__ import annotations

import numpy as np
import pytest

from skymill.report import sky_counts
from skymill.report.sky_counts import COARSEST_ORDER, count_classes
from skymill.sky import at_order
from skymill.store import open_catalogue


@pytest.fixture(scope="module")
def catalogue(made):
    return open_catalogue(made.output / "catalogues" / "mlp")


@pytest.fixture(scope="module")
def rows(catalogue):
    return catalogue.to_xarray(["_healpix_29", "flags", "class", "entropy"]).compute()


@pytest.mark.parametrize(("fewest", "most"), [(1, 20_000), (50, 20_000), (1, 40), (10**9, 20_000)])
def test_counts_equal_those_over_the_whole_catalogue(catalogue, rows, monkeypatch, fewest, most):
    monkeypatch.setattr(sky_counts, "FEWEST_PER_PIXEL", fewest)
    monkeypatch.setattr(sky_counts, "MOST_PIXELS", most)
    sky = count_classes(catalogue, 3)
    pixel, kind = at_order(rows["_healpix_29"].to_numpy(), sky.order), rows["class"].to_numpy()
    assert sky.pixels.tolist() == np.unique(pixel).tolist()
    for number, counts, entropy, flagged in zip(sky.pixels, sky.counts, sky.entropy, sky.flagged, strict=True):
        inside = pixel == number
        assert counts.tolist() == [np.count_nonzero(inside & (kind == one)) for one in (-1, 0, 1, 2)]
        assert flagged == np.count_nonzero(rows["flags"].to_numpy()[inside])
        assert entropy == pytest.approx(np.nansum(rows["entropy"].to_numpy()[inside]), rel=1e-5)
    assert len(sky.pixels) <= most
    assert sky.order == COARSEST_ORDER or sky.counts.sum() >= fewest * len(sky.pixels)


def test_pixels_are_as_fine_as_the_sources_allow(catalogue):
    sky = count_classes(catalogue, 3)
    assert COARSEST_ORDER < sky.order < sky_counts.FINEST_ORDER
    finer = np.unique(at_order(catalogue.to_xarray(["_healpix_29"])["_healpix_29"].to_numpy(), sky.order + 1))
    assert sky.counts.sum() < sky_counts.FEWEST_PER_PIXEL * len(finer)


def test_a_pixel_without_a_scored_source_has_no_share():
    sky = sky_counts.SkyCounts(
        3, np.arange(2), np.array([[2, 0, 0], [0, 1, 3]]), np.array([0.0, 2.0]), np.array([1, 1])
    )
    assert np.isnan(sky.share[0]).all()
    assert sky.share[1].tolist() == [0.25, 0.75]
    assert sky.mean_entropy[1] == 0.5
    assert sky.flagged_share.tolist() == [0.5, 0.25]
    assert sky.density.tolist() == pytest.approx([2 / 53.7148, 4 / 53.7148], rel=1e-4)
