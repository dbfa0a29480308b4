"""Rows: canonical order, copies and conflicts."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skymill.survey import SourceBlock, SourceSchema
from skymill.tiling.rows import content_digest, pack, sort_rows
from skymill.tiling.settling import settle_rows

SCHEMA = SourceSchema(bands=("g", "r"), fluxes=("psfFlux",), values={"size": "arcsec"})
NOWHERE = np.empty(0, np.int64)


def block(ids: np.ndarray, positions: np.ndarray, flux: np.ndarray) -> SourceBlock:
    n = len(ids)
    two = np.repeat(np.asarray(flux, np.float32)[:, None], 2, axis=1)
    return SourceBlock(
        object_id=np.asarray(ids, np.int64),
        ra=np.zeros(n),
        dec=np.zeros(n),
        healpix29=np.asarray(positions, np.int64),
        flags=np.zeros(n, np.int32),
        photometry={"psfFlux": two, "psfFluxErr": np.ones_like(two)},
        values=np.zeros((n, 1), np.float32),
    )


def rows_of(ids: list[int], positions: list[int], flux: list[float]) -> np.ndarray:
    return sort_rows(pack(block(np.array(ids), np.array(positions), np.array(flux)), SCHEMA))


@given(
    keys=st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2), st.sampled_from([0.0, -0.0, 1.0, np.nan, -np.nan]))),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_order_and_fate_depend_on_the_set_of_rows_only(keys: list[tuple[int, int, float]], seed: int) -> None:
    shuffled = [keys[i] for i in np.random.default_rng(seed).permutation(len(keys))]
    first, second = (
        rows_of(*(list(c) for c in zip(*some))) if some else rows_of([], [], []) for some in (keys, shuffled)
    )
    assert content_digest(first) == content_digest(second)
    settled = settle_rows(first, NOWHERE)
    fates = np.stack([settled.kept, settled.copies, settled.conflicting])
    assert np.all(fates.sum(axis=0) == 1)
    for number, position, flux in {(i, p, repr(abs(f))) for i, p, f in keys}:
        here = (first["objectId"] == number) & (first["_healpix_29"] == position)
        fluxes = {repr(abs(f)) for i, p, f in keys if (i, p) == (number, position)}
        conflict = any(len({repr(abs(f)) for j, q, f in keys if (j, q) == (number, p)}) > 1 for p in range(3))
        if conflict:
            assert settled.conflicting[here].all()
        else:
            assert fluxes == {flux} and settled.kept[here].sum() == 1 and settled.copies[here].sum() == here.sum() - 1


def test_rows_are_sorted_by_position_then_id() -> None:
    rows = rows_of([5, 2, 2**60 + 1, 2**60], [1, 1, 0, 0], [1, 1, 1, 1])
    assert rows["objectId"].tolist() == [2**60, 2**60 + 1, 2, 5]


def test_an_exact_copy_is_left_out_once() -> None:
    settled = settle_rows(rows_of([7, 7, 7, 8], [3, 3, 3, 3], [1, 1, 1, 1]), NOWHERE)
    assert settled.kept.tolist() == [True, False, False, True]
    assert settled.copies.sum() == 2 and not settled.conflicting.any()


def test_all_rows_of_an_ambiguous_id_conflict_copies_among_them() -> None:
    settled = settle_rows(rows_of([7, 7, 7, 8], [3, 3, 3, 3], [1, 1, 2, 1]), NOWHERE)
    assert settled.conflicting.tolist() == [True, True, True, False]
    assert settle_rows(rows_of([7, 8], [3, 3], [1, 1]), np.array([8])).conflicting.tolist() == [False, True]


def test_every_nan_is_the_same_and_zero_has_no_sign() -> None:
    odd_nan = np.array([0x7FC00001, 0x80000000], np.uint32).view(np.float32)
    assert content_digest(rows_of([1, 2], [1, 2], list(odd_nan))) == content_digest(
        rows_of([1, 2], [1, 2], [float("nan"), 0.0])
    )
