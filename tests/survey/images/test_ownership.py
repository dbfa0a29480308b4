"""Each position on overlapping image tiles belongs to one of them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from skymill.survey.images.ownership import Outline, owned


def outline(name: str, ra: float, dec: float, *, nx: int = 100, ny: int = 80, angle: float = 0.0) -> Outline:
    """A tile of 1-arcmin pixels whose middle is at (ra, dec), turned by an angle (degrees)."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(nx + 1) / 2, (ny + 1) / 2]
    turn = np.radians(angle)
    wcs.wcs.cd = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / 60
    return Outline(name, wcs.to_header(relax=True).tostring(), (ny, nx))


def patches(overlap: int) -> list[Outline]:
    """Two by two windows of one pixel grid, 100 pixels wide, that share `overlap` pixels."""
    step, tiles = 100 - overlap, []
    for row in range(2):
        for column in range(2):
            wcs = WCS(naxis=2)
            wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
            wcs.wcs.crval = [10.0, 0.0]
            wcs.wcs.crpix = [100 - column * step, 100 - row * step]
            wcs.wcs.cdelt = [-1 / 60, 1 / 60]
            tiles.append(Outline(f"tile={row}{column}", wcs.to_header().tostring(), (100, 100)))
    return tiles


@settings(max_examples=25, deadline=None)
@given(
    frames=st.lists(st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.floats(0, 360)), min_size=2, max_size=5),
    pole=st.sampled_from([0.0, 60.0, 88.5, -89.5]),
    seed=st.integers(0, 1000),
)
def test_frames_that_lie_anyhow_share_the_sky(frames, pole, seed):
    """Every position that is on a tile belongs to exactly one, whatever the frames, at the poles too."""
    tiles = [
        outline(f"tile={n}", (359.5 + x) % 360, float(np.clip(pole + y, -90, 90)), angle=turn)
        for n, (x, y, turn) in enumerate(frames)
    ]
    rng = np.random.default_rng(seed)
    ny, nx = tiles[0].shape
    ra, dec = (
        np.concatenate(parts)
        for parts in zip(
            *(tile.wcs.all_pix2world(rng.uniform(0, nx - 1, 30), rng.uniform(0, ny - 1, 30), 0) for tile in tiles)
        )
    )
    ra %= 360
    owners = np.zeros(len(ra), int)
    held = np.zeros(len(ra), bool)
    for tile in tiles:
        inside = tile.holds(ra, dec)
        held |= inside
        others = [other for other in tiles if other is not tile and tile.overlaps(other)]
        owners[inside] += owned(ra[inside], dec[inside], tile, others)
    assert held.all()
    assert np.array_equal(owners, np.ones(len(ra), int))


def test_patches_own_their_inner_regions():
    """Of windows of one grid, the border lies in the middle of the overlap, to the pixel."""
    tiles = patches(overlap=20)
    x, y = np.meshgrid(np.arange(100.0), np.arange(100.0))
    ra, dec = tiles[0].wcs.all_pix2world(x.ravel(), y.ravel(), 0)
    mine = owned(ra % 360, dec, tiles[0], tiles[1:]).reshape(100, 100)
    assert mine[:90, :90].all()
    assert not mine[91:].any() and not mine[:, 91:].any()


def test_a_tile_alone_owns_all():
    tile = outline("tile=a", 10, 20)
    ra, dec = tile.wcs.all_pix2world([0.0, 99.0], [0.0, 79.0], 0)
    assert owned(ra, dec, tile, []).all()


def test_tiles_far_apart_do_not_overlap():
    assert not outline("a", 10, 0).overlaps(outline("b", 14, 0))
    assert outline("a", 10, 0).overlaps(outline("b", 11, 0))


@pytest.mark.parametrize(
    ("x", "y", "inside"), [(-0.4, 0, True), (-0.6, 0, False), (99.4, 79.4, True), (99.6, 0, False)]
)
def test_the_edge_is_that_of_the_pixels(x, y, inside):
    tile = outline("a", 0, 0)
    ra, dec = tile.wcs.all_pix2world([x], [y], 0)
    assert tile.holds(ra % 360, dec)[0] == inside
