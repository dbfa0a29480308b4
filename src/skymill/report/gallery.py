"""Which figures the page shows, with what is said under them and, for who cannot see them, in their place."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from functools import partial

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from skymill.config import RunConfig, SurveyConfig
from skymill.features import make_recipe
from skymill.report.figures import (
    draw_by_magnitude,
    draw_confusion,
    draw_coverage,
    draw_history,
    draw_reliability,
    draw_thresholds,
)
from skymill.report.gather import ModelResult, Run, TestSet
from skymill.report.importance_figures import draw_attributions, draw_importance
from skymill.report.sky_map import draw_sky_map
from skymill.survey.reference import reference_band

PIXELS_AN_INCH = 96
"""Of CSS: a figure is shown at the size it was drawn for."""
NOT_XML = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Control characters that no XML may hold."""
TICK = r"\mathdefault"
"""In every formula that matplotlib writes by itself."""
DOTS_AN_INCH = 2 * PIXELS_AN_INCH
"""Of what is not lines and text inside a figure: the pixels of maps."""


@dataclass(frozen=True)
class Picture:
    """A figure in the page."""

    title: str
    alt: str
    uri: str
    width: int  # CSS pixels
    height: int


@dataclass(frozen=True)
class Gallery:
    """Figures of one kind, to be compared."""

    anchor: str
    title: str
    text: str
    pictures: list[Picture]


def embed(figure: Figure, title: str, alt: str) -> Picture:
    """Give a figure as SVG in a data URI, so that the page is one file; equal figures give equal bytes."""
    _take_literally(figure)
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "skymill"}):
        figure.savefig(buffer, format="svg", dpi=DOTS_AN_INCH, metadata={"Date": None, "Creator": None})
    svg = NOT_XML.sub(b"?", buffer.getvalue())  # letters are drawn as lines, and told in comments
    uri = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    width, height = (round(size * PIXELS_AN_INCH) for size in figure.get_size_inches())
    return Picture(title, alt, uri, width, height)


def _take_literally(figure: Figure) -> None:
    """Have names with dollar signs drawn as they are; only matplotlib itself writes formulas, for logarithmic ticks."""
    for text in figure.findobj(Text):
        if "$" in text.get_text() and TICK not in text.get_text():
            text.set_parse_math(False)


def model_galleries(made: Run, run: RunConfig, survey: SurveyConfig) -> list[Gallery]:
    """Draw the trained models side by side."""
    axis = magnitude_axis(run, survey)
    with_sets = [pair for pair in made.trained if "conformal" in pair[1].metrics]
    galleries = [
        Gallery("confusion", "Confusion", CONFUSION, [_confusion(*pair) for pair in made.trained]),
        Gallery("calibration", "Calibration", CALIBRATION, [_reliability(*pair) for pair in made.trained]),
        Gallery("magnitude", "By magnitude", MAGNITUDE, [_by_magnitude(*pair, axis) for pair in made.trained]),
        Gallery("conformal", "Conformal sets", CONFORMAL, [_coverage(*pair, axis) for pair in with_sets]),
        Gallery("thresholds", "Cuts on a probability", THRESHOLDS, [_thresholds(*pair) for pair in made.trained]),
        Gallery("importance", "What the models go by", IMPORTANCE, [_importance(*pair) for pair in made.trained]),
        Gallery("attributions", "Source by source", ATTRIBUTIONS, [_attributions(*pair) for pair in made.trained]),
        Gallery("learning", "Learning", LEARNING, [_history(*pair) for pair in made.trained if pair[1].history]),
    ]
    return [gallery for gallery in galleries if gallery.pictures]


CONFUSION = "Rows are true classes and add up to 100 %; below the shares, sources."
CALIBRATION = (
    "Of sources said to be of a class with probability 0.8, 80 % should be: points on the dashed line. Bars are 68 % "
    "intervals (Wilson); the steps below count the sources, on a logarithmic scale."
)
MAGNITUDE = (
    "Completeness is the share of a true class that is found, purity the share of what is called that class which is "
    "right. Bins hold equal numbers of test sources, bars are 68 % intervals (Wilson). Look here first for the faint "
    "end: the survey may go deeper than its labels."
)
CONFORMAL = (
    "The catalogue gives each source a set of classes that cannot be excluded. Of all sources of a class, the dashed "
    "share was promised to have it in their set; where a class falls below it, here by magnitude, its sources are less "
    "like the rest of their class. Bars are 95 % intervals over blocks of sky."
)
THRESHOLDS = (
    "What a sample cut at some probability of one class would be like. Upper panel: the ROC curve, its horizontal axis "
    "logarithmic, because a per cent of a common class can swamp a rare one. Lower panel: purity against completeness."
)
IMPORTANCE = (
    "What a model loses on the test set when a feature is shuffled among the sources: above by groups, shuffled as a "
    "whole, below one by one. A feature that others repeat costs little alone. Bars are 95 % intervals over blocks of "
    "sky."
)
ATTRIBUTIONS = (
    "What each feature did to the probability of a class (Shapley values), a dot for each of some test sources, as "
    "many of each class. Dots are dark where the feature's value is low, bright where it is high, grey where it is not "
    "measured."
)
LEARNING = "Losses after each epoch; training stops when the validation set no longer gains."


def magnitude_axis(run: RunConfig, survey: SurveyConfig) -> str:
    """Say which magnitude the results are binned by: the feature of the reference band."""
    recipe = make_recipe(survey, run.features)
    dust = ", dereddened" if recipe.extinction else ""
    return f"{reference_band(recipe.bands)} asinh AB magnitude of {recipe.colour_flux}{dust}"


def _confusion(model: ModelResult, test: TestSet) -> Picture:
    counts = np.asarray(test.metrics["confusion"])
    found = np.diagonal(counts) / np.maximum(counts.sum(axis=1), 1)
    said = ", ".join(f"{100 * share:.1f} % of {name}" for share, name in zip(found, model.classes, strict=True))
    alt = f"Confusion matrix of {model.name}: {said} are given their true class."
    return embed(draw_confusion(counts.tolist(), model.classes), model.name, alt)


def _reliability(model: ModelResult, test: TestSet) -> Picture:
    ece = test.metrics["overall"]["ece"]["value"]
    alt = f"Share of true classes against given probability for {model.name}, with sources per bin; ECE {ece:.4f}."
    return embed(draw_reliability(test.label, test.probabilities, model.classes), model.name, alt)


def _by_magnitude(model: ModelResult, test: TestSet, axis: str) -> Picture:
    figure = draw_by_magnitude(test.magnitude, test.label, test.predicted, model.classes, axis=axis)
    return embed(figure, model.name, f"Completeness and purity of each class of {model.name} against {axis}.")


def _coverage(model: ModelResult, test: TestSet, axis: str) -> Picture:
    sets = test.metrics["conformal"]
    said = ", ".join(f"{100 * each['covered']['value']:.1f} % of {name}" for name, each in sets["by_class"].items())
    promised = f"promised {100 * sets['coverage']:g} %"
    alt = f"Coverage of the conformal sets of {model.name} by class and magnitude: {said}; {promised}."
    return embed(draw_coverage(sets, model.classes, axis=axis), model.name, alt)


def _thresholds(model: ModelResult, test: TestSet) -> Picture:
    auc = test.metrics["overall"]["roc_auc"]["value"]
    alt = f"ROC curves and purity against completeness of each class of {model.name}" + (
        f"; mean area under the ROC curves {auc:.4f}." if auc is not None else "."
    )
    return embed(draw_thresholds(test.label, test.probabilities, model.classes), model.name, alt)


def _importance(model: ModelResult, test: TestSet) -> Picture:
    first, *_ = sorted(test.importance["features"], key=lambda one: -one["log_loss"]["value"])
    alt = f"Log-loss that shuffling features adds for {model.name}; most costly is {first['name']}."
    return embed(draw_importance(test.importance), model.name, alt)


def _attributions(model: ModelResult, test: TestSet) -> Picture:
    names, values, effect = test.attributions
    alt = f"Changes of each class's probability by {model.name}'s most moving features, for {len(values)} sources."
    return embed(draw_attributions(effect, values, names, model.classes), model.name, alt)


def _history(model: ModelResult, test: TestSet) -> Picture:
    return embed(draw_history(test.history), model.name, f"Learning curves of {model.name} by epoch.")


def sky_galleries(model: ModelResult) -> list[Gallery]:
    """Draw the maps: how many sources, of what classes, how sure."""
    sky = model.sky
    draw = partial(draw_maps, pixels=sky.pixels, order=sky.order)
    label = "sources per square degree"
    galleries = [draw("density", "Density", "All sources of the catalogue.", values=sky.density, label=label, log=True)]
    for number, name in enumerate(model.classes):
        title, text = f"Share of {name}", f"Sources most probably {name}, among those scored."
        galleries.append(draw(f"share-{number}", title, text, values=sky.share[:, number], label=f"share of {name}"))
    text = "Mean entropy of the class probabilities: 0 where the model is sure, {:.2f} where it cannot tell at all."
    text = text.format(np.log(len(model.classes)))
    galleries.append(draw("entropy", "Uncertainty", text, values=sky.mean_entropy, label="mean entropy (nats)"))
    return galleries


def draw_maps(
    anchor: str,
    title: str,
    text: str,
    *,
    pixels: NDArray[np.int64],
    values: NDArray[np.float64],
    order: int,
    label: str,
    log: bool = False,
) -> Gallery:
    """Draw one value a pixel, a figure for each field or one of the whole sky."""
    figures = draw_sky_map(pixels, values, order, label=label, log=log)
    finite = values[np.isfinite(values)]
    span = f", from {finite.min():.3g} to {finite.max():.3g}" if len(finite) else ""
    alts = [f"Map {number} of {len(figures)}: {label}{span}." for number in range(1, len(figures) + 1)]
    return Gallery(anchor, title, text, [embed(figure, "", alt) for figure, alt in zip(figures, alts, strict=True)])
