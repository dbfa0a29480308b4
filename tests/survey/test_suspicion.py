"""Suspicious values are named, and sound surveys are left in peace."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from map_tables import FOLDER, LSST, OTHERS, VARIABLES, listed_dtypes, load_map, map_table, write_map_table

from skymill.config import SurveyConfig, load_survey
from skymill.store import canonical_json
from skymill.survey import open_survey
from skymill.survey.gate import gate
from skymill.survey.preview import preview
from skymill.survey.summary import Summary, summarise
from skymill.survey.suspicion import suspicions

ROWS = 400


def warnings_of(columns: dict[str, np.ndarray], config: SurveyConfig) -> list[str]:
    return suspicions(summarise(gate(columns, config), config), config)


@pytest.fixture
def sound(columns) -> dict[str, np.ndarray]:
    return columns(ROWS)


def in_radians(table: dict) -> None:
    table["ra"], table["dec"] = np.radians(table["ra"]), np.radians(table["dec"])


def in_radians_from_minus_pi(table: dict) -> None:
    table["ra"], table["dec"] = np.radians(table["ra"] - 180), np.radians(table["dec"])


def in_hours(table: dict) -> None:
    table["ra"] = table["ra"] / 15


def swapped(table: dict) -> None:
    table["ra"], table["dec"] = table["dec"], table["ra"]


def as_magnitudes(table: dict) -> None:
    for band in "gr":
        table[f"{band}_flux"] = (31.4 - 2.5 * np.log10(table[f"{band}_flux"])).astype("f4")


def far_too_faint(table: dict) -> None:
    table["g_flux"] = table["g_flux"] * np.float32(1e-9)


def far_too_bright(table: dict) -> None:
    table["r_flux"] = table["r_flux"] * np.float32(1e12)


def without_errors(table: dict) -> None:
    table["r_fluxErr"] = np.zeros(ROWS, "f4")


def shallow(table: dict) -> None:
    table["r_fluxErr"] = table["r_fluxErr"] * np.float32(50)


def without_light(table: dict) -> None:
    table["g_flux"] = -table["g_flux"]


def mostly_nowhere(table: dict) -> None:
    table["ra"] = np.where(np.arange(ROWS) % 3 == 0, table["ra"], np.nan)


FAULTS = [
    (in_radians, "within the numbers that radians take"),
    (in_radians_from_minus_pi, "within the numbers that radians take"),
    (in_hours, r"lie in \[0\.\d+, 2\d\.\d+\] while declinations spread over 1[78]\d degrees; .*'hourangle'"),
    (swapped, "columns 'ra' and 'dec' are probably swapped"),
    (as_magnitudes, r"photometry\.psfFlux, g, r: values lie between 5 and 40, as magnitudes do, .* as 'nJy'"),
    (far_too_faint, r"photometry\.psfFlux, g: the median AB magnitude \(4\d\.\d\) is outside 5 to 35"),
    (far_too_bright, r"photometry\.psfFlux, r: the median AB magnitude \(-1\d\.\d\) is outside 5 to 35"),
    (without_errors, r"photometry\.psfFlux, r: no flux has an error above zero"),
    (shallow, r"psfFlux: the errors of faint sources are .* in nJy: r 1\d\d \(7\.6\); declare softening: \{g: "),
    (without_light, r"photometry\.psfFlux, g: hardly any flux is above zero"),
    (mostly_nowhere, r"266 of 400 rows are quarantined"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), FAULTS, ids=[spoil.__name__ for spoil, _ in FAULTS])
def test_a_fault_is_named_alone(sound, survey_config, spoil, message: str) -> None:
    spoil(sound)
    found = [
        text for text in warnings_of(sound, survey_config()) if "quarantined" not in text or spoil is mostly_nowhere
    ]
    assert len(found) == 1
    assert re.search(message, found[0]), found


def test_fluxes_declared_as_magnitudes_are_too_faint_or_dark(sound, survey_config) -> None:
    photometry = {"psfFlux": {"column": "{band}_flux", "unit": "mag_ab"}}
    [found] = warnings_of(sound, survey_config(photometry=photometry))
    assert "hardly any flux is above zero" in found


def test_a_sound_table_and_one_of_few_rows_are_left_in_peace(sound, survey_config, columns) -> None:
    assert warnings_of(sound, survey_config()) == []
    few = columns(19)
    in_radians(few)
    assert warnings_of(few, survey_config()) == []


def test_absurd_declinations_of_a_survey_of_the_whole_sky_are_not_swapped_axes(sound, survey_config) -> None:
    sound["ra"][::5] = 12.0
    sound["dec"][::5] = 200.0
    assert warnings_of(sound, survey_config()) == []


def test_declared_units_are_no_suspicion(sound, survey_config) -> None:
    in_radians(sound)
    rad = {"ra": {"column": "ra", "unit": "rad"}, "dec": {"column": "dec", "unit": "rad"}}
    assert warnings_of(sound, survey_config(**rad)) == []


def test_summaries_add_up_whatever_the_cutting(sound, survey_config) -> None:
    config = survey_config()
    sound["dec"][7:90:9] = 95.0
    sound["g_flux"][5], sound["r_fluxErr"][9] = np.nan, 0
    whole = summarise(gate(sound, config), config)
    pieces = [{name: values[cut] for name, values in sound.items()} for cut in np.split(np.arange(ROWS), [3, 100, 100])]
    added = sum((summarise(gate(piece, config), config) for piece in pieces), Summary())
    assert added == whole and Summary.from_dict(json.loads(canonical_json(whole.as_dict()))) == whole
    assert whole.n_in == ROWS and whole.quarantined == 10


def test_the_median_is_that_of_the_magnitudes(sound, survey_config) -> None:
    config = survey_config()
    summary = summarise(gate(sound, config), config)
    for band in "gr":
        wanted = np.median(31.4 - 2.5 * np.log10(sound[f"{band}_flux"]))
        assert summary.brightness[f"psfFlux {band}"].median() == pytest.approx(wanted, abs=0.11)


REAL = ("embedded", "gaia_bright", "ogle3", "sdss17", "sdss_dr14")


def test_no_map_is_left_out() -> None:
    others = {"sdss_photoobj", "sdss_frames", "embedded_images", "embedded_images_wide"}
    others |= {"embedded_galaxies", "embedded_galaxies_wide"}
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*REAL, *LSST, *OTHERS} | others


@pytest.mark.parametrize("name", REAL)
def test_the_real_tables_raise_no_false_alarm(name: str, data: Path, monkeypatch) -> None:
    monkeypatch.setenv("SKYMILL_TEST_DATA", str(data))
    found = preview(open_survey(load_map(name)), 10**9 if name != "embedded" else 30_000)
    assert found.warnings == [] and found.summary.n_sources > 9_000


@pytest.mark.parametrize("name", [*LSST, *OTHERS])
def test_tables_made_for_a_map_raise_no_false_alarm(name: str, data: Path, tmp_path: Path, monkeypatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "unused")
    config = load_map(name)
    config = write_map_table(config, map_table(config, 300, listed_dtypes(data, name)), tmp_path)
    assert preview(open_survey(config), 300).warnings == []


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("ogle3", {"ra": {"column": "RA", "unit": "deg"}}, "declare unit 'hourangle'"),
        ("gaia_bright", {"ra": {"column": "dec", "unit": "deg"}, "dec": {"column": "ra", "unit": "deg"}}, "swapped"),
        ("sdss17", {"photometry": {"flux": {"column": "{band}", "unit": "nJy"}}}, "flux, u, g, r, i, z: values lie"),
        ("sdss17", {"photometry": {"flux": {"column": "{band}", "unit": "count", "zero_point": 22}}}, "as magnitudes"),
    ],
)  # fmt: skip
def test_wrong_maps_of_real_tables_are_found(name: str, change: dict[str, Any], message: str, data: Path, monkeypatch):
    monkeypatch.setenv("SKYMILL_TEST_DATA", str(data))
    content = load_map(name).model_dump(exclude_unset=True) | change
    found = preview(open_survey(load_survey(content)), 10**9)
    assert any(message in warning for warning in found.warnings), found.warnings


def test_a_preview_reads_no_more_than_asked_and_accounts_for_all(columns, survey_config, tmp_path: Path) -> None:
    for number in range(3):
        table = columns(50)
        table["dec"][4] = 99
        table["g_flux"][6] = np.nan
        pq.write_table(pa.table(table), tmp_path / f"{number}.parquet")
    (tmp_path / "3.parquet").write_bytes(b"never looked at")
    found = preview(open_survey(survey_config(tmp_path)), 120)
    assert (found.summary.n_in, found.summary.n_sources) == (120, 117)
    assert dict(found.quarantined) == {"dec_out_of_range": 3} and dict(found.excluded) == {}
    assert dict(found.flags) == {"flux_missing": 3}
    lines = found.lines(["psfFlux"], ["g", "r"])
    assert lines[:3] == ["rows         120", "accepted     117", "excluded     none"]
    assert any(line.startswith("median AB magnitude of psfFlux: g 1") for line in lines)
