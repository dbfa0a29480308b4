"""The surveys that come with skymill, on their real tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from skymill.config import SurveyConfig, load_survey
from skymill.survey import SOURCE_FLAGS, Survey, open_survey, read_labels
from skymill.survey.columns import names, source_roles

FOLDER = Path(__file__).resolve().parents[2] / "config" / "surveys"
REAL = {"sdss_dr14": 10_000, "sdss17": 10_000, "gaia_bright": 482_176, "ogle3": 399_679}


def config_of(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> SurveyConfig:
    monkeypatch.setenv("SKYMILL_TEST_DATA", str(data))
    return load_survey(FOLDER / f"{name}.yaml")


def read(survey: Survey) -> dict[str, np.ndarray]:
    blocks = [gated.block for part in survey.parts() for gated in survey.blocks(part)]
    found = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in ("object_id", "ra", "flags")}
    return found | {"values": np.concatenate([block.values for block in blocks])} | {
        name: np.concatenate([block.photometry[name] for block in blocks]) for name in survey.schema.photometry
    }  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_every_row_of_a_real_table_is_a_source_with_an_id_of_its_own(name: str, data: Path, monkeypatch) -> None:
    found = read(open_survey(config_of(name, data, monkeypatch)))
    assert len(np.unique(found["object_id"])) == REAL[name]


def test_sdss17_has_one_row_that_is_not_measured(data: Path, monkeypatch) -> None:
    found = read(open_survey(config_of("sdss17", data, monkeypatch)))
    assert {flag.name for flag in SOURCE_FLAGS if np.any(found["flags"] & flag.mask)} == {"flux_missing"}
    assert np.isnan(found["modelFlux"]).sum(axis=0).tolist() == [1, 1, 0, 0, 1]


@pytest.mark.parametrize("name", ["sdss_dr14", "sdss17"])
def test_sdss_fluxes_give_back_the_magnitudes_of_bright_sources(name: str, data: Path, monkeypatch) -> None:
    config = config_of(name, data, monkeypatch)
    flux = read(open_survey(config))["modelFlux"][:, 2]
    magnitude = pq.read_table(config.path, columns=["r"])["r"].to_numpy()
    bright = magnitude < 20
    assert bright.sum() > 3000
    np.testing.assert_allclose(31.4 - 2.5 * np.log10(flux[bright]), magnitude[bright], atol=1e-3)


@pytest.mark.parametrize("name", ["sdss_dr14", "sdss17"])
def test_sdss_does_not_read_the_redshift(name: str, data: Path, monkeypatch) -> None:
    assert "redshift" not in names(source_roles(config_of(name, data, monkeypatch)))


def test_sdss_labels_match_their_sources_by_id(data: Path, monkeypatch) -> None:
    from skymill.config import LabelSettings

    config = config_of("sdss_dr14", data, monkeypatch)
    settings = LabelSettings(path=config.path, column="class", classes=["STAR", "GALAXY", "QSO"], id=config.id)
    labels = read_labels(settings, config)
    assert {name: int((labels.label == name).sum()) for name in settings.classes} == {
        "STAR": 4152,
        "GALAXY": 4998,
        "QSO": 850,
    }
    np.testing.assert_array_equal(labels.object_id, read(open_survey(config))["object_id"])


def test_ogle_lies_where_its_clouds_and_the_bulge_are(data: Path, monkeypatch) -> None:
    ra = read(open_survey(config_of("ogle3", data, monkeypatch)))["ra"]
    assert 0 < ra.min() < 10 and 270 < ra.max() < 280
