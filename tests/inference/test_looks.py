"""Batches of stamps to what a model says of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from skymill.features.source_tile import StampBatch
from skymill.inference.kernel import Answer
from skymill.inference.looks import ahead, batch_stamps, look
from skymill.inference.spill import Spill


def batches(coverage: np.ndarray, size: int = 4, batch: int = 4) -> Iterator[StampBatch]:
    """Stamps whose flux is the number of their source, of sources with such a coverage (n, bands)."""
    n, bands = coverage.shape
    flux = np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None, None], (n, bands, size, size))
    for start in range(0, n, batch):
        part = slice(start, min(start + batch, n))
        masked = np.full((part.stop - start, bands), 0.25, np.float32)
        yield StampBatch(part, flux[part].copy(), np.ones_like(flux[part]), coverage[part], masked)


class Model:
    """Says the number of the source, and keeps the shapes that it was asked with."""

    def __init__(self, *, distance: bool = False) -> None:
        self.distance, self.shapes = distance, []

    def __call__(self, flux: np.ndarray, weight: np.ndarray) -> Answer:
        assert flux.flags.c_contiguous and flux.shape == weight.shape and flux.dtype == np.float32
        self.shapes.append(flux.shape)
        number = flux[:, 0, 0, 0]
        return Answer(np.stack([number, -number], axis=1), number / 2 if self.distance else None)


def test_each_source_gets_its_own_answer_and_its_shares():
    coverage = np.array([[1, 1], [0, 1], [0.5, 0], [1, 1], [0, 0], [1, 0.25]], np.float32)
    model = Model(distance=True)
    looks = look(model, batches(coverage), 6, width=2, n_bands=2)
    np.testing.assert_array_equal(looks.output[:, 0], [0, 1, 2, 3, np.nan, 5])
    np.testing.assert_array_equal(looks.distance, [0, 0.5, 1, 1.5, np.nan, 2.5])
    np.testing.assert_array_equal(looks.coverage_frac, coverage.mean(axis=1).astype(np.float16))
    np.testing.assert_array_equal(looks.bands_missing, [0, 0b01, 0b10, 0, 0b11, 0])
    assert (looks.masked_frac == np.float16(0.25)).all()
    assert model.shapes == [(4, 2, 4, 4), (1, 2, 4, 4)]


def test_blocks_are_filled_up_for_devices_that_compile_a_shape():
    model = Model()
    looks = look(model, batches(np.ones((6, 1), np.float32)), 6, width=2, n_bands=1, pad_to=4)
    np.testing.assert_array_equal(looks.output[:, 0], np.arange(6))
    assert np.isnan(looks.distance).all() and model.shapes == [(4, 1, 4, 4)] * 2


def test_a_model_is_not_called_without_a_usable_stamp():
    model = Model()
    look(model, batches(np.zeros((5, 3), np.float32)), 5, width=2, n_bands=3)
    assert model.shapes == []


def test_the_next_item_is_made_while_one_is_used():
    made = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in range(1, 4):
            made.release()
            yield number

    taken = ahead(items())
    assert next(taken) == 1
    assert made.acquire(timeout=5) and made.acquire(timeout=5)  # the second is there before it is asked for
    assert list(taken) == [2, 3]


def test_an_error_while_an_item_is_made_is_raised_where_it_is_used():
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(ahead(items()))


@pytest.mark.parametrize(
    ("size", "bands", "provider", "expected"),
    [(8, 1, "cpu", 2048), (32, 6, "cpu", 81), (32, 6, "cuda", 1302), (512, 6, "cpu", 1), (512, 6, "tensorrt", 5)],
)
def test_a_batch_stays_below_its_bytes(size, bands, provider, expected):
    assert batch_stamps(n_bands=bands, size_px=size, block_rows=2048, provider=provider) == expected


def test_looks_come_back_from_disk_to_their_rows(tmp_path):
    looks = look(Model(), batches(np.ones((3, 1), np.float32)), 3, width=2, n_bands=1)
    Spill(np.array([4, 0, 2]), looks).write(tmp_path / "spill.npz")
    whole = type(looks).none(5, width=2, n_bands=1)
    Spill.read(tmp_path / "spill.npz").fill(whole)
    np.testing.assert_array_equal(whole.output[:, 0], [1, np.nan, 2, np.nan, 0])
    np.testing.assert_array_equal(whole.bands_missing, [0, 1, 0, 1, 0])
    assert [path.name for path in tmp_path.iterdir()] == ["spill.npz"]
