"""Simulated volunteers: who is asked, that they say what is seen, and that they always say the same."""

from __future__ import annotations

import numpy as np
import pytest

from skymill.config.images import RenderSettings
from skymill.survey.images.rendered_layout import VOTES, rendered_labels
from skymill.survey.rendered import tile_names, truth
from skymill.survey.rendered.volunteers import ASKED, CONCENTRATION, VOLUNTEERS, ask, chances

FIELD = RenderSettings(seed=5, tiles=[1, 1])


@pytest.fixture(scope="module")
def table() -> dict[str, np.ndarray]:
    return truth(FIELD, tile_names(FIELD)[0])


def test_brighter_galaxies_of_known_shape_are_asked_about_and_nothing_else(table: dict[str, np.ndarray]) -> None:
    votes = ask(table, 5)
    asked = votes[:, :2].sum(axis=1) > 0
    bright = 31.4 - 2.5 * np.log10(table["i_flux"]) < ASKED
    np.testing.assert_array_equal(asked, (table["class"] == "GALAXY") & bright & ~table["real_shape"])
    np.testing.assert_array_equal(votes[:, 2:].sum(axis=1), votes[:, 1])  # who sees features is asked on


def test_the_answers_of_a_galaxy_depend_on_itself_alone(table: dict[str, np.ndarray]) -> None:
    some = np.arange(0, len(table["ra"]), 3)[::-1]
    few = {name: values[some] for name, values in table.items()}
    np.testing.assert_array_equal(ask(few, 5), ask(table, 5)[some])
    assert not np.array_equal(ask(few, 6), ask(few, 5))


def test_they_answer_as_often_as_the_chances_say_and_scatter_more_than_by_chance() -> None:
    n = 4000
    same = {
        "objectId": np.arange(n), "class": np.full(n, "GALAXY"), "i_flux": np.full(n, 10 ** (0.4 * (31.4 - 20))),
        "bulge_fraction": np.full(n, 0.4), "half_light_radius": np.full(n, 1.2), "axis_ratio": np.full(n, 0.35),
    }  # fmt: skip
    votes, (featured, edge_on) = ask(same, 1), chances(same)
    told = votes[:, 1] / votes[:, :2].sum(axis=1)
    spread = np.sqrt(featured[0] * (1 - featured[0]) / (CONCENTRATION + 1))
    assert told.mean() == pytest.approx(featured[0], abs=4 * spread / np.sqrt(n))
    assert votes[:, :2].sum(axis=1).mean() == pytest.approx(VOLUNTEERS, abs=0.5)
    assert edge_on[0] == pytest.approx(0.5)
    assert votes[:, 2].sum() / votes[:, 1].sum() == pytest.approx(0.5, abs=0.02)
    by_chance = np.sqrt(featured[0] * (1 - featured[0]) / VOLUNTEERS)
    assert told.std() == pytest.approx(np.hypot(spread, by_chance), rel=0.05)


def test_features_show_in_large_discs_and_thin_ones_are_edge_on() -> None:
    table = {
        "bulge_fraction": np.array([0.0, 1.0, 0.0, 0.0]), "half_light_radius": np.array([2.0, 2.0, 0.1, 2.0]),
        "axis_ratio": np.array([0.9, 0.9, 0.9, 0.15]),
    }  # fmt: skip
    featured, edge_on = chances(table)
    assert featured[0] > 0.7 > 0.3 > featured[2] > featured[1]
    assert edge_on[3] > 0.9 and edge_on[0] < 0.1


def test_the_label_table_has_their_votes() -> None:
    [block] = rendered_labels(FIELD)
    votes = np.stack([block[name] for name in VOTES], axis=1)
    assert votes.sum() > 0
    np.testing.assert_array_equal(votes[:, 2:].sum(axis=1), votes[:, 1])
