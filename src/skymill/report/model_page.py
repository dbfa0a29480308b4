"""What the page of one model shows beyond the comparison on the first page."""

from __future__ import annotations

from typing import Any

from skymill.config import RunConfig, SurveyConfig
from skymill.features import make_recipe
from skymill.report.examples import HEIGHT, WIDTH, examples_of
from skymill.report.gallery import magnitude_axis
from skymill.report.gather import ModelResult, Run
from skymill.report.local_calibration import FEWEST_BLOCKS
from skymill.report.survey_gallery import magnitude_gallery, shift_gallery
from skymill.report.votes import TEXT, questions_of


def model_content(model: ModelResult, made: Run, run: RunConfig, survey: SurveyConfig) -> dict[str, Any]:
    """Give what the template shows of one model; a model from elsewhere has no test set here, and shows its sky."""
    test = model.test
    content = {
        "name": model.name,
        "classes": model.classes,
        "catalogue": made.catalogues[model.name].version,
        "examples": [],
        "card": None,
        "shift": None,
        "questions": [],
    }
    if test is None:
        return content
    axis = magnitude_axis(run, survey)
    bands = list(make_recipe(survey, run.features).bands)
    return content | {
        "fewest_blocks": FEWEST_BLOCKS,
        "by_magnitude": magnitude_gallery(model, test, axis),
        "shift": model.shift and shift_gallery(model, model.shift, axis),
        "questions": questions_of(test),
        "votes_text": TEXT,
        "examples": examples_of(test, model.classes, bands),
        "plot_width": WIDTH,
        "plot_height": HEIGHT,
        "card": f"../training/shift/{model.name}/card.md",
    }
