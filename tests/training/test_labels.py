"""Joining labels to sources."""

from __future__ import annotations

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from skymill.sky import separation_arcsec, unit_vectors
from skymill.training.labels import OUTCOMES, LabelSky, Pairs, carry_to_epoch, pairs_by_id, settle


def by_id(label_ids: list[int], source_ids: list[int]) -> list[tuple[int, int]]:
    labels = np.array(label_ids, np.int64)
    order = np.argsort(labels, kind="stable")
    pairs = pairs_by_id(labels[order], order, np.array(source_ids, np.int64))
    return sorted(zip(pairs.label.tolist(), pairs.row.tolist()))


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)))
def test_pairs_by_id_equal_the_double_loop(labels: list[int], sources: list[int]):
    expected = [(i, j) for i, label in enumerate(labels) for j, source in enumerate(sources) if label == source]
    assert by_id(labels, sources) == sorted(expected)


def test_ids_above_2_to_the_53_are_told_apart():
    big = 2**62
    assert by_id([big, big + 1], [big + 1, big + 2]) == [(1, 0)]


@pytest.mark.parametrize("dec", [-90.0, -60.0, 0.0, 89.9995])
def test_pairs_by_position_equal_brute_force_at_the_poles_and_across_ra_0(dec: float):
    generator = np.random.default_rng(4)
    scale = 20 / 3600

    def cloud(n: int) -> tuple[np.ndarray, np.ndarray]:
        dec_ = np.clip(dec + generator.normal(0, scale, n), -90, 90)
        return generator.normal(0, scale, n) / np.cos(np.radians(dec_)).clip(1e-6) % 360, dec_

    (label_ra, label_dec), (ra, dec_) = cloud(60), cloud(200)
    sky = LabelSky(label_ra, label_dec, 3.0)
    centre = unit_vectors(ra, dec_).mean(axis=0)
    centre /= np.linalg.norm(centre)
    reach = np.arccos(np.clip(unit_vectors(ra, dec_) @ centre, -1, 1)).max()
    pairs = sky.pairs(ra, dec_, sky.near(centre, reach + 1e-8))
    distance = separation_arcsec(label_ra[:, None], label_dec[:, None], ra[None], dec_[None])
    assert set(zip(pairs.label.tolist(), pairs.row.tolist())) == set(zip(*map(list, np.nonzero(distance <= 3.0))))
    assert len(pairs) > 10
    assert pairs.separation == pytest.approx(distance[pairs.label, pairs.row], abs=1e-9)


def settled(
    pairs: list[tuple[int, int, float]], classes: list[int], ambiguity: str
) -> tuple[list[tuple[int, int]], list[str]]:
    """Settle (label, source, separation) triples."""
    label, source, separation = (np.array(column) for column in zip(*pairs)) if pairs else (np.array([], int),) * 3
    table = Pairs(label, np.arange(len(label)), separation.astype(float))
    chosen, outcome = settle(table, source, np.array(classes), ambiguity=ambiguity)
    return sorted((int(label[i]), int(source[i])) for i in chosen), [OUTCOMES[code] for code in outcome]


@pytest.mark.parametrize("ambiguity", ["drop", "nearest"])
def test_plain_matches_and_labels_without_source(ambiguity: str):
    assert settled([(0, 7, 0.2), (2, 5, 0.1)], [0, 1, 1], ambiguity) == (
        [(0, 7), (2, 5)],
        ["matched", "unmatched", "matched"],
    )
    assert settled([], [0, 1], ambiguity) == ([], ["unmatched", "unmatched"])


def test_a_label_with_two_sources_is_dropped_or_goes_to_the_nearest():
    pairs = [(0, 1, 0.5), (0, 2, 0.3)]
    assert settled(pairs, [0], "drop") == ([], ["ambiguous"])
    assert settled(pairs, [0], "nearest") == ([(0, 2)], ["matched"])


@pytest.mark.parametrize("ambiguity", ["drop", "nearest"])
def test_a_source_labelled_twice_keeps_the_nearer_label_of_one_class_and_none_of_two(ambiguity: str):
    pairs = [(0, 1, 0.5), (1, 1, 0.3)]
    assert settled(pairs, [2, 2], ambiguity) == ([(1, 1)], ["duplicate", "matched"])
    assert settled(pairs, [0, 2], ambiguity) == ([], ["conflicting", "conflicting"])


def test_an_ambiguous_label_still_casts_doubt_on_the_other_label_of_its_source():
    pairs = [(0, 1, 0.5), (0, 2, 0.6), (1, 2, 0.1)]
    assert settled(pairs, [0, 1], "drop") == ([], ["ambiguous", "conflicting"])
    assert settled(pairs, [0, 1], "nearest") == ([(0, 1), (1, 2)], ["matched", "matched"])


triples = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.integers(0, 9)), unique_by=lambda t: t[:2])


@given(triples, st.lists(st.integers(0, 1), min_size=8, max_size=8), st.sampled_from(["drop", "nearest"]))
def test_every_label_has_one_outcome_and_no_source_two_labels(pairs, classes, ambiguity):
    chosen, outcomes = settled(pairs, classes, ambiguity)
    labels, sources = [label for label, _ in chosen], [source for _, source in chosen]
    assert len(set(labels)) == len(labels) and len(set(sources)) == len(sources)
    assert sorted(labels) == [label for label, outcome in enumerate(outcomes) if outcome == "matched"]
    with_source = {label for label, _, _ in pairs}
    assert all((outcome == "unmatched") == (label not in with_source) for label, outcome in enumerate(outcomes))
    shuffled = settled(pairs[::-1], classes, ambiguity)
    assert shuffled == (chosen, outcomes)


def test_proper_motion_agrees_with_astropy():
    generator = np.random.default_rng(0)
    n = 200
    ra, dec = generator.uniform(0, 360, n), np.degrees(np.arcsin(generator.uniform(-1, 1, n)))
    pm_ra, pm_dec = generator.normal(0, 3000, (2, n))
    source = SkyCoord(
        ra * u.deg, dec * u.deg, distance=np.full(n, 100.0) * u.pc, radial_velocity=np.zeros(n) * u.km / u.s,
        pm_ra_cosdec=pm_ra * u.mas / u.yr, pm_dec=pm_dec * u.mas / u.yr, obstime=Time(1991.25, format="jyear"),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ERFA tells of velocities it finds large
        expected = source.apply_space_motion(new_obstime=Time(2016.0, format="jyear"))
    found = carry_to_epoch(ra, dec, pm_ra, pm_dec, 24.75)
    assert separation_arcsec(*found, expected.ra.deg, expected.dec.deg).max() < 1e-4
    assert separation_arcsec(*found, ra, dec).min() > 1


def test_barnards_star_moves_from_hipparcos_to_gaia():
    # HIP 87937 in Hipparcos (van Leeuwen 2007, 1991.25) and Gaia DR3 (2016.0). It moves 256 arcsec; of the rest, 0.38
    # arcsec are perspective acceleration, which needs parallax and radial velocity.
    ra, dec = carry_to_epoch(*(np.array([x]) for x in (269.45402305, 4.66828815, -798.58, 10328.12)), 24.75)
    assert separation_arcsec(ra, dec, 269.44850252543836, 4.739420051112412)[0] < 0.5


def test_no_motion_known_is_no_motion_and_time_reverses():
    ra, dec = np.array([10.0, 0.0]), np.array([20.0, 89.9999])
    still = carry_to_epoch(ra, dec, np.full(2, np.nan), np.full(2, np.nan), 30.0)
    assert np.allclose(still, (ra, dec))
    there = carry_to_epoch(ra, dec, np.array([50.0, 80.0]), np.array([-30.0, 20.0]), 20.0)
    assert separation_arcsec(*there, ra, dec) == pytest.approx(np.hypot([50, 80], [30, 20]) * 0.02, rel=1e-6)
