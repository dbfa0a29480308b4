"""Scales on which quantities are learned."""

from __future__ import annotations

import numpy as np
import pytest

from skymill.models.quantities import MARGIN, find_quantity


@pytest.mark.parametrize(
    ("name", "values"),
    [("mag_i", [14.0, 27.5]), ("half_light_radius", [0.01, 3.0]), ("axis_ratio", [0.0, 0.15, 1.0])],
)
def test_back_from_its_scale_a_value_is_what_it_was(name: str, values: list[float]) -> None:
    what = find_quantity(name)
    np.testing.assert_allclose(what.unscaled(what.scaled(np.array(values))), values, atol=1e-12)


def test_scales_are_what_they_say() -> None:
    assert find_quantity("mag_r").scaled(np.array([20.5])) == [20.5]
    assert find_quantity("sersic_index").scaled(np.array([4.0])) == pytest.approx(np.log(4.0))
    assert find_quantity("bulge_fraction").scaled(np.array([0.5, 1.0])) == pytest.approx(
        [0.0, np.log((1 - MARGIN) / MARGIN)]
    )


def test_impossible_values_are_not_learned() -> None:
    for name, values in (("half_light_radius", [0, -1]), ("axis_ratio", [-0.1, 1.1]), ("mag_i", [np.inf, np.nan])):
        assert np.isnan(find_quantity(name).scaled(np.array(values, dtype=float))).all()


def test_shares_far_out_on_the_scale_end_at_0_and_1() -> None:
    assert find_quantity("axis_ratio").unscaled(np.array([-50.0, 50.0])).tolist() == [0.0, 1.0]


def test_an_unknown_quantity_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"run\.yaml: 'redshift': .*mag_<band>, half_light_radius"):
        find_quantity("redshift", source="run.yaml")
