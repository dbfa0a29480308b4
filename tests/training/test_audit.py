"""The leakage audit, on made-up tables and on real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from skymill.training.audit import check_splits, close_pairs
from skymill.training.leaks import (
    SUSPICIOUS_NAME,
    LeakageError,
    explained_alone,
    explained_together,
    find_suspects,
    refuse_leaks,
)

SDSS = {"sdss17": "sgq_sdss17/sdss17_subset.parquet", "dr14": "sgq_skyserver_dr14/skyserver_10k.parquet"}


def described(names: list[str], group: str, unit: str = "") -> list[dict[str, Any]]:
    return [{"name": name, "unit": unit, "group": group, "indicator": False} for name in names]


def sdss(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Magnitudes and colours, class, and all columns."""
    table = pq.read_table(folder / "catalogues" / SDSS[name])
    columns = {name: column.to_numpy() for name, column in zip(table.column_names, table.columns)}
    magnitudes = np.stack([columns[band] for band in "ugriz"], axis=1)
    good = (magnitudes > 0).all(axis=1)
    columns = {name: column[good] for name, column in columns.items()}
    features = np.hstack([magnitudes[good], magnitudes[good, :-1] - magnitudes[good, 1:]]).astype("f4")
    return features, np.unique(columns["class"], return_inverse=True)[1], columns


@pytest.mark.parametrize("name", SDSS)
def test_a_redshift_among_the_values_is_caught_on_real_data_under_any_name(data: Path, name: str):
    features, labels, columns = sdss(data, name)
    redshift = columns["redshift"]
    values = {"redshift": redshift, "x1": redshift, "x2": np.log1p(redshift.clip(-0.5)), "x3": redshift.round(2)}
    matrix = np.column_stack([features, *values.values()]).astype("f4")
    suspects, scores = find_suspects(
        matrix, described([f"m{i}" for i in range(9)], "photometric") + described([*values], "value"), labels
    )
    assert {suspect.name: suspect.reason for suspect in suspects} == {
        "redshift": "name", "x1": "score", "x2": "score", "x3": "score",
    }  # fmt: skip
    assert scores["x1"] > scores["measured"] > 0.5


@pytest.mark.parametrize("name", SDSS)
def test_honest_columns_of_real_data_are_not_suspected(data: Path, name: str):
    features, labels, columns = sdss(data, name)
    place = "delta" if name == "sdss17" else "dec"
    values = {"copy_of_u_g": features[:, 5], "copy_of_r_i": features[:, 7], "north": columns[place]}
    matrix = np.column_stack([features, *values.values()]).astype("f4")
    suspects, scores = find_suspects(
        matrix, described([f"m{i}" for i in range(9)], "photometric") + described([*values], "value"), labels
    )
    assert suspects == []
    assert 0.1 < scores["copy_of_r_i"] < 0.6 * scores["measured"]


def toy(n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """One weak measured feature, and the class itself."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, n)
    return np.stack([labels + generator.normal(0, 1.5, n), labels], axis=1).astype("f4"), labels


def test_what_one_feature_explains_lies_between_nothing_and_everything():
    features, labels = toy()
    assert explained_alone(features[:, 1], labels) > 0.99
    assert 0.1 < explained_alone(features[:, 0], labels) < 0.4
    assert abs(explained_alone(np.random.default_rng(1).normal(size=4000).astype("f4"), labels)) < 0.03
    assert abs(explained_alone(np.full(4000, np.nan, "f4"), labels)) < 0.01
    assert abs(explained_alone(features[:, 0], labels) - explained_together(features[:, :1], labels)) < 0.05


def test_a_class_hidden_in_missing_values_is_found():
    _, labels = toy()
    column = np.where(labels == 2, np.nan, np.random.default_rng(1).normal(size=len(labels))).astype("f4")
    assert explained_alone(column, labels) > 0.5


def test_measured_features_are_the_measure_and_never_suspects():
    features, labels = toy()
    suspects, _ = find_suspects(features, described(["a", "b"], "shape"), labels)
    assert suspects == []


def test_without_measured_features_columns_are_compared_with_each_other():
    features, labels = toy()
    suspects, _ = find_suspects(features, described(["weak", "answer"], "value"), labels)
    assert [(suspect.name, suspect.reason) for suspect in suspects] == [("answer", "score")]


@pytest.mark.parametrize(
    "name",
    ["redshift", "Z_SPEC", "specz", "photo_redshift", "class", "subClass", "spec_class", "label", "plate", "fiberid",
     "specobjid", "z_best", "true_z", "is_target", "zwarning"],
)  # fmt: skip
def test_names_of_spectroscopy_and_labels_are_suspicious(name: str):
    assert SUSPICIOUS_NAME.search(name)


@pytest.mark.parametrize(
    "name",
    ["class_star", "z_asinh_mag", "i_minus_z", "ebv", "shape_xx", "parallax", "extendedness", "i_ixxPSF", "z_kronRad"],
)
def test_names_of_measurements_are_not(name: str):
    assert not SUSPICIOUS_NAME.search(name)


def test_velocities_are_suspicious():
    features, labels = toy()
    suspects, _ = find_suspects(
        features[:, [0, 0]], described(["rv"], "value", "km / s") + described(["m"], "shape"), labels
    )
    assert [(suspect.name, suspect.reason) for suspect in suspects] == [("rv", "unit")]


def test_a_leak_is_refused_with_its_score_and_the_mend_unless_vouched_for():
    suspects = [{"name": "zz", "reason": "score", "score": 0.84, "reference": 0.67}]
    with pytest.raises(LeakageError, match=r"(?s)model 'mlp'.*zz \(predicts.*84%.*67%.*allow_features: \[zz\]"):
        refuse_leaks(suspects, ["zz", "g_minus_r"], [], where="model 'mlp'")
    refuse_leaks(suspects, ["zz", "g_minus_r"], ["zz"], where="model 'mlp'")
    refuse_leaks(suspects, ["g_minus_r"], [], where="model 'mlp'")


def test_close_pairs_across_splits_are_counted_across_ra_0():
    ra, dec, split = np.array([359.9999, 0.0001, 10.0, 10.001]), np.zeros(4), np.array([0, 2, 1, 1])
    assert close_pairs(ra, dec, split, 1.0) == 2
    assert close_pairs(ra, dec, split, 0.5) == 0
    with pytest.raises(LeakageError, match=r"2 sources within 1\.0 arcsec"):
        check_splits(np.arange(4), ra, dec, split, guard_arcsec=1.0)


def test_shared_ids_are_refused():
    apart = np.array([0.0, 90.0])
    with pytest.raises(LeakageError, match="found 1 ids twice"):
        check_splits(np.array([7, 7]), apart, np.zeros(2), np.array([0, 2]), guard_arcsec=1.0)
