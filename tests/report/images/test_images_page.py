"""The page of a survey of images says what its tiles and its truth say, and stands alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import image_files
import numpy as np
import pytest
from html_pages import Page

from skymill.config import SurveyConfig
from skymill.report.images.gather import gather_images
from skymill.report.images.stamps import MOST_TILES, STAMPS
from skymill.report.writing import write_images
from skymill.store import Accounting, open_tile
from skymill.survey.flags import MEASURE_FLAGS
from skymill.survey.rendered import truth

SOURCES = Accounting(n_in=12, n_ok=7, n_flagged=2, flagged={"edge": 2}, excluded={"not_primary": 3})


def written(run) -> tuple[Page, str, dict]:
    """Write the page of a run and read it and its numbers."""
    folder = run.output / "report"
    folder.mkdir(exist_ok=True)
    write_images(folder, run.run, run.survey, run.output, SOURCES)
    text = (folder / "images.html").read_text()
    return Page(text), text, json.loads((folder / "images.json").read_text())


@pytest.fixture(scope="module")
def made(rendered):
    return written(rendered)


@pytest.fixture(scope="module")
def rows(rendered) -> dict[str, dict[str, np.ndarray]]:
    """The tables of all tiles, by tile."""
    return {name: open_tile(path).rows() for name, path in rendered.tiles.items()}


def test_the_account_is_that_of_the_tiles_and_of_the_source_catalogue(made, rows):
    page, _, facts = made
    detected = sum(len(each["flags"]) for each in rows.values())
    primary = sum(int(each["detect_isPrimary"].sum()) for each in rows.values())
    account = facts["accounting"]
    assert (account["detected"], account["primary"]) == (detected, primary)
    assert account["not_primary"] == detected - primary > 0
    table = page.table("detected on all tiles")
    assert table["detected on all tiles"] == [f"{detected:,}"]
    assert table["excluded: not_primary"] == ["3"]
    assert table["sources in the catalogue"] == ["9"]


def test_flags_are_counted_tile_by_tile_and_in_all(made, rows):
    page, _, facts = made
    for flag in MEASURE_FLAGS:
        by_tile = {name: int(np.sum(each["flags"] & flag.mask > 0)) for name, each in rows.items()}
        assert facts["flags"]["by_flag"].get(flag.name, 0) == sum(by_tile.values())
        for name, n in by_tile.items():
            assert facts["flags"]["tiles"][name]["by_flag"].get(flag.name, 0) == n
    shown = page.table("all")
    assert set(shown) - {""} == {"all", *rows}
    assert shown["all"][0] == f"{facts['flags']['n']:,}"


def test_counts_and_depth_equal_those_of_all_rows_at_once(made, rows, rendered):
    _, _, facts = made
    mine = [each["detect_isPrimary"] for each in rows.values()]
    for index, band in enumerate(rendered.survey.bands):
        flux, error = (
            np.concatenate([each[name][own, index] for each, own in zip(rows.values(), mine, strict=True)]).astype(
                float
            )
            for name in ("psfFlux", "psfFluxErr")
        )
        shown = facts["counts"]["bands"][band]
        seen = (error > 0) & (flux >= 5 * error)
        assert sum(shown["psf"]) == seen.sum()
        faint = error[(flux < 10 * error) & (error > 0)]
        assert shown["depth_5_sigma"] == pytest.approx(31.4 - 2.5 * np.log10(5 * np.median(faint)), abs=0.02)


def test_completeness_equals_that_of_a_plain_search(made, rows, rendered):
    _, _, facts = made
    hits = n = 0
    for name, each in rows.items():
        x0 = 0 if name == "tile=x0y0" else 160
        true = truth(rendered.survey.images.render, name.removeprefix("tile="))
        classes = np.asarray(open_tile(rendered.tiles[name]).arrays["classes"][:])
        keep = np.flatnonzero(true["visible"])
        taken = np.zeros(len(each["flags"]), bool)
        for row in keep[np.argsort(-true["i_flux"][keep])]:
            x, y = true["x"][row], true["y"][row]
            apart = np.hypot(each["centre_x"] - x, each["centre_y"] - y)
            apart[taken] = np.inf
            found = apart.min() * 0.2 <= 0.5
            taken[apart.argmin()] |= found
            magnitude = 31.4 - 2.5 * np.log10(true["i_flux"][row])
            usable = not true["saturated"][row] and classes[int(np.rint(y)), int(np.rint(x))] != 3
            mine = (x + x0 < 191.5) == (x0 == 0)  # halfway between the tiles' middles
            if usable and mine and 16 <= magnitude < 28:
                n += 1
                hits += found
    curve = facts["truth"]["completeness"]
    assert (sum(curve["hits"]), sum(curve["n"])) == (hits, n)
    assert 0.4 < hits / n < 1


def test_what_is_said_of_photometry_is_in_the_tables(made):
    page, _, facts = made
    shown = page.table("u")
    pulls = facts["truth"]["isolated"]["kron"]["i"]["pulls"]
    assert pulls["n"] > 5
    [kron] = [rows for rows in page.tables if rows[0][0].startswith("Kron fluxes")]
    assert {row[0]: row[1:4] for row in kron}["i"] == [
        f"{pulls['n']:,}",
        f"{pulls['mean']:+.2f}",
        f"{pulls['width']:.2f}",
    ]
    assert shown["i"][0] == f"{facts['counts']['bands']['i']['depth_5_sigma']:.2f}"


def test_pictures_are_bounded_and_all_of_them_say_what_they_show(made):
    page, text, facts = made
    assert set(facts["pictures"]["tiles"]) == {"tile=x0y0", "tile=x1y0"}
    stamps = facts["pictures"]["stamps"]
    assert stamps.keys() == {"worst-residual", "worst-missed", "worst-false", "worst-flagged"}
    assert all(0 < len(each) <= STAMPS for each in stamps.values())
    assert len({stamp["tile"] for each in stamps.values() for stamp in each}) <= MOST_TILES
    assert all(image["alt"].endswith(".") for image in page.images)
    assert len(page.images) >= 8 + sum(map(len, stamps.values()))
    assert len(text) < 4e6
    ids = [stamp["object_id"] for stamp in stamps["worst-flagged"]]
    assert all(isinstance(each, str) and int(each) > 2**53 for each in ids)


def test_the_page_stands_alone_and_escapes_what_comes_from_outside(made):
    page, text, facts = made
    assert all(source.startswith("data:") for source in page.loads)
    assert set(page.links) - {f"#{anchor}" for anchor in page.ids} == {"index.html", "images.json"}
    assert facts["quarantined"] == [{"tile": "tile=lost", "reason": "patch.fits: expected <a> header"}]
    assert page.table("tile=lost")["tile=lost"] == ["patch.fits: expected <a> header"]
    assert "expected <a>" not in text
    assert len(page.ids) == len(set(page.ids))


def test_nothing_to_measure_by_shows_in_the_numbers_of_a_survey_of_files(tmp_path, measured_run):
    """A survey without truth, one of whose images is gone when the page is written."""
    image_files.write_images(tmp_path)
    (config := image_files.configuration()["survey"])["path"] = str(tmp_path / "images")
    for extra in [each for each in (tmp_path / "images").glob("*-*.fits") if each.stem[-2:] not in ("00", "01")]:
        extra.unlink()
    run = measured_run(SurveyConfig.model_validate(config), tmp_path / "results")
    (tmp_path / "images" / "i-00.fits").write_bytes(b"no image")
    page, text, facts = written(run)
    assert facts["truth"] is None
    assert "Against the truth" not in text
    assert facts["pictures"]["tiles"].keys() == {"tile=01"}
    [problem] = facts["pictures"]["problems"]
    assert problem.startswith("tile=00: ")
    assert "i-00.fits" in problem
    assert list(facts["pictures"]["stamps"]) == ["worst-flagged"]
    assert re.search(r"could not be opened.*i-00\.fits", text, re.DOTALL)
    assert page.table("tile=01")


def test_a_group_that_was_not_measured_is_named(rendered, tmp_path):
    (tmp_path / "tiling").mkdir()
    plan = json.loads((rendered.output / "tiling" / "images.json").read_text())
    (tmp_path / "tiling" / "images.json").write_text(json.dumps(plan))
    with pytest.raises(FileNotFoundError, match=next(iter(plan["groups"]))):
        gather_images(rendered.run, rendered.survey, Path(tmp_path))
