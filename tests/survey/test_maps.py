"""The column maps that come with skymill: they name columns that exist, and give what the columns say."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from map_tables import (
    FOLDER,
    LSST,
    OTHERS,
    VARIABLES,
    listed_columns,
    listed_dtypes,
    load_map,
    map_table,
    write_map_table,
)

from skymill.config import SurveyConfig, load_survey
from skymill.survey import open_survey
from skymill.survey.columns import as_read, names, source_roles
from skymill.survey.flux import softening_nJy

ROWS = 300


@pytest.fixture(autouse=True)
def paths(monkeypatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "unused")


def read(config: SurveyConfig) -> tuple[dict[str, np.ndarray], list[str]]:
    """Sources, and the reasons of the rows that are none."""
    survey = open_survey(config)
    gated = [item for part in survey.parts() for item in survey.blocks(part)]
    blocks = [item.block for item in gated]
    found = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in ("object_id", "ra", "flags")}
    found |= {name: np.concatenate([block.photometry[name] for block in blocks]) for name in survey.schema.photometry}
    values = np.concatenate([block.values for block in blocks])
    found |= {name: values[:, index] for index, name in enumerate(survey.schema.values)}
    return found, [reason for item in gated for reason in item.rejected.reason.tolist()]


def test_every_map_is_right() -> None:
    for path in FOLDER.glob("*.yaml"):
        assert load_survey(path).name == path.stem


@pytest.mark.parametrize("name", LSST)
def test_every_mapped_column_is_in_the_release_with_the_unit_the_map_says(name: str, data: Path) -> None:
    config, listed = load_map(name), listed_columns(data, LSST[name])
    assert set(names(source_roles(config))) <= set(listed)
    assert listed["objectId"]["datatype"] == "long"
    for photometry in config.photometry.values():
        for column in photometry.columns:
            assert {listed[config.in_band(column, band)]["unit"] for band in config.bands} == {photometry.unit}
    for value in config.expanded_values().values():
        assert listed[value.column]["unit"].replace("**", "") == value.unit
    for angle in (config.ra, config.dec):
        assert angle is not None and listed[angle.column]["unit"] == angle.unit


PUBLISHED = {
    "hsc": "object_id ra dec isprimary a_g g_psfflux_flux y_psfflux_fluxerr i_cmodel_flux z_cmodel_fluxerr "
    "i_sdssshape_shape11 i_sdssshape_psf_shape12",
    "des": "COADD_OBJECT_ID RA DEC FLUX_AUTO_G FLUXERR_AUTO_Y WAVG_FLUX_PSF_R WAVG_FLUXERR_PSF_Z EBV_SFD98",
    "legacy_surveys": "release brickid objid brick_primary ra dec flux_g flux_ivar_z fiberflux_i ebv shape_r sersic",
    "gaia": "source_id ra dec phot_g_mean_flux phot_bp_mean_flux_error phot_rp_mean_flux parallax pmra pmdec",
    "sdss": "objID ra dec mode psfMag_u psfMagErr_z cModelMag_r cModelMagErr_g extinction_r",
    "sdss_photoobj": "OBJID RA DEC MODE PSFFLUX[0] PSFFLUX_IVAR[4] CMODELFLUX[2] CMODELFLUX_IVAR[3] EXTINCTION[2]",
}
"""Some columns of each kind, as the releases' own pages spell them."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_maps_of_releases_without_a_list_name_columns_as_published(name: str) -> None:
    assert set(PUBLISHED[name].split()) <= set(names(source_roles(load_map(name))))


def test_only_dp02_has_rows_to_leave_out(data: Path) -> None:
    for name, release in LSST.items():
        assert ("detect_isPrimary" in listed_columns(data, release)) == (load_map(name).primary is not None)


@pytest.mark.parametrize("name", [*LSST, *OTHERS])
def test_a_table_of_the_maps_columns_gives_its_magnitudes_back(name: str, data: Path, tmp_path: Path) -> None:
    config = load_map(name)
    table = map_table(config, ROWS, listed_dtypes(data, name))
    found, reasons = read(write_map_table(config, table, tmp_path))
    assert reasons == (["not_primary"] * (ROWS // 10) if config.primary else [])
    assert len(found["object_id"]) == len(set(found["object_id"])) == ROWS - len(reasons)
    assert not found["flags"].any()
    for key, photometry in config.photometry.items():
        magnitude = 31.4 - 2.5 * np.log10(found[key])
        offset = [photometry.ab_offset.get(band, 0.0) for band in config.bands]
        assert 17.96 < (magnitude - offset).min() < 18.1 and 20.9 < (magnitude - offset).max() < 21.04
        if photometry.has_errors:
            sky = [softening_nJy(photometry)[band] for band in config.bands]  # the error that `map_table` gives
            np.testing.assert_allclose(np.median(found[f"{key}Err"] / sky, axis=0), 1, atol=0.05)


def test_gaia_fluxes_are_its_vega_magnitudes_brought_to_ab() -> None:
    """Zero points of Gaia EDR3 and DR3, AB and Vega (Riello et al. 2021, table 3)."""
    zero_point = load_map("gaia").photometry["meanFlux"].zero_point
    vega = {"g": 25.6874, "bp": 25.3385, "rp": 24.7479}
    assert isinstance(zero_point, dict)
    assert {band: round(zero_point[band] - vega[band], 3) for band in vega} == {"g": 0.114, "bp": 0.015, "rp": 0.356}


def test_hsc_reddening_is_its_absorption_in_g_over_its_coefficient(data: Path, tmp_path: Path) -> None:
    config = load_map("hsc")
    table = map_table(config, 10, {})
    found, _ = read(write_map_table(config, table, tmp_path))
    np.testing.assert_allclose(found["ebv"], table["a_g"][1:] / 3.24, rtol=1e-6)


def test_a_band_that_was_not_observed_has_no_flux_in_the_legacy_surveys(tmp_path: Path) -> None:
    config = load_map("legacy_surveys")
    table = map_table(config, 10, {})
    table["flux_g"][3], table["flux_ivar_g"][3] = 0.0, 0.0
    found, _ = read(write_map_table(config, table, tmp_path))
    assert np.isnan(found["modelFlux"][2, 0]) and np.isnan(found["modelFluxErr"][2, 0])
    assert np.isfinite(found["modelFlux"]).sum() == 9 * 4 - 1
    expected = [3631 / np.sqrt(table[f"flux_ivar_{band}"][1]) for band in "griz"]
    np.testing.assert_allclose(found["modelFluxErr"][0], expected, rtol=1e-6)


class TestSdssPhotoObj:
    """A field of Stripe 82 whose run is not the primary one; bands in vectors, ids as text."""

    @pytest.fixture
    def path(self, data: Path, tmp_path: Path) -> Path:
        packed = data / "images/sdss_stripe82_94_1_12/photoObj-000094-1-0012.fits.gz"
        (tmp_path / "photoObj.fits").write_bytes(gzip.decompress(packed.read_bytes()))
        return tmp_path / "photoObj.fits"

    def test_all_its_rows_are_left_out_as_not_primary(self, path: Path) -> None:
        found, reasons = read(load_map("sdss_photoobj").model_copy(update={"path": str(path)}))
        assert len(found["object_id"]) == 0 and reasons == ["not_primary"] * 999

    def test_fluxes_are_the_magnitudes_of_the_file(self, path: Path) -> None:
        config = load_map("sdss_photoobj")
        assert config.primary is not None
        second = config.primary.model_copy(update={"keep": 2})
        found, reasons = read(config.model_copy(update={"path": str(path), "primary": second}))
        theirs = fits.getdata(path, 1)
        theirs = theirs[theirs["MODE"] == 2]
        assert len(reasons) == 999 - 644
        assert found["object_id"].tolist() == [int(text) for text in theirs["OBJID"]]
        bright = (theirs["PSFMAG"] < 19) & (theirs["PSFMAG"] > 0)
        ours = 31.4 - 2.5 * np.log10(found["psfFlux"], where=found["psfFlux"] > 0, out=np.full((644, 5), np.nan))
        offset = np.array([-0.04, 0, 0, 0, 0.02])
        assert bright.sum() > 100
        np.testing.assert_allclose((ours - offset)[bright], theirs["PSFMAG"][bright], atol=2e-3)
        with np.errstate(invalid="ignore", divide="ignore"):
            error = 1.0857 * found["psfFluxErr"] / found["psfFlux"]
        np.testing.assert_allclose(error[bright], theirs["PSFMAGERR"][bright], rtol=0.02)
        np.testing.assert_allclose(found["ebv"] * 5.155, theirs["EXTINCTION"][:, 0], rtol=1e-3)


def test_the_deeper_coadd_of_stripe_82_is_read_with_the_names_of_casjobs(data: Path) -> None:
    """Its columns are those of PhotoObjAll in small letters, without errors and mode."""
    content = load_map("sdss").model_dump(exclude={"primary", "extinction"})
    content["photometry"] = {"psfFlux": content["photometry"]["psfFlux"] | {"column": "psfmag_{band}", "error": None}}
    path = data / "images/sdss_stripe82_94_1_12/coadd_field_catalog_runjing_liu.fit"
    config = load_survey(content | {"id": {"column": "objid"}, "format": "fits", "path": str(path)})
    assert as_read(source_roles(config))["objid"] == "integer id"
    found, reasons = read(config)
    assert len(found["object_id"]) == len(set(found["object_id"])) == 901 and not reasons
    assert 20 < 31.4 - 2.5 * np.log10(np.median(found["psfFlux"][:, 2])) < 24
