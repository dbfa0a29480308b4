"""What decides a tile of images, and what does not."""

from __future__ import annotations

from typing import Any

from skymill.config import RunConfig, SurveyConfig
from skymill.features.image_settings import kernel, segmentation_settings
from skymill.store import module_digests

RUN = RunConfig(name="run", survey="survey.yaml")


def survey(**changes: Any) -> SurveyConfig:
    """A survey of FITS images."""
    images = {"layout": "fits", "image": {"file": "{band}-{tile}.fits"}, "unit": "nJy"}
    given = {"name": "frames", "format": "images", "path": "images", "bands": ["g", "r"], "images": images}
    return SurveyConfig.model_validate({**given, **changes})


def test_what_bands_are_called_in_file_names_decides():
    """The same files, read as other bands, are other tiles."""
    swapped = survey(band_names={"g": "r", "r": "g"})
    assert segmentation_settings(RUN, survey()) != segmentation_settings(RUN, swapped)


def test_where_the_images_lie_does_not():
    assert segmentation_settings(RUN, survey()) == segmentation_settings(RUN, survey(path="elsewhere"))


def test_the_simulation_decides_its_own_tiles_alone():
    """An edit of the code that renders makes no tile of real images anew."""
    real = module_digests(kernel(RUN, survey()))
    rendered = module_digests(kernel(RUN, survey(path=None, images={"layout": "rendered", "render": {}})))
    assert "skymill.survey.images.fits_layout" in real
    assert not [module for module in real if "rendered" in module]
    assert "skymill.survey.rendered.stamps" in rendered
