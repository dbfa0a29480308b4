"""The truth that comes with the pixels."""

from __future__ import annotations

import numpy as np
import pytest

from skymill.survey import rendered
from skymill.survey.rendered import stamps
from skymill.survey.rendered.grid import mosaic, tile_window
from skymill.survey.rendered.optics import optics


@pytest.fixture(scope="module")
def table(small):
    return rendered.truth(small, "x0y0")


@pytest.fixture(scope="module")
def masks(small):
    return rendered.truth_masks(small, "x0y0")


def test_sources_lie_where_the_wcs_puts_them(small, tiles, table):
    x, y = tiles["x0y0"].wcs.wcs_world2pix(table["ra"], table["dec"], 0)
    assert np.allclose(x, table["x"], atol=1e-6) and np.allclose(y, table["y"], atol=1e-6)
    assert table["objectId"].dtype == np.int64
    assert np.all((x >= -0.5) & (x < small.tile_px - 0.5))


def test_tiles_agree_on_the_sources_they_share(small, table):
    other = rendered.truth(small, "x1y0")
    shared, here, there = np.intersect1d(table["objectId"], other["objectId"], return_indices=True)
    assert shared.size > 20
    for name in table:
        if name != "x":
            assert np.array_equal(table[name][here], other[name][there], equal_nan=table[name].dtype.kind == "f"), name
    assert np.allclose(table["x"][here] - other["x"][there], small.tile_px - small.overlap_px)


def test_together_the_tiles_tell_of_every_source_on_the_mosaic(small):
    tables = [rendered.truth(small, name) for name in rendered.tile_names(small)]
    whole = small.model_copy(update={"tiles": (1, 1), "tile_px": mosaic(small).nx})
    everything = rendered.truth(whole, "x0y0")
    assert set(np.concatenate([t["objectId"] for t in tables])) == set(everything["objectId"])


def test_all_classes_with_their_redshifts(table):
    assert set(table["class"]) == {"GALAXY", "STAR", "QSO"}
    assert np.all((table["redshift"] == 0) == (table["class"] == "STAR"))
    assert np.all((table["half_light_radius"] == 0) == (table["class"] == "STAR"))
    assert np.all((table["point_fraction"] == 1) == (table["class"] == "STAR"))


def test_mask_is_where_the_source_alone_exceeds_the_noise(small, masks):
    window = tile_window(small, "x0y0")
    checked = 0
    sources = stamps.near(small, window)
    for row, there, (light,) in stamps.lights(small, sources, window, (3,)):
        alone = np.zeros((window.ny, window.nx), dtype=bool)
        alone[there] = light > optics(small).sigma[3]
        mask = masks.masks.get(int(sources.object_id[row]))
        assert (mask is None) == (not alone.any())
        if mask is not None:
            ny, nx = mask.pixels.shape
            assert np.array_equal(alone[mask.y0 : mask.y0 + ny, mask.x0 : mask.x0 + nx], mask.pixels)
            assert mask.pixels.sum() == alone.sum()
            checked += 1
    assert checked > 100


def test_a_larger_share_of_the_noise_gives_smaller_masks(small, masks):
    fewer = rendered.truth_masks(small.model_copy(update={"mask_share": 5.0}), "x0y0")
    assert set(fewer.masks) < set(masks.masks)
    assert all(mask.pixels.sum() <= masks.masks[identity].pixels.sum() for identity, mask in fewer.masks.items())


def test_every_masked_pixel_is_some_sources_own(small, masks):
    covered = np.zeros(masks.instances.shape, dtype=bool)
    for identity, mask in masks.masks.items():
        ny, nx = mask.pixels.shape
        box = np.s_[mask.y0 : mask.y0 + ny, mask.x0 : mask.x0 + nx]
        covered[box] |= mask.pixels
        own = masks.instances[box] == identity
        assert not np.any(own & ~mask.pixels)
    assert np.array_equal(covered, masks.instances > 0)


def test_blends_are_the_masks_that_touch(small):
    """Against every pair of masks, grown by a pixel, on one tile of the whole field."""
    whole = small.model_copy(update={"tiles": (1, 1), "tile_px": mosaic(small).nx})
    table = rendered.truth(whole, "x0y0")
    found = rendered.truth_masks(whole, "x0y0").masks
    blend = dict(zip(table["objectId"].tolist(), table["blend"].tolist()))
    grown = {identity: _pixels(mask, margin=1) for identity, mask in found.items() if identity in blend}
    own = {identity: _pixels(found[identity], margin=0) for identity in grown}
    identities = list(grown)
    for k, one in enumerate(identities):
        for other in identities[:k]:
            if grown[one] & own[other]:
                assert blend[one] == blend[other]
    groups = np.array([blend[identity] for identity in identities])
    assert 0.1 < np.mean(np.isin(groups, [g for g, n in zip(*np.unique(groups, return_counts=True)) if n > 1])) < 0.8
    assert all(blend[identity] <= identity for identity in identities)


def _pixels(mask: rendered.Mask, *, margin: int) -> set[tuple[int, int]]:
    steps = range(-margin, margin + 1)
    y, x = np.nonzero(mask.pixels)
    return {(a + mask.y0 + i, b + mask.x0 + j) for a, b in zip(y.tolist(), x.tolist()) for i in steps for j in steps}


def test_invisible_sources_are_faint_and_stand_alone(table):
    hidden = ~table["visible"]
    assert 0 < hidden.mean() < 0.3
    assert np.all(31.4 - 2.5 * np.log10(table["i_flux"][hidden]) > 25)
    assert np.array_equal(table["blend"][hidden], table["objectId"][hidden])
    assert np.array_equal(np.isnan(table["own_share"]), hidden)


def test_neighbour_is_the_nearest_other_visible_source(small):
    whole = small.model_copy(update={"tiles": (1, 1), "tile_px": mosaic(small).nx})
    table = rendered.truth(whole, "x0y0")
    away = 0.2 * np.hypot(table["x"][:, None] - table["x"], table["y"][:, None] - table["y"])
    away[:, ~table["visible"]] = np.inf
    np.fill_diagonal(away, np.inf)
    inner = np.minimum(table["x"], table["y"]) > 100
    inner &= np.maximum(table["x"], table["y"]) < mosaic(small).nx - 100
    assert np.allclose(away.min(1)[inner], table["neighbour_distance"][inner])


def test_blended_light_is_less_ones_own(table):
    share, distance = table["own_share"], table["neighbour_distance"]
    assert np.nanmax(share) <= 1 + 1e-6
    far, near = table["visible"] & (distance > 4), table["visible"] & (distance < 0.8)
    assert np.median(share[far]) > np.median(share[near]) + 0.1
