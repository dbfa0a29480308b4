"""The figures of the survey itself, and of how calibration varies over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skymill.report.calibration_figures import (
    curves_by_magnitude,
    draw_local_calibration,
    draw_reliability_by_magnitude,
)
from skymill.report.gallery import Gallery, draw_maps, embed
from skymill.report.gather import ModelResult, TestSet
from skymill.report.local_calibration import Partition
from skymill.report.properties import Property, covered
from skymill.report.shift_figures import draw_shift
from skymill.report.sky_counts import SQUARE_DEGREES, SkyCounts

LOCAL = (
    "Is a probability of 0.8 right in 80 % of cases everywhere? The mark is the calibration error of the locked test "
    "set in one part of the survey, with its 95 % interval where the part has five blocks of sky; the grey bar is what "
    "right probabilities would show by chance in so many sources (line: mean, end: 97.5 %). Of many parts some lie "
    "beyond their bars by chance; those that are significant among all of them are orange, and named below."
)
BY_MAGNITUDE = (
    "Reliability of the most probable class, in four bins of equal count: below the dashed line the model is surer "
    "than it should be. Bars are 68 % intervals (Wilson); bins of fewer than five sources have no point."
)
SHIFT = (
    "How far the survey is from what the model learned from; accuracy and calibration are measured on sources like the "
    "labelled ones. Above, how well a classifier tells a source of the survey from a training row by the model's "
    "features: 0.5 is a coin's throw, the grey band what it would seem to reach were they alike. Then the worst "
    "features: how far the cumulative distributions of what is measured lie apart. Below, the share of the sources "
    "flagged outside_training, with 95 % intervals over blocks of sky. All features stand in the model card."
)
TEXTS = {
    "depth": "Magnitude of a point source at 5 sigma.",
    "seeing": "Full width at half maximum of the PSF.",
}


@dataclass(frozen=True)
class LocalGallery(Gallery):
    """Calibration of each model in parts of the survey, and what it comes to in words."""

    told: list[tuple[str, str]]


@dataclass(frozen=True)
class PropertyFacts:
    """What a map holds: median and central 68 % of its pixels, the share of the sources it covers, its pixels' width
    (arcmin)."""

    name: str
    unit: str
    origin: str
    median: float
    low: float
    high: float
    covered: float | None
    pixel: float


def local_galleries(partitions: Mapping[str, Sequence[Partition]]) -> list[LocalGallery]:
    """Draw the partitions of all models side by side."""
    titles = {each.anchor: each.title for divided in partitions.values() for each in divided}
    galleries: list[LocalGallery] = []
    for anchor, title in titles.items():
        own = [(name, each) for name, divided in partitions.items() for each in divided if each.anchor == anchor]
        pictures = [embed(draw_local_calibration(each), name, f"{title}, {name}: {each.told}") for name, each in own]
        told = [(name, each.told) for name, each in own]
        shown = f"Calibration by {title[0].lower()}{title[1:]}"
        galleries.append(LocalGallery(f"local-{anchor}", shown, "" if galleries else LOCAL, pictures, told))
    return galleries


def magnitude_gallery(model: ModelResult, test: TestSet, axis: str) -> Gallery:
    """Draw the reliability of one model by magnitude."""
    curves = curves_by_magnitude(test.magnitude, test.label, test.probabilities)
    alt = f"Reliability of {model.name} in {len(curves)} bins of {axis}."
    picture = embed(draw_reliability_by_magnitude(curves, axis=axis), "", alt)
    return Gallery("by-magnitude", "Magnitude", BY_MAGNITUDE, [picture])


def shift_gallery(model: ModelResult, shift: Mapping[str, Any], axis: str) -> Gallery:
    """Draw how the survey differs from the rows that one model learned from."""
    test, share = shift["two_sample"], 100 * shift["outside"]["overall"]["value"]
    told = f"AUC {test['auc']:.3f}, by chance {test['low']:.3f} to {test['high']:.3f}" if test else "AUC not measured"
    alt = (
        f"Survey against the training rows of {model.name}: {told}; most shifted is {shift['features'][0]['name']}; "
        f"{share:.2f} % of the sources lie outside, here by magnitude."
    )
    return Gallery(
        "shift", "The survey against the training rows", SHIFT, [embed(draw_shift(shift, axis=axis), "", alt)]
    )


def survey_galleries(model: ModelResult | None, properties: Sequence[Property]) -> list[Gallery]:
    """Draw the maps of the survey: the share of flagged sources, depth, seeing, and whatever else it declares."""
    galleries = []
    if model is not None:
        galleries.append(
            draw_maps(
                "flags",
                "Flags",
                "Sources with any flag: a missing band, an error that is not known, a model that failed.",
                pixels=model.sky.pixels,
                values=model.sky.flagged_share,
                order=model.sky.order,
                label="share flagged",
            )
        )
    for each in properties:
        if not np.isfinite(each.sky.values).any():
            continue  # the table says that it covers nothing
        title = each.label.partition(" (mag")[0].partition(" (arcsec")[0]
        text = f"{TEXTS.get(each.quantity, '')} From {each.origin}.".strip()
        sky = each.sky
        galleries.append(
            draw_maps(each.name, title, text, pixels=sky.pixels, values=sky.values, order=sky.order, label=each.label)
        )
    return galleries


def property_facts(properties: Sequence[Property], counts: SkyCounts | None) -> list[PropertyFacts]:
    """Give what the table of maps holds."""
    facts = []
    for each in properties:
        known = each.sky.values[np.isfinite(each.sky.values)]
        low, median, high = np.percentile(known, [16, 50, 84]) if len(known) else (np.nan,) * 3
        width = 60 * float(np.sqrt(SQUARE_DEGREES / (12 * 4**each.sky.order)))
        share = None if counts is None else covered(each, counts)
        facts.append(
            PropertyFacts(each.name, each.unit, each.origin, float(median), float(low), float(high), share, width)
        )
    return facts
