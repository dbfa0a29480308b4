"""What speaks for a class: sums that must come out, and places that must be found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from skymill.models.cnn_network import Encoder, Head
from skymill.report.explaining.attribution import integrated_gradients, occlusion

NOISE = 2.0


def stamps(n: int = 4, seed: int = 1, brightest: float = 1e4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    flux = random.normal(scale=NOISE, size=(n, 2, 16, 16))
    flux[:, :, 6:10, 6:10] += np.geomspace(5, brightest, n)[:, None, None, None]
    weight = np.full(flux.shape, NOISE**-2)
    weight[0, 1] = 0
    return (flux * (weight > 0)).astype(np.float32), weight.astype(np.float32)


def test_gradients_of_a_line_are_its_slopes_times_the_light() -> None:
    flux, weight = stamps()
    slopes = torch.linspace(-1, 1, flux[0].size).reshape(flux[0].shape)
    found, error = integrated_gradients(lambda light, _: (light * slopes).sum(dim=(1, 2, 3)), flux, weight)
    np.testing.assert_allclose(found, flux * slopes.numpy(), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(error, 0, atol=1e-2)


def test_gradients_of_a_product_share_it_equally() -> None:
    """Of f = a b, from 0: each gets a b / 2, whatever the two are (the axiom of symmetry along a straight path)."""
    flux = np.zeros((1, 2, 1, 1), np.float32)
    flux[0, :, 0, 0] = 3.0, 8.0
    found, _ = integrated_gradients(lambda light, _: light[:, 0, 0, 0] * light[:, 1, 0, 0], flux, np.ones_like(flux))
    np.testing.assert_allclose(found.ravel(), [12, 12], rtol=1e-5)


@pytest.mark.parametrize("brightest", [1e2, 1e5])
def test_gradients_of_a_network_add_up_to_the_change_of_its_score(brightest: float) -> None:
    torch.manual_seed(3)
    encoder = Encoder(torch.full((2,), NOISE), width=8, stages=2, depth=1, vector=8).eval()
    head = Head(8, 3).eval()
    flux, weight = stamps(brightest=brightest)
    found, error = integrated_gradients(lambda light, w: head(encoder(light, w))[:, 1], flux, weight)
    with torch.no_grad():
        score = [head(encoder(torch.from_numpy(light), torch.from_numpy(weight)))[:, 1] for light in (flux, 0 * flux)]
    change = (score[0] - score[1]).double().numpy()
    assert np.abs(change).max() > 1e-3
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), change, atol=0.03 * np.abs(change).max())
    np.testing.assert_allclose(error, found.sum(axis=(1, 2, 3)) - change, atol=1e-6)
    assert not found[0, 1].any()  # a band without weight has no say


def test_what_is_covered_is_lost_where_the_light_is() -> None:
    flux, weight = stamps()
    both = np.stack([flux, weight], axis=1)

    def of_light(some: np.ndarray) -> np.ndarray:
        return some[:, 0, 0].sum(axis=(1, 2)) / flux[:, 0].sum(axis=(1, 2))

    lost = occlusion(of_light, both, patch=5)
    assert lost.shape == (4, 4, 4)
    expected = flux[-1, 0, 5:10, 5:10].sum() / flux[-1, 0].sum()
    assert lost[-1, 1, 1] == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(lost.sum(axis=(1, 2)), 1, rtol=1e-3)
    np.testing.assert_array_equal(both[:, 0], flux)  # nothing is changed in place
