"""Sky splits and their guard band."""

from __future__ import annotations

import numpy as np
import pytest

from skymill.sky import at_order, order29, separation_arcsec, unit_vectors
from skymill.training.split import GUARD, SPLITS, split_of_blocks, split_of_positions

FIRST_BLOCKS = "020021010001010000200000020210"


def sky(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.uniform(0, 360, n), np.degrees(np.arcsin(generator.uniform(-1, 1, n)))


def disc(ra: float, dec: float, radius_arcsec: float) -> tuple[np.ndarray, np.ndarray]:
    """Many points of a disc, its edge included."""
    centre = unit_vectors(ra, dec)
    east = np.cross([0.0, 0.0, 1.0], centre) if abs(dec) < 89.99 else np.array([1.0, 0.0, 0.0])
    east /= np.linalg.norm(east)
    north = np.cross(centre, east)
    angle, share = np.meshgrid(np.linspace(0, 2 * np.pi, 361), np.linspace(0.05, 1, 20))
    radius = np.radians(radius_arcsec / 3600) * share.ravel()
    side = np.cos(angle.ravel())[:, None] * east + np.sin(angle.ravel())[:, None] * north
    points = np.cos(radius)[:, None] * centre + np.sin(radius)[:, None] * side
    return np.degrees(np.arctan2(points[:, 1], points[:, 0])) % 360, np.degrees(np.arcsin(points[:, 2].clip(-1, 1)))


SETTINGS = {"seed": 5, "validation": 0.2, "test": 0.2}


def foreign_within(ra: float, dec: float, radius_arcsec: float, order: int) -> bool:
    """Whether a disc touches a block of another split than its centre's: the slow and plain way."""
    points = np.append([ra], disc(ra, dec, radius_arcsec)[0]), np.append([dec], disc(ra, dec, radius_arcsec)[1])
    splits = split_of_blocks(at_order(order29(*points), order), **SETTINGS)
    return bool((splits != splits[0]).any())


@pytest.mark.parametrize(("order", "guard"), [(1, 30_000.0), (3, 3600.0), (4, 60.0), (8, 100.0)])
def test_the_guard_band_equals_brute_force(order: int, guard: float):
    ra, dec = sky(3_000, seed=order)
    ra = np.concatenate([ra, np.linspace(0, 360, 60), np.full(60, 359.999), np.full(60, 0.001)])
    dec = np.concatenate([dec, np.full(60, 89.9), np.linspace(-90, 90, 120)])
    splits = split_of_positions(ra, dec, order=order, guard_arcsec=guard, **SETTINGS)
    generator = np.random.default_rng(1)
    chosen = np.concatenate(
        [
            generator.choice(np.flatnonzero(splits == GUARD), min(150, int((splits == GUARD).sum())), replace=False),
            generator.choice(np.flatnonzero(splits != GUARD), 150, replace=False),
            np.arange(3_000, len(ra)),
        ]
    )
    for i in chosen:
        if splits[i] == GUARD:
            assert foreign_within(ra[i], dec[i], guard * 1.05, order)
        else:
            assert not foreign_within(ra[i], dec[i], guard, order)


def test_sources_beside_an_edge_are_guarded_up_to_the_declared_distance():
    # North of 42 degrees the meridian RA 0 is an edge between blocks of every order.
    order, guard = 5, 30.0
    dec = np.repeat(np.linspace(44, 80, 400), 2)
    for offset, guarded in ((29.0, True), (31.5, False)):
        ra = np.tile([offset / 3600, -offset / 3600], 400) / np.cos(np.radians(dec)) % 360
        across = split_of_blocks(at_order(order29(-ra % 360, dec), order), **SETTINGS)
        own = split_of_blocks(at_order(order29(ra, dec), order), **SETTINGS)
        splits = split_of_positions(ra, dec, order=order, guard_arcsec=guard, **SETTINGS)
        differs = across != own
        assert differs.sum() > 50
        if guarded:
            assert (splits[differs] == GUARD).all()
        else:
            assert (splits[differs] == GUARD).mean() < 0.2  # only what lies near a corner of yet another block


def test_no_pair_of_sources_of_two_splits_is_closer_than_the_guard():
    generator = np.random.default_rng(7)
    ra, dec = generator.uniform(358, 362, 60_000) % 360, generator.uniform(-2, 2, 60_000)
    splits = split_of_positions(ra, dec, order=7, guard_arcsec=60.0, **SETTINGS)
    from scipy.spatial import cKDTree

    kept = np.flatnonzero(splits != GUARD)
    tree = cKDTree(unit_vectors(ra[kept], dec[kept]))
    pairs = kept[tree.query_pairs(np.radians(60.0 / 3600), output_type="ndarray")]
    close = pairs[separation_arcsec(*(ra[pairs[:, 0]], dec[pairs[:, 0]]), ra[pairs[:, 1]], dec[pairs[:, 1]]) < 60]
    assert len(close) > 1000
    assert (splits[close[:, 0]] == splits[close[:, 1]]).all()


def test_fractions_of_the_sky_are_honoured_to_noise():
    pixels = np.arange(12 * 4**6)
    splits = split_of_blocks(pixels, seed=11, validation=0.15, test=0.25)
    shares = np.bincount(splits, minlength=3) / len(pixels)
    assert shares == pytest.approx([0.6, 0.15, 0.25], abs=4 * 0.5 / np.sqrt(len(pixels)))


def test_neighbouring_blocks_are_assigned_independently():
    splits = split_of_blocks(np.arange(12 * 4**7), seed=0, validation=0.2, test=0.2)
    same = np.mean(splits[1:] == splits[:-1])
    assert same == pytest.approx(0.6**2 + 0.2**2 + 0.2**2, abs=0.005)


def test_the_split_is_a_pure_function_of_position_and_seed():
    ra, dec = sky(20_000)
    settings = {"order": 5, "guard_arcsec": 200.0, "validation": 0.2, "test": 0.2}
    splits = split_of_positions(ra, dec, seed=3, **settings)
    order = np.random.default_rng(0).permutation(len(ra))
    assert np.array_equal(split_of_positions(ra[order], dec[order], seed=3, **settings), splits[order])
    part = slice(500, 900)
    assert np.array_equal(split_of_positions(ra[part], dec[part], seed=3, **settings), splits[part])
    assert not np.array_equal(split_of_positions(ra, dec, seed=4, **settings), splits)


def test_the_assignment_never_changes_between_versions():
    # A catalogue's test sky must stay locked; these numbers are written down once.
    assert "".join(map(str, split_of_blocks(np.arange(30), seed=0, validation=0.2, test=0.2))) == FIRST_BLOCKS


def test_without_guard_every_source_has_the_split_of_its_block():
    ra, dec = sky(5_000)
    splits = split_of_positions(ra, dec, order=6, guard_arcsec=0.0, **SETTINGS)
    assert np.array_equal(splits, split_of_blocks(at_order(order29(ra, dec), 6), **SETTINGS))
    assert set(splits) == set(range(len(SPLITS)))


def test_a_guard_wider_than_a_block_is_refused():
    with pytest.raises(
        ValueError, match=r"split\.guard_arcsec: expected less than a block of order 12.*lower split\.order"
    ):
        split_of_positions(*sky(10), order=12, guard_arcsec=60.0, **SETTINGS)
