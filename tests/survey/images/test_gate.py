"""The gate for pixels: what leaves it is float32, native, C-ordered, and has no infinities."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from skymill.survey.images.gate import in_nJy, inverse_variance

DTYPES = st.sampled_from([">f4", "<f4", ">f8", "<f8", ">i2", "<i4", "u1", "?", "f2"])
IMAGES = DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, st.tuples(st.integers(1, 5), st.integers(1, 6))))
FACTORS = st.sampled_from([1.0, 3631.0, 57.544, 1e-12, 1e12])


@given(IMAGES, FACTORS, st.booleans())
def test_pixels_are_scaled_and_have_no_infinities(image: np.ndarray, factor: float, fortran: bool) -> None:
    found = in_nJy(np.asfortranarray(image)[::-1] if fortran else image, factor)
    assert (
        found.dtype == np.dtype("=f4") and found.dtype.isnative and found.flags.c_contiguous and found.flags.writeable
    )
    with np.errstate(all="ignore"):
        expected = ((image[::-1] if fortran else image).astype(float) * factor).astype(np.float32)
    np.testing.assert_array_equal(found, np.where(np.isfinite(expected), expected, np.nan))


@given(IMAGES, FACTORS, st.sampled_from(["variance", "inverse_variance", "weight"]))
def test_weights_are_never_negative_nan_or_infinite(image: np.ndarray, factor: float, role: Any) -> None:
    found = inverse_variance(image, role, factor, image.shape)
    assert found.dtype == np.dtype("=f4") and found.flags.c_contiguous
    assert np.isfinite(found).all() and (found >= 0).all()
    with np.errstate(all="ignore"):
        unusable = ~np.isfinite(image.astype(float)) | ~(image > 0)
    assert not found[unusable].any()


@given(st.floats(1e-10, 1e10), FACTORS)
def test_a_variance_and_its_inverse_say_the_same(value: float, factor: float) -> None:
    image = np.full((2, 2), value)
    one = inverse_variance(image, "variance", factor, image.shape)
    np.testing.assert_allclose(one, inverse_variance(1 / image, "inverse_variance", factor, image.shape), rtol=1e-6)


def test_empty_pixels_of_a_masked_array_have_no_value_and_no_weight() -> None:
    image = np.ma.masked_equal(np.array([[1.0, 2.0]]), 2.0)
    np.testing.assert_array_equal(in_nJy(image, 1.0), [[1, np.nan]])
    np.testing.assert_array_equal(inverse_variance(image, "weight", 1.0, (1, 2)), [[1, 0]])
