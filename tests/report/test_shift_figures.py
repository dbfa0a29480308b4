"""The figure of survey against training rows shows the numbers it was given."""

from __future__ import annotations

import numpy as np

from skymill.report.shift_figures import SHOWN, draw_shift

TEST = {"auc": 0.71, "low": 0.47, "high": 0.53}


def shift(n: int) -> dict:
    measured = [{"train": 1.0, "survey": 1.0 - number / 100} for number in range(n)]
    features = [{"name": f"f{n - k}", "ks": (n - k) / 20, "measured": one} for k, one in enumerate(measured)]
    bins = [
        {"low": 20, "high": 21, "share": {"value": 0.01, "low": 0.0, "high": 0.03}},
        {"low": 21, "high": 24, "share": {"value": 0.2, "low": None, "high": None}},
    ]
    return {"two_sample": TEST, "features": features, "outside": {"by_magnitude": bins}}


def test_the_figure_holds_auc_and_band_the_worst_features_and_the_share_outside():
    test, worst, outside = draw_shift(shift(SHOWN + 3), axis="r").axes
    [band] = test.patches
    assert np.allclose(band.get_extents().get_points()[:, 0], test.transData.transform([[0.47, 0], [0.53, 0]])[:, 0])
    assert test.lines[-1].get_xdata() == [0.71]
    assert [text.get_text() for text in worst.get_yticklabels()] == [f"f{SHOWN + 3 - k}" for k in range(SHOWN)]
    assert np.allclose([bar.get_width() for bar in worst.patches], [(SHOWN + 3 - k) / 20 for k in range(SHOWN)])
    assert np.allclose(worst.lines[0].get_xdata(), np.arange(SHOWN) / 100)
    assert np.allclose(outside.lines[0].get_xydata(), [[20.5, 1.0], [22.5, 20.0]])
    assert outside.get_xlabel() == "r"


def test_a_survey_of_few_blocks_and_without_magnitudes_is_drawn_too():
    empty = {**shift(2), "two_sample": None, "outside": {"by_magnitude": []}}
    test, *_ = draw_shift(empty, axis="r").axes
    assert test.texts[0].get_text() == "too few blocks of sky"
