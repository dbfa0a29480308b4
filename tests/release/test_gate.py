"""Each rule of the gate against numbers made by hand."""

from __future__ import annotations

import pytest

from skymill.config.run import GateSettings
from skymill.release.gate import Facts, judge

OFF = {"flip_rate": None, "moved_share": None, "removed_share": None, "quarantined_share": None}
ACCOUNT = {"n_in": 1000, "n_ok": 930, "n_flagged": 0, "flagged": {}, "quarantined": {"a": 30, "b": 40}, "excluded": {}}
DIFF = {
    "rows": {"matched": 300, "in_shared_tiles": 600, "removed": 20, "before": 920},
    "flips": {"count": 90, "n": 280},
    "numbers": {"mag_i": {"beyond_3": {"count": 9}}, "half_light_radius": {"beyond_3": {"count": 45}}},
    "surprising": [
        {"objectId": 7, "before": "STAR", "probability_before": 0.99, "after": "QSO", "probability_after": 0.98}
    ],
}
METRICS = {
    "overall": {
        "ece": {"value": 0.03, "low": 0.02, "high": 0.04},
        "ece_if_calibrated": {"value": 0.01},
        "completeness_QSO": {"value": 0.7, "low": 0.6, "high": 0.8},
        "completeness_STAR": {"value": None, "low": None, "high": None},
    }
}
SHIFT = {
    "survey": {"n_rows": 1000, "outside": 50},
    "two_sample": {"auc": 0.8},
    "features": [{"name": "g_minus_r", "ks": 0.4}, {"name": "flat", "ks": None}],
    "outside": {
        "by_magnitude": [
            {"low": 20, "high": 21, "share": {"value": 0.2}},
            {"low": 9, "high": 20, "share": {"value": None}},
        ]
    },
}
PARITY = {"rows": 12000, "max_probability_difference": 2e-5, "flip_rate": 0.001}
FACTS = Facts("mlp", ACCOUNT, [("Norder=1/Npix=2", 500), ("Norder=1/Npix=3", 430)], METRICS, SHIFT, DIFF, PARITY)


@pytest.mark.parametrize(
    ("rule", "found", "offender"),
    [
        ("flip_rate", 0.1, "source 7 was STAR (0.990), is QSO (0.980)"),
        ("moved_share", 0.05, "half_light_radius: 45 sources beyond three errors"),
        ("removed_share", 20 / 920, "20 of 920 sources are gone"),
        ("quarantined_share", 0.07, "b: 40 sources"),
        ("rows_per_tile", 500, "Norder=1/Npix=2 has 500 rows"),
        ("ece", 0.03, "0.0300 (95 % interval 0.0200 to 0.0400); were every probability right it would be 0.0100"),
        ("parity", 2e-5, "of 12,000 rows compared, a share of 0.001 changes class"),
        ("outside_share", 0.05, "magnitude 20 to 21: 0.200"),
        ("two_sample_auc", 0.8, "feature g_minus_r: KS 0.400"),
    ],
)
def test_a_limit_is_kept_up_to_its_edge_and_names_the_worst_beyond(rule, found, offender):
    [kept] = judge([FACTS], GateSettings.model_validate({**OFF, rule: found}))
    assert (kept.rule, kept.catalogue, kept.kept, kept.offenders) == (rule, "mlp", True, [])
    assert kept.found == pytest.approx(found)
    below = found - 1 if rule == "rows_per_tile" else 0.999 * found
    [broken] = judge([FACTS], GateSettings.model_validate({**OFF, rule: below}))
    assert not broken.kept and offender in broken.offenders[0]
    assert offender in str(broken) and f"the limit is {below:g}" in str(broken)


def test_completeness_is_held_from_below_and_only_where_it_is_known():
    settings = GateSettings.model_validate({**OFF, "completeness": {"QSO": 0.71, "STAR": 0.9, "GALAXY": 0.9}})
    [broken] = judge([FACTS], settings)
    assert (broken.rule, broken.kept) == ("completeness_QSO", False)
    assert broken.offenders == ["class QSO: 0.7000 (95 % interval 0.6000 to 0.8000)"]
    assert judge([FACTS], settings.model_copy(update={"completeness": {"QSO": 0.7}}))[0].kept


def test_what_is_not_known_is_not_judged():
    every = {"ece": 0.0, "outside_share": 0.0, "two_sample_auc": 0.0, "completeness": {"QSO": 1.0}}
    verdicts = judge([Facts("sources", ACCOUNT)], GateSettings.model_validate(every))
    assert [verdict.rule for verdict in verdicts] == ["quarantined_share"]


def test_a_survey_without_a_source_passes():
    nothing = {"n_in": 0, "quarantined": {}}
    assert all(verdict.kept for verdict in judge([Facts("mlp", nothing)], GateSettings()))
