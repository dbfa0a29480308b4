"""Drafted column maps: what is filled in, what waits for a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.table import Table
from map_tables import LSST, listed_columns

from skymill.config import ConfigError, load_survey
from skymill.survey import TableError, open_survey
from skymill.survey.draft import draft
from skymill.survey.patterns import flux_columns
from skymill.survey.preview import preview


def found(columns: str) -> dict[str, tuple[str | None, ...]]:
    return {flux.column: (*flux.bands, flux.error, flux.inverse_variance) for flux in flux_columns(columns.split())}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("g_psfFlux g_psfFluxErr r_psfFlux r_psfFluxErr", {"{band}_psfFlux": ("g", "r", "{band}_psfFluxErr", None)}),
        ("psfMag_r psfMag_u psfMagErr_u psfMagErr_r", {"psfMag_{band}": ("u", "r", "psfMagErr_{band}", None)}),
        ("FLUX_AUTO_G FLUXERR_AUTO_G FLUX_AUTO_Y FLUXERR_AUTO_Y",
         {"FLUX_AUTO_{BAND}": ("g", "y", "FLUXERR_AUTO_{BAND}", None)}),
        ("flux_g flux_ivar_g flux_z flux_ivar_z", {"flux_{band}": ("g", "z", None, "flux_ivar_{band}")}),
        ("phot_g_mean_flux phot_rp_mean_flux phot_bp_mean_flux_error phot_rp_mean_flux_error phot_bp_mean_flux",
         {"phot_{band}_mean_flux": ("bp", "g", "rp", "phot_{band}_mean_flux_error", None)}),
        ("gMeanPSFMag gMeanPSFMagErr iMeanPSFMag iMeanPSFMagErr",
         {"{band}MeanPSFMag": ("g", "i", "{band}MeanPSFMagErr", None)}),
        ("mag_g_lsst mag_i_lsst mag_err_i_lsst mag_err_g_lsst",
         {"mag_{band}_lsst": ("g", "i", "mag_err_{band}_lsst", None)}),
        ("u g eu eg", {"{band}": ("u", "g", "e{band}", None)}),
        ("umag gmag e_umag e_gmag", {"{band}mag": ("u", "g", "e_{band}mag", None)}),
        ("V I", {"{BAND}": ("v", "i", None, None)}),
        ("g_psfFlux_flag r_psfFlux_flag g_ixx r_ixx magnitude zone rag flux_radius_g flux_radius_r", {}),
        ("g_psfFlux", {}),
    ],
)  # fmt: skip
def test_fluxes_and_their_errors_are_told_from_names(columns: str, expected: dict) -> None:
    assert found(columns) == {column: tuple(rest) for column, rest in expected.items()}


@pytest.mark.parametrize("name", LSST.values())
def test_of_a_rubin_table_the_psf_and_model_fluxes_come_first(name: str, data: Path) -> None:
    [first, second, *_] = flux_columns(listed_columns(data, name))
    assert first.bands == second.bands == tuple("ugrizy")
    assert (first.column, first.error) == ("{band}_psfFlux", "{band}_psfFluxErr")
    assert "cModel" in second.column and second.error is not None


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    made = Table({"objID": 2**60 + np.arange(100), "RA": rng.uniform(0, 360, 100), "Dec": rng.uniform(-90, 90, 100)})
    for band in "gr":
        made[f"flux_{band}"], made[f"flux_ivar_{band}"] = rng.uniform(1, 100, 100), np.ones(100)
        made[f"flux_{band}"].unit = "nJy"
        made[f"mag_{band}"] = 22.5 - 2.5 * np.log10(made[f"flux_{band}"])
        made[f"mag_{band}"].unit = "mag"
    made["RA"].unit = made["Dec"].unit = "deg"
    made["EBV"], made["brick_primary"], made["size"] = 0.1, True, 1.0
    made.write(tmp_path / "t.fits")
    return tmp_path / "t.fits"


def test_units_stand_where_the_table_declares_them_and_nowhere_else(table: Path) -> None:
    content = yaml.safe_load(draft("mine", table))
    assert (content["name"], content["format"], content["path"]) == ("mine", "fits", str(table))
    assert content["id"] == {"column": "objID"} and content["bands"] == ["g", "r"]
    assert content["ra"] == {"column": "RA", "unit": "deg"} and content["dec"] == {"column": "Dec", "unit": "deg"}
    assert content["photometry"] == {
        "flux": {"column": "flux_{band}", "inverse_variance": "flux_ivar_{band}", "unit": "nJy"},
        "mag": {"column": "mag_{band}", "unit": "DECIDE"},
    }
    assert content["primary"] == {"column": "brick_primary", "keep": True}
    assert content["extinction"] == {"column": "EBV", "coefficients": {"g": "DECIDE", "r": "DECIDE"}}
    assert "values" not in content and "size" in draft("mine", table)


def test_nothing_undecided_is_accepted(table: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(draft("mine", table))
    with pytest.raises(ConfigError) as caught:
        load_survey(path)
    assert str(caught.value).splitlines() == [
        f"{path}: {key}: still DECIDE; write what it is"
        for key in ("photometry.mag.unit", "extinction.coefficients.g", "extinction.coefficients.r")
    ]


def test_a_decided_draft_reads_its_table(table: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(draft("mine", table).replace("unit: DECIDE", "unit: mag_ab").replace("DECIDE", "3.0"))
    seen = preview(open_survey(load_survey(path)), 1000)
    assert (seen.summary.n_in, seen.summary.n_sources) == (100, 100)
    assert all("softening" in warning for warning in seen.warnings)  # which were decided by a throw of the dice


@pytest.mark.parametrize("suffix", ["csv", "parquet", "hdf5", "vot"])
def test_a_table_without_units_decides_none(suffix: str, tmp_path: Path) -> None:
    made = Table(
        {"name": ["a", "b"], "coord_ra": [1.0, 2.0], "coord_dec": [1.0, 2.0], "gmag": [1.0, 2.0], "rmag": [1.0, 2.0]}
    )
    kind = {"vot": "votable", "csv": "ascii.csv"}.get(suffix, suffix)
    made.write(tmp_path / f"t.{suffix}", format=kind, **({"path": "d"} if suffix == "hdf5" else {}))
    content = yaml.safe_load(draft("mine", tmp_path / f"t.{suffix}"))
    assert content["ra"] == {"column": "coord_ra", "unit": "DECIDE"} and content["id"] == "DECIDE"
    assert content["photometry"] == {"mag": {"column": "{band}mag", "unit": "DECIDE"}}


def test_a_hats_catalogue_is_known_as_one(data: Path) -> None:
    folder = data / "catalogues/hats_samples/hats/small_sky_o1_collection"
    content = yaml.safe_load(draft("mine", folder))
    assert (content["format"], content["id"], content["ra"]["column"]) == ("hats", {"column": "id"}, "ra")


def test_a_table_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").touch()
    for path in (tmp_path / "t.xlsx", tmp_path):
        with pytest.raises(
            TableError, match=r"expected a HATS catalogue or files named \.parquet, .*convert the table"
        ):
            draft("mine", path)
    with pytest.raises(TableError, match="no such file or folder"):
        draft("mine", tmp_path / "absent")


def test_lists_are_offered_for_nested_columns(data: Path) -> None:
    text = draft("curves", data / "catalogues/hats_samples/hats/small_sky_nested")
    assert "# nested: { NAME: { VALUE: { column: lc.source_id, unit: DECIDE } } }" in text
    assert "# Lists: lc.source_id, lc.source_ra, lc.source_dec, lc.mjd, lc.mag, lc.band" in text
