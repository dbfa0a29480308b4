"""What the page `images.html` shows, and its numbers for `images.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skymill.config import RunConfig, SurveyConfig
from skymill.features.measuring.measured import KRON_FLUX, PSF_FLUX
from skymill.report.gallery import Gallery, Picture, embed
from skymill.report.images.collect import Collected, collect, facts_of
from skymill.report.images.figures import (
    draw_counts,
    draw_kinds,
    draw_pulls,
    draw_residuals,
    draw_shares,
    draw_star_galaxy,
)
from skymill.report.images.gather import gather_images
from skymill.report.images.pictures import MASKED
from skymill.report.images.stamps import Drawn, draw_pixels
from skymill.report.images.tile_figures import ELSEWHERE, GALAXY, STAR
from skymill.store import Accounting

FLAGGED_TILES = 20
"""Tiles in the table of flags: those with the most flags per source."""
QUARANTINED_TILES = 50
"""Tiles put aside that are named with their reasons."""
COUNTS = (
    "Sources of at least 5 sigma in the band, by PSF and by Kron magnitude. Dotted: where the counts turn over. "
    "Dashed: the magnitude of a point source at 5 sigma, the median over the sources below 10 sigma."
)
STAR_GALAXY = (
    "Point sources gather along the size of the point-spread function; the fainter a source, the less its extendedness "
    "is known, and the nearer it is to the grey of 0.5."
)
COMPLETENESS = (
    "Of the true sources that show at all, the share with a detection of their own, by true magnitude: of all, and of "
    "those that stand alone. Bars are 68 % intervals (Wilson)."
)
PURITY = (
    "Of the detections, the share that is a true source, by Kron magnitude; saturated ones and those within 2 arcsec "
    "of a tile's border are left out. What is no source lies near one by chance {:.1f} % of the time."
)
KINDS = (
    "Of the true sources that are found, the share of stars and quasars with an extendedness below 0.5, and of "
    "galaxies above."
)
PAIRS = (
    "Of two true sources, both at least {:g} sigma bright, the share that is found as two, by their separation: one in "
    "the middle of a far brighter galaxy counts too."
)
RESIDUALS = (
    "Isolated sources: no visible neighbour within {:g} arcsec, at least 98 % of the light in their pixels their own, "
    "no flag but of a touching footprint, and so bright that none is missed. Above, the median of measured minus true "
    "magnitude; then mean and width of the pulls, (measured − true) / error. Shaded is what is aimed at."
)


def images_content(
    run: RunConfig, survey: SurveyConfig, output: Path, sources: Accounting
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Gather and draw all of the page.

    Parameters
    ----------
    run : RunConfig
    survey : SurveyConfig
        Of images.
    output : Path
        Folder of the run.
    sources : Accounting
        Of the source catalogue.

    Returns
    -------
    content, facts : dict
        What the template shows, and the numbers of `images.json`.

    Raises
    ------
    FileNotFoundError
        If tiles were planned but their group was not measured.
    """
    made = gather_images(run, survey, output)
    found = collect(made)
    facts, drawn = facts_of(made, found, sources), draw_pixels(made, found.worst)
    facts["pictures"] = _picture_facts(drawn)
    return _shown(found, facts, drawn), facts


def _shown(found: Collected, facts: Mapping[str, Any], drawn: Drawn) -> dict[str, Any]:
    """Give what the template shows."""
    return {
        "facts": facts,
        "drawn": drawn,
        "masked": {role: f"#{bytes(colour).hex()}" for role, colour in MASKED.items()},
        "marks": {"point source": STAR, "extended source": GALAXY, "belongs to a neighbouring tile": ELSEWHERE},
        "counts": _counts(facts),
        "star_galaxy": _star_galaxy(found),
        "truth": _truth(found, facts["truth"]) if found.truth is not None else None,
        "flagged_tiles": _flagged_tiles(facts["flags"]),
        "flag_names": list(facts["flags"]["by_flag"]),
        "quarantined": facts["quarantined"][:QUARANTINED_TILES],
    }


def _picture_facts(drawn: Drawn) -> dict[str, Any]:
    """Say which tiles and stamps are shown, without their pixels."""
    return {
        "tiles": {tile.name: tile.why for tile in drawn.tiles},
        "problems": drawn.problems,
        "stamps": {
            gallery.anchor: [
                {k: v for k, v in asdict(stamp).items() if k not in ("uri", "alt")} for stamp in gallery.stamps
            ]
            for gallery in drawn.galleries
        },
    }


def _counts(facts: Mapping[str, Any]) -> Gallery:
    alt = "Sources by magnitude in each band; turn-over and depth are in the table below."
    return Gallery("counts", "Counts and depth", COUNTS, [embed(draw_counts(facts["counts"]), "", alt)])


def _star_galaxy(found: Collected) -> Gallery:
    statistics = found.statistics
    band = statistics.bands[statistics.reference]
    shown, n = len(statistics.diagram), statistics.diagram.n_seen
    alt = f"Half-light radius against {band} magnitude of {shown} of {n} sources, coloured by extendedness."
    kinds = draw_kinds(statistics.as_dict()["star_galaxy"])
    pictures = [
        embed(draw_star_galaxy(statistics.diagram, band), "", alt),
        embed(kinds, "", f"Point and extended sources by {band} magnitude."),
    ]
    return Gallery("star-galaxy", "Stars and galaxies", STAR_GALAXY, pictures)


def _truth(found: Collected, facts: Mapping[str, Any]) -> list[Gallery]:
    """Draw the comparison with truth."""
    edges, band = facts["edges"], facts["band"]
    true, measured, pairs = f"true {band} magnitude", f"{band} Kron magnitude", facts["pairs"]
    complete = {"all": facts["completeness"], "standing alone": facts["completeness_alone"]}
    pure = {"all": facts["purity"], "without flags of pixels": facts["purity_unflagged"]}
    kinds = {"stars and quasars": facts["stars_called_point"], "galaxies": facts["others_called_extended"]}

    def drawn(curves: Mapping[str, Any], x: str, y: str, bins: list[float] = edges) -> list[Picture]:
        return [embed(draw_shares(bins, curves, x, y), "", f"{y[0].upper()}{y[1:]} by {x}.")]

    purity, pair = PURITY.format(100 * facts["real_by_chance"]), PAIRS.format(pairs["least_signal_to_noise"])
    apart = drawn({"": pairs}, "separation (arcsec)", "found as two", pairs["edges"])
    return [
        Gallery("completeness", "Completeness", COMPLETENESS, drawn(complete, true, "completeness")),
        Gallery("purity", "Purity", purity, drawn(pure, measured, "purity")),
        Gallery("kinds", "Star or galaxy", KINDS, drawn(kinds, true, "share called so")),
        Gallery("pairs", "Blends", pair, apart),
        _residuals(found, facts["isolated"]),
    ]


def _residuals(found: Collected, isolated: Mapping[str, Any]) -> Gallery:
    assert found.truth is not None
    pictures = []
    for key, kind, title, point in (
        ("psf", PSF_FLUX, "PSF fluxes of stars and quasars", True),
        ("kron", KRON_FLUX, "Kron fluxes of galaxies", False),
    ):
        alt = f"{title}: residuals and pulls by magnitude, in every band."
        pictures.append(embed(draw_residuals(isolated[key], isolated["edges"]), title, alt))
        figure = draw_pulls(found.truth.isolated, kind, found.truth.bands, point_sources=point)
        pictures.append(embed(figure, f"{title}: pulls", f"{title}: distribution of pulls beside the normal one."))
    return Gallery(
        "residuals",
        "Photometry",
        RESIDUALS.format(isolated["apart_arcsec"]),
        [pictures[0], pictures[2], pictures[1], pictures[3]],
    )


def _flagged_tiles(flags: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Give the tiles with the most flags per source."""
    tiles = sorted(flags["tiles"].items(), key=lambda item: (-item[1]["troubled"] / max(item[1]["n"], 1), item[0]))
    return tiles[:FLAGGED_TILES]
