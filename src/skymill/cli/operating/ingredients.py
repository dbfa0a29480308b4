"""What decides the outputs of each rule, besides its input files: the digests, and the same in full."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from skymill.cli.chain import Chain
from skymill.config import RunConfig
from skymill.export import settings as export_settings
from skymill.features import image_settings, pixels
from skymill.features.plan import KERNEL, make_recipe
from skymill.inference import settings as inference_settings
from skymill.store import module_digests
from skymill.survey import file_list
from skymill.tiling.settings import image_plan_modules, plan_modules, tile_modules, tile_settings
from skymill.training.identity import identity, modules
from skymill.training.segmenter_identity import segmenter_identity, segmenter_modules
from skymill.training.settings import SET, SHIFT, set_settings, shift_settings


class Ingredients(NamedTuple):
    """What decides an output."""

    decides: Mapping[str, str]
    """Digests, as the workflow uses them in paths and `params`."""
    explains: Mapping[str, Any]
    """The same by ingredient, in full."""


def tiling_images(chain: Chain) -> Ingredients:
    """The images' bytes, what makes a tile of them, and the code that reads where it lies."""
    config = chain.survey.config
    images = config.images.model_dump(mode="json") if config.images else {}
    return Ingredients(
        {"name": chain.images_name},
        {"data": file_list(chain.survey), "settings": {"images": images}, "code": _code(image_plan_modules(config))},
    )


def features_measure(chain: Chain, run: RunConfig | None = None) -> Ingredients:
    """What the pixels mean, how sources are found (by which segmenter) and measured, and the code that does it."""
    config = chain.survey.config
    run = run or chain.run
    known = image_settings.ingredients(run, config)
    settings = {"images": known["images"], "measure": known["measure"]}
    learned = {"segmenter": known["segmenter"]} if "segmenter" in known else {}
    explains = {"settings": settings, **learned, "code": _code(image_settings.kernel(run, config))}
    return Ingredients({"settings": chain.segmentation_settings}, explains)


def segmenter_fit(chain: Chain, segmenter: str) -> Ingredients:
    """The model's file, the seed and the code: it learns from rendered sky."""
    config = chain.segmenters[segmenter]
    known = segmenter_identity(config, seed=chain.run.seed)
    explains = {
        "model": {"kind": known["kind"], "settings": known["settings"]},
        "settings": {"seed": known["seed"]},
        "code": _code(segmenter_modules(config)),
    }
    return Ingredients({"fit": chain.asked_segmenter_fit(segmenter)}, explains)


def segmenter_export(chain: Chain, segmenter: str) -> Ingredients:
    """The limits of the parity gate and the code of the export."""
    config = chain.segmenters[segmenter]
    known = {"model": export_settings.ingredients(config), "code": _code(export_settings.modules(config))}
    return Ingredients({"settings": chain.segmenter_export(segmenter)}, known)


def segmenter_measure(chain: Chain, segmenter: str, onnx: str) -> Ingredients:
    """What the pixels mean, the segmenter's file, how its sources are measured, and the code that does it."""
    found = features_measure(chain, chain.run_with(segmenter, onnx))
    return Ingredients({"settings": chain.found_settings(segmenter, onnx)}, found.explains)


def tiling_plan(chain: Chain) -> Ingredients:
    """The survey's bytes, its column map, the bounds of tiles, and the code that reads and counts."""
    config = chain.survey.config
    simulation = {"simulation": config.simulation.model_dump(mode="json")} if config.simulation else {}
    return Ingredients(
        {"data": chain.survey_digest, "settings": chain.plan_settings},
        {
            "data": file_list(chain.survey),
            "settings": tile_settings(chain.run, config) | simulation,
            "code": _code(plan_modules(config)),
        },
    )


def tiling_partition(chain: Chain) -> Ingredients:
    """The bounds of tiles, the column map, and the code that makes a tile."""
    config = chain.survey.config
    explains = {"settings": tile_settings(chain.run, config), "code": _code(tile_modules(config))}
    return Ingredients({"settings": chain.sources_settings}, explains)


def features_compute(chain: Chain) -> Ingredients:
    """The recipe and the code of the features."""
    recipe = asdict(make_recipe(chain.survey.config, chain.run.features))
    explains = {"settings": {"features": _plain(recipe)}, "code": _code(KERNEL)}
    return Ingredients({"settings": chain.features_settings}, explains)


def training_set(chain: Chain) -> Ingredients:
    """The labels' bytes, how they are joined and split, and the code that does it."""
    table = chain.run.labels.path if chain.run.labels and chain.run.labels.path else "simulated"
    return Ingredients(
        {"labels": chain.labels_digest, "settings": chain.training_set_settings},
        {
            "labels": {table: chain.labels_digest},
            "settings": set_settings(chain.run),
            "code": _code(SET),
        },
    )


def training_fit(chain: Chain, model: str, training_set: Mapping[str, Any]) -> Ingredients:
    """The model's file, the seed, the training set and the code of its kind; the images, where it looks at pixels."""
    config, survey = chain.models[model], chain.survey.config
    members = [chain.fit_digest(member, training_set) for member in chain.members(model)]
    known = identity(config, set_sha256=training_set["sha256"], seed=chain.run.seed, members=members)
    explains: dict[str, Any] = {
        "model": {**known["model"], "settings": known["settings"]},
        "settings": {"seed": known["seed"]},
        "training set": training_set["sha256"],
        "members": members,
        "code": _code([*modules(config), *(pixels.modules(survey) if config.stamps else [])]),
    }
    if config.stamps:
        explains |= {"images": training_set.get("images"), "reading": pixels.reading(survey)}
    return Ingredients({"fit": chain.asked_fit(model, training_set)}, explains)


def training_shift(chain: Chain) -> Ingredients:
    """The seed, the bands, and the code that compares the survey with the training rows."""
    return Ingredients(
        {"settings": chain.shift_settings},
        {"settings": shift_settings(chain.run, chain.survey), "code": _code(SHIFT)},
    )


def export_onnx(chain: Chain, model: str) -> Ingredients:
    """The limits of the parity gate, the code of the export and, for kind `onnx`, the file."""
    known = export_settings.ingredients(chain.models[model], provider=chain.run.inference.provider)
    return Ingredients(
        {"settings": chain.export_settings(model)},
        {"model": known, "code": _code(export_settings.modules(chain.models[model]))},
    )


def inference_run(chain: Chain, model: str, onnx: str) -> Ingredients:
    """The ONNX file, how it is run, what pixels mean where it looks at them, and the code that runs it."""
    survey = chain.looked_at(model)
    known = inference_settings.ingredients(onnx, chain.run.inference, survey)
    images = {"images": known["reading"]["images"]} if survey else {}
    return Ingredients(
        {"settings": chain.inference_settings(model, onnx)},
        {
            "onnx": known["onnx"],
            "settings": {"inference": known["settings"], "precision": known["precision"], **images},
            "code": _code(inference_settings.modules(survey)),
        },
    )


def report_page(chain: Chain) -> Ingredients:
    """The survey's maps: their files and what is said of them."""
    maps = {name: each.model_dump(mode="json") for name, each in chain.survey.config.maps.items()}
    return Ingredients({"maps": chain.maps_digest}, {"maps": maps})


NOTHING = Ingredients({}, {})
"""Of a rule that depends on its input files alone: `release_seal`."""
SHARED: Mapping[str, Callable[[Chain], Ingredients]] = {
    "tiling_images": tiling_images,
    "features_measure": features_measure,
    "tiling_plan": tiling_plan,
    "tiling_partition": tiling_partition,
    "features_compute": features_compute,
    "training_set": training_set,
    "training_shift": training_shift,
    "report_page": report_page,
}
"""Rules whose ingredients are the same for all their jobs."""


def of_job(chain: Chain, rule: str, *, model: str, inputs: Mapping[str, str]) -> Ingredients:
    """Give the ingredients of a job that has ended; `inputs` are its input files and their SHA-256."""
    if rule in SHARED:
        return SHARED[rule](chain)
    if rule == "training_fit":
        made = json.loads(Path(chain.output, "training", "set.json").read_bytes())
        return training_fit(chain, model, {**made, "sha256": next(iter(inputs.values()))})
    if rule == "export_onnx":
        return export_onnx(chain, model)
    if rule in ("inference_run", "segmenter_measure"):
        of = inference_run if rule == "inference_run" else segmenter_measure
        return of(chain, model, next(Path(path).stem for path in inputs if path.endswith(".onnx")))
    if rule == "segmenter_fit":
        return segmenter_fit(chain, model)
    if rule == "segmenter_export":
        return segmenter_export(chain, model)
    return NOTHING


def _code(names: Iterable[str]) -> dict[str, str]:
    return _module_digests(tuple(names))


@cache
def _module_digests(names: tuple[str, ...]) -> dict[str, str]:
    return module_digests(names)


def _plain(value: Any) -> Any:
    """Give tuples as lists, as JSON gives them back."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
