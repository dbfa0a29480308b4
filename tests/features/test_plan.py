"""Which features a survey has, and what their digest depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skymill.config import FeatureSettings, RunConfig, SurveyConfig
from skymill.features import make_recipe, names, settings_digest
from skymill.features.registry import GROUPS, features_of, markdown
from skymill.survey.flux import LSST_SOFTENING_nJy
from skymill.survey.reference import reference_band

DOCS = Path(__file__).resolve().parents[2] / "docs" / "features.md"


def survey(**changes: Any) -> SurveyConfig:
    content = {
        "name": "toy", "format": "parquet", "path": "toy.parquet", "bands": ["g", "r"],
        "id": {"column": "id"}, "ra": {"column": "ra", "unit": "deg"}, "dec": {"column": "dec", "unit": "deg"},
        "photometry": {
            "psfFlux": {"column": "{band}_psf", "error": "{band}_psf_err", "unit": "nJy"},
            "cModelFlux": {"column": "{band}_cm", "unit": "nJy"},
        },
    }  # fmt: skip
    return SurveyConfig.model_validate(content | changes)


def run(**features: Any) -> RunConfig:
    return RunConfig.model_validate({"name": "t", "survey": "toy.yaml", "features": features})


SDSS = {"u": 1.4e-10, "g": 0.9e-10, "r": 1.2e-10, "i": 1.8e-10, "z": 7.4e-10}


def test_the_first_photometry_makes_colours_and_the_second_sizes():
    recipe = make_recipe(survey(), FeatureSettings())
    assert (recipe.colour_flux, recipe.size_flux, recipe.has_errors) == ("psfFlux", "cModelFlux", True)
    turned = make_recipe(survey(), FeatureSettings(colour_flux="cModelFlux", size_flux="psfFlux"))
    assert (turned.colour_flux, turned.size_flux, turned.has_errors) == ("cModelFlux", "psfFlux", False)
    assert "g_psfFlux_minus_cModelFlux" in [feature.name for feature in features_of(turned)]


def test_softening_comes_from_the_settings_else_the_survey_else_lsst():
    luptitudes = {"psf": {"column": "{band}", "unit": "mag_asinh", "softening": SDSS}}
    assert make_recipe(survey(), FeatureSettings()).softening_nJy == (LSST_SOFTENING_nJy["g"], LSST_SOFTENING_nJy["r"])
    own = make_recipe(survey(photometry=luptitudes), FeatureSettings()).softening_nJy
    assert own == pytest.approx([326.8, 435.7], abs=0.1)  # b times 3631 Jy
    given = FeatureSettings(softening_nJy={"g": 1.0, "r": 2.0})
    assert make_recipe(survey(photometry=luptitudes), given).softening_nJy == (1.0, 2.0)


def test_lsst_softening_is_the_error_at_the_ten_year_depth():
    depth = {"u": 26.1, "g": 27.4, "r": 27.5, "i": 26.8, "z": 26.1, "y": 24.9}
    expected = {band: 1.042 * 10 ** ((31.4 - limit) / 2.5) / 5 for band, limit in depth.items()}
    assert pytest.approx(expected, rel=0.01) == LSST_SOFTENING_nJy


def test_extinction_is_corrected_where_given_and_wanted():
    extinction = {"column": "ebv", "coefficients": {"g": 3.65, "r": 2.7}}
    assert make_recipe(survey(extinction=extinction), FeatureSettings()).extinction == (3.65, 2.7)
    assert make_recipe(survey(extinction=extinction), FeatureSettings(deredden=False)).extinction is None
    assert make_recipe(survey(), FeatureSettings()).extinction is None


def test_moments_of_source_and_psf_give_shapes():
    moments = {name: {"column": name, "unit": "pix2"} for name in ("shape_xx", "shape_yy", "shape_xy")}
    psf = {name: {"column": name, "unit": "pix2"} for name in ("r_ixxPSF", "r_iyyPSF")}
    recipe = make_recipe(survey(values=moments | psf), FeatureSettings())
    units = {feature.name: feature.unit for feature in features_of(recipe)}
    assert units["log_trace_radius"] == "dex(pix)" and units["log_size_over_psf"] == "dex"
    assert make_recipe(survey(values=psf), FeatureSettings()).radius_unit is None


def test_units_are_ones_astropy_reads():
    from astropy import units

    for feature in features_of(make_recipe(SurveyConfig(**SIMULATED), FeatureSettings())):
        units.Unit(feature.unit)
        assert feature.group in GROUPS


SIMULATED = {"name": "sim", "format": "simulated", "bands": list("ugrizy"), "simulation": {}}


def test_the_simulated_survey_has_every_group_of_features():
    groups = {feature.group for feature in features_of(make_recipe(SurveyConfig(**SIMULATED), FeatureSettings()))}
    assert groups == set(GROUPS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colour_flux": "apFlux"}, r"features\.colour_flux: expected a photometry .*psfFlux, cModelFlux.*'apFlux'"),
        ({"softening_nJy": {"g": 1.0}}, r"features\.softening_nJy: bands r have no positive softening"),
        ({"softening_nJy": {"g": 1.0, "r": 0.0}}, r"bands r have no positive softening"),
    ],
)
def test_settings_that_do_not_fit_the_survey_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        make_recipe(survey(), FeatureSettings(**settings))


def test_unknown_bands_need_a_softening():
    photometry = {"flux": {"column": "{band}", "unit": "nJy"}}
    with pytest.raises(ValueError, match="bands bp, rp have no positive softening"):
        make_recipe(survey(bands=["bp", "rp"], photometry=photometry), FeatureSettings())


def test_the_digest_follows_the_recipe_and_nothing_else():
    first = settings_digest(run(), survey())
    assert len(first) == 12
    assert settings_digest(run(), survey(path="elsewhere.parquet", name="other")) == first
    assert settings_digest(run(colour_flux="psfFlux"), survey()) == first
    assert settings_digest(run(colour_flux="cModelFlux"), survey()) != first
    assert settings_digest(run(softening_nJy={"g": 1, "r": 1}), survey()) != first


def test_names_are_unique_and_in_the_order_of_the_registry():
    found = names(run(), survey())
    assert len(set(found)) == len(found)
    assert found[:3] == ["g_asinh_mag", "r_asinh_mag", "g_minus_r"]


@pytest.mark.parametrize(
    ("bands", "reference"), [("ugrizy", "i"), ("gr", "r"), (("bp", "g", "rp"), "g"), (("w1",), "w1")]
)
def test_the_reference_band(bands: Any, reference: str):
    assert reference_band(tuple(bands)) == reference


def test_the_table_in_the_documentation_is_that_of_the_registry():
    assert markdown() in DOCS.read_text(), (
        "replace the table in docs/features.md by skymill.features.registry.markdown()"
    )
