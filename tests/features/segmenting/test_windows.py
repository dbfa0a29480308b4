"""A network run in windows gives what it gives for the whole image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from skymill.features.segmenting.windows import Windows, run_windows

Images = np.ndarray


def convolutions(seed: int, reach: int) -> Callable[[Images, Images], Images]:
    """A network of `reach` layers of 3 x 3 filters with biases, which looks `reach` px far: two maps of two images."""
    generator = np.random.default_rng(seed)
    layers = [(generator.normal(size=(2, 2, 3, 3)), generator.normal(size=2)) for _ in range(reach)]

    def network(flux: Images, inverse_variance: Images) -> Images:
        maps = np.concatenate([flux[:, :1], inverse_variance[:, :1]], axis=1).astype(np.float64)
        for filters, bias in layers:
            maps = np.stack([np.tanh(sum(_filtered(maps, each)) + one) for each, one in zip(filters, bias)], axis=1)
        return maps.astype(np.float32)

    return network


def _filtered(maps: Images, filters: Images) -> list[Images]:
    return [ndimage.correlate(maps[:, index], each[None], mode="constant") for index, each in enumerate(filters)]


def coarse(flux: Images, inverse_variance: Images) -> Images:
    """A network with a stride of 4: maxima over blocks of 4 x 4, and the means of the blocks around, at full size."""
    n, _, rows, columns = flux.shape
    blocks = (flux * inverse_variance)[:, 0].reshape(n, rows // 4, 4, columns // 4, 4).max(axis=(2, 4))
    means = ndimage.uniform_filter(blocks, size=(1, 3, 3), mode="constant")
    return np.repeat(np.repeat(means, 4, axis=1), 4, axis=2)[:, None]


def images(seed: int, shape: tuple[int, int]) -> tuple[Images, Images]:
    """Noise in two bands, and weights of which some are 0."""
    generator = np.random.default_rng(seed)
    flux = generator.normal(size=(2, *shape)).astype(np.float32)
    return flux, generator.integers(0, 3, size=(2, *shape)).astype(np.float32)


def in_one_piece(network: Callable[[Images, Images], Images], flux: Images, weight: Images, border: int) -> Images:
    """What the network gives for the image, with some pixels without weight around it."""
    padded = [np.pad(image, [(0, 0), (border, border), (border, border)])[None] for image in (flux, weight)]
    [maps] = network(*padded)
    return maps[:, border : border + flux.shape[1], border : border + flux.shape[2]]


@given(
    seed=st.integers(0, 100),
    reach=st.integers(0, 3),
    spare=st.integers(0, 4),
    middle=st.integers(1, 40),
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
)
def test_the_size_of_windows_does_not_matter(
    seed: int, reach: int, spare: int, middle: int, rows: int, columns: int
) -> None:
    """Whatever the image's and the windows' sizes, as long as the halo is no less than the network looks far."""
    network, (flux, weight) = convolutions(seed, reach), images(seed, (rows, columns))
    halo = reach + spare
    found = run_windows(network, flux, weight, Windows(side=2 * halo + middle, halo=halo), 2)
    np.testing.assert_allclose(found, in_one_piece(network, flux, weight, reach), rtol=0, atol=1e-6)


@given(seed=st.integers(0, 100), more=st.integers(0, 6), rows=st.integers(1, 50), columns=st.integers(1, 50))
def test_strides_are_kept_where_corners_are_multiples(seed: int, more: int, rows: int, columns: int) -> None:
    """A network with a stride of 4 that looks 7 px far: blocks begin at multiples of 4 in every window."""
    flux, weight = images(seed, (rows, columns))
    windows = Windows(side=20 + 4 * more, halo=7, multiple=4)
    padded = [np.pad(image, [(0, 0), (8, -rows % 4 + 8), (8, -columns % 4 + 8)])[None] for image in (flux, weight)]
    whole = coarse(*padded)[0, :, 8 : 8 + rows, 8 : 8 + columns]
    np.testing.assert_allclose(run_windows(coarse, flux, weight, windows, 1), whole, rtol=0, atol=1e-6)


def test_a_halo_that_is_too_small_shows() -> None:
    """So the tests above can fail."""
    network, (flux, weight) = convolutions(1, 3), images(1, (30, 30))
    found = run_windows(network, flux, weight, Windows(side=14, halo=1), 2)
    assert np.abs(found - in_one_piece(network, flux, weight, 3)).max() > 0.1
