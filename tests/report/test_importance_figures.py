"""Figures of what a model goes by show the numbers they were given."""

from __future__ import annotations

import numpy as np

from skymill.report.importance_figures import SHOWN, draw_attributions, draw_importance


def entry(name: str, value: float) -> dict:
    return {"name": name, "group": "shape", "log_loss": {"value": value, "low": value - 0.1, "high": value + 0.2}}


def test_bars_are_the_costs_from_high_to_low_and_lines_their_intervals():
    features = [entry(f"f{number}", number / 10) for number in range(SHOWN + 3)]
    groups, single = draw_importance({"features": features, "groups": [entry("shape", 3.0)]}).axes
    assert [bar.get_width() for bar in groups.patches] == [3.0]
    names = [f"f{number}" for number in range(SHOWN + 2, 2, -1)]
    assert [text.get_text() for text in single.get_yticklabels()] == names
    assert np.allclose([bar.get_width() for bar in single.patches], [int(name[1:]) / 10 for name in names])
    [intervals] = single.collections
    assert np.allclose(intervals.get_segments()[0][:, 0], [1.3, 1.6])


def test_dots_are_the_effects_of_the_features_that_move_a_class_most():
    rng = np.random.default_rng(0)
    effect = rng.normal(size=(50, 9, 2)) * np.arange(9)[None, :, None]
    effect[:, :, 1] = effect[:, ::-1, 1]
    values = rng.normal(size=(50, 9))
    values[:10] = np.nan
    names = [f"f{number}" for number in range(9)]
    first, second = draw_attributions(effect, values, names, ["A", "B"]).axes
    assert (first.get_title("left"), second.get_title("left")) == ("A", "B")
    shown = [text.get_text() for text in first.get_yticklabels()]
    moved = np.abs(effect[:, :, 0]).mean(axis=0)
    assert shown == [names[place] for place in np.argsort(-moved)[:6]]
    unmeasured, measured = (first.collections[0].get_offsets(), first.collections[1].get_offsets())
    top = names.index(shown[0])
    assert np.allclose(unmeasured[:, 0], effect[:10, top, 0]) and np.allclose(measured[:, 0], effect[10:, top, 0])
    colours = np.asarray(first.collections[1].get_array())
    assert colours.argmax() == values[10:, top].argmax() and (colours.min(), colours.max()) == (0, 1)
    assert np.abs(np.concatenate([unmeasured, measured])[:, 1]).max() <= 0.4
