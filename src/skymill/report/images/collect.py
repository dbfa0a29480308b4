"""All that the page needs of the sources, in one pass over the tiles' tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from skymill.report.images.gather import ImageRun, TileRows
from skymill.report.images.residuals import truth_facts
from skymill.report.images.statistics import SurveyStatistics
from skymill.report.images.truth import TruthStatistics, match_tile, true_sources
from skymill.report.images.worst import Worst, offer_flagged, offer_wrong
from skymill.store import Accounting
from skymill.survey.flags import DEBLENDED
from skymill.survey.images.ownership import owned
from skymill.tiling.image_group import PlannedImage


@dataclass(frozen=True)
class Collected:
    """What was added up: of the sources, of their comparison with the truth where there is one, and the worst."""

    statistics: SurveyStatistics
    truth: TruthStatistics | None
    worst: Worst


def collect(made: ImageRun) -> Collected:
    """Read the tables of all tiles, one after the other; of a rendered survey also its truth."""
    survey = made.survey
    assert survey.images is not None
    rendered = survey.images.render is not None
    statistics, worst = SurveyStatistics(survey.bands), Worst()
    truth = TruthStatistics(survey.bands) if rendered else None
    planned = made.planned() if rendered else {}
    for tile in made.tables():
        statistics.add(tile)
        offer_flagged(worst, tile, statistics.reference)
        if truth is not None:
            _compare(made, tile, planned[tile.name], truth, worst)
    return Collected(statistics, truth, worst)


def _compare(made: ImageRun, tile: TileRows, planned: PlannedImage, found: TruthStatistics, worst: Worst) -> None:
    """Compare a tile with its truth."""
    assert made.survey.images is not None
    settings = made.survey.images.render
    assert settings is not None
    assert planned.outline is not None
    classes = made.maps(tile.name, "classes")["classes"]
    mine = partial(owned, tile=planned.outline, neighbours=planned.neighbours)
    truth = true_sources(settings, tile, classes, mine)
    partner = match_tile(tile, truth, found.bands)
    found.add(tile, truth, partner)
    offer_wrong(worst, tile, truth, partner, found.bands, found.reference)


def facts_of(made: ImageRun, found: Collected, sources: Accounting) -> dict[str, Any]:
    """Give all numbers of the page as JSON has them; `sources` is the account of the source catalogue."""
    detected, primary = found.statistics.n_detected, found.statistics.n_primary
    return {
        "survey": made.survey.name,
        "bands": list(made.survey.bands),
        "tiles": {"measured": len(made.entries), "quarantined": len(made.quarantined)},
        "accounting": {
            "detected": detected,
            "not_primary": detected - primary,
            "primary": primary,
            "sources": sources.as_dict(),
        },
        "flags": flag_facts(made),
        "quarantined": [{"tile": one.image, "reason": one.reason} for one in made.quarantined],
        **found.statistics.as_dict(),
        "truth": None if found.truth is None else truth_facts(found.truth),
    }


def flag_facts(made: ImageRun) -> dict[str, Any]:
    """Give how many sources have each flag, in all and tile by tile; those that tiles share count on each."""
    whole = made.accounting
    return {
        "n": whole.n_rows,
        "flagged": whole.n_flagged,
        "by_flag": dict(whole.flagged),
        "tiles": {
            entry.image: {
                "n": entry.n_rows,
                "flagged": entry.accounting.n_flagged,
                "troubled": troubled(entry.accounting),
                "by_flag": dict(entry.accounting.flagged),
            }
            for entry in made.entries
        },
    }


def troubled(account: Accounting) -> int:
    """Count flags that are set for the pixels' sake: all but those of sources that share a footprint."""
    return sum(n for flag, n in account.flagged.items() if flag != DEBLENDED.name)


def tiles_to_show(made: ImageRun) -> dict[str, str]:
    """Choose the tiles of which pictures are shown, and say why: the first, the densest, the one with most flags."""
    shown: dict[str, list[str]] = {}
    if made.entries:
        first = made.entries[0]
        densest = max(made.entries, key=lambda entry: entry.n_rows)
        worst = max(made.entries, key=lambda entry: troubled(entry.accounting) / max(entry.n_rows, 1))
        for entry, why in ((first, "the first"), (densest, "the most sources"), (worst, "the most flags per source")):
            shown.setdefault(entry.image, []).append(why)
    return {name: ", ".join(why) for name, why in shown.items()}
