"""Sources found by a U-Net, by skymill's own deblender and by SEP's, on rendered sky with exact truth and on DC2.

The U-Net is that of `config/models/unet.yaml`, fitted here on rendered sky alone unless the folder of a fit is given.
The scenes are those that it is judged by; none of the three has seen them. Both deblenders are run twice, at their own
threshold and at the one that gives the highest AP on the scenes by which the U-Net was calibrated: masks of theirs end
where the noise-weighted sum of all bands falls below a threshold, true ones where a source's own i light falls below
the noise of a pixel.

Fluxes are i fluxes of both members of true pairs, on scenes with more pairs than the sky's: Kron fluxes with light
shared among footprints of the U-Net and of the deblender, against SEP's FLUX_AUTO. A member without a detection within
half a seeing disc has the flux 0.

    python benchmarks/segmenting.py --fit results_deblending/training/unet/<fit>
    python benchmarks/segmenting.py --data $SKYMILL_TEST_DATA     # DC2's 424 masks and HSC's blends too
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import sep
from numpy.typing import NDArray
from peers import sides
from real.dc2 import ANNOTATIONS, Masks, Sources, ours, with_sep
from real.hsc import compare_segmenter
from real.tiles import dc2_cutout
from scipy.spatial import cKDTree

from skymill.config import load_model
from skymill.config.images import MeasureSettings, RenderSettings
from skymill.export.segmenting import segmenter_to_onnx
from skymill.features.measuring import Measured, measure
from skymill.features.measuring.detection import detect, stack_bands
from skymill.features.measuring.measured import KRON_FLUX, PSF_FLUX
from skymill.features.segmenting.segmenter import Segmenter
from skymill.models.unet import UnetSettings
from skymill.survey.images import TilePixels
from skymill.training.matching import NONE, match
from skymill.training.scenes import COMPANION, Scene, render_scene, scene_settings
from skymill.training.segment_judging import Found, found_as, judge_scene, signal_over_noise, summarise
from skymill.training.segmenting import fit_segmenter, load_segmenter_fit

THRESHOLDS = (3.5, 5.0, 7.0, 10.0, 14.0, 20.0)
SIGMAS = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
SEPARATIONS = (0.0, 1.0, 1.5, 2.5)
"""Edges of bins, in widths of the point-spread function."""
PAIRS, FIELDS, FIELD_PX, FIRST_SEED = 40.0, 8, 512, 2_000_000
BRIGHT_nJy = 10 ** ((31.4 - 25.0) / 2.5)
"""Least i flux of a pair's members, so that noise is not what is measured."""
I_BAND = "ugrizy".index("i")


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("config/models/unet.yaml"), help="the model's file")
    parser.add_argument("--fit", type=Path, help="folder of a finished fit of it")
    parser.add_argument("--data", type=Path, help="the folder of test data, for DC2 and HSC")
    arguments = parser.parse_args()
    told: dict[str, Any] = sides.machine()
    with tempfile.TemporaryDirectory() as folder:
        model = load_model(arguments.model)
        if arguments.fit is None:
            arguments.fit = Path(folder) / "fit"
            arguments.fit.mkdir()
            started = time.process_time()
            fit_segmenter(model, seed=42, output_folder=arguments.fit, device="cpu")
            told["fit_cpu_s"] = round(time.process_time() - started, 1)
        manifest = segmenter_to_onnx(arguments.fit / "manifest.json", output=folder, model=model)
        [file] = manifest.parent.glob("*.onnx")
        segmenter = Segmenter(file.read_bytes(), source=file.name)
        settings = load_segmenter_fit(arguments.fit).settings
    test, validation = (
        [render_scene(each) for each in scene_settings(settings, split)] for split in ("test", "validation")
    )
    told["masks"] = masks(segmenter, test, validation)
    told["pairs"] = pairs(segmenter, fields_of(settings))
    if arguments.data:
        told["dc2"] = dc2(segmenter, arguments.data)
        told["hsc"] = compare_segmenter(arguments.data, segmenter)
    print(json.dumps(told, indent=1))


def masks(segmenter: Segmenter, test: Sequence[Scene], validation: Sequence[Scene]) -> dict[str, Any]:
    """Hold what each method finds against the truth."""
    found: dict[str, Callable[[Scene], Found]] = {
        "unet": lambda scene: found_as(scene, segmenter(scene.tile, scene.sky, scene.fwhm_px, MeasureSettings()))
    }
    for name, find, values in (("measuring", by_measuring, THRESHOLDS), ("sep", by_sep, SIGMAS)):
        aps = {value: judged(partial(find, value), validation)["ap"]["value"] for value in values}
        best = max(aps, key=lambda value: aps[value])
        found[f"{name} at {values[0]:g} sigma"] = partial(find, values[0])
        found[f"{name} at {best:g} sigma, chosen"] = partial(find, best)
    return {name: judged(find, test) for name, find in found.items()}


def judged(find: Callable[[Scene], Found], scenes: Sequence[Scene]) -> dict[str, Any]:
    """Give every metric of a method on scenes."""
    return summarise([judge_scene(scene, find(scene)) for scene in scenes], seed=0)


def by_measuring(threshold: float, scene: Scene) -> Found:
    """Detect and take apart with skymill's own deblender."""
    return found_as(
        scene, detect(scene.tile, stack_bands(scene.sky, scene.fwhm_px), MeasureSettings(threshold=threshold))
    )


def by_sep(sigma: float, scene: Scene) -> Found:
    """Detect and deblend with SEP."""
    objects, labels = extract(scene, sigma)
    return Found(labels, objects["x"], objects["y"], signal_over_noise(scene, labels))


def extract(scene: Scene, sigma: float) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Run SEP on the noise-weighted sum of all bands."""
    stack = stack_bands(scene.sky, scene.fwhm_px)
    unseen = stack.weight == 0
    noise = np.sqrt(np.divide(1, stack.weight, out=np.ones_like(stack.weight), where=~unseen))
    objects, labels = sep.extract(stack.flux, sigma, err=noise, mask=unseen, minarea=5, segmentation_map=True)
    return objects, labels


def fields_of(settings: UnetSettings) -> list[RenderSettings]:
    """Give fields with many pairs, of seeds of their own and the depths of scenes."""
    changes = {"pairs": PAIRS, "tile_px": FIELD_PX}
    scenes = scene_settings(settings, "train")[:FIELDS]
    return [scene.model_copy(update={**changes, "seed": FIRST_SEED + n}) for n, scene in enumerate(scenes)]


def pairs(segmenter: Segmenter, fields: Sequence[RenderSettings]) -> dict[str, Any]:
    """Give, by separation, errors of the i fluxes of true pairs, and the share of which both members are found."""
    methods: dict[str, Callable[[Scene], tuple[NDArray[np.float64], NDArray[np.float64]]]] = {
        "unet, Kron": lambda scene: kron(measure(scene.tile, MeasureSettings(), segmenter=segmenter)),
        "measuring, Kron": lambda scene: kron(measure(scene.tile, MeasureSettings())),
        "sep, FLUX_AUTO": auto,
    }
    ratios: dict[str, list[NDArray[np.float64]]] = {name: [] for name in methods}
    apart: list[NDArray[np.float64]] = []
    for field in fields:
        scene = render_scene(field)
        places, flux, members, separation = close_pairs(scene)
        apart.append(separation)
        for name, find in methods.items():
            where, found = find(scene)
            partner = match(places, flux, where, scene.fwhm_px / 2)
            ratios[name].append(np.where(partner == NONE, np.nan, found[partner] / flux)[members])
    separation = np.concatenate(apart)
    return {
        f"{low:g}-{high:g} FWHM": {
            "pairs": int(inside.sum()),
            **{name: _told(np.concatenate(each)[inside]) for name, each in ratios.items()},
        }
        for low, high in pairwise(SEPARATIONS)
        if (inside := (separation > low) & (separation <= high)).any()
    }


def _told(ratio: NDArray[np.float64]) -> dict[str, Any]:
    """Tell of pairs, (n, 2), brighter and fainter: what was measured over what is true, NaN where nothing was."""
    error = np.abs(np.nan_to_num(ratio) - 1)
    return {
        "both_found": round(float(np.isfinite(ratio).all(axis=1).mean()), 3),
        "error": _median(error),
        "error_of_the_brighter": _median(error[:, 0]),
    }


def _median(error: NDArray[np.float64]) -> list[float]:
    """Give the median over pairs, and its 95 % interval from resamples of them."""
    random = np.random.default_rng(0)
    drawn = [np.median(error[random.integers(len(error), size=len(error))]) for _ in range(200)]
    return [round(float(each), 3) for each in (np.median(error), *np.percentile(drawn, [2.5, 97.5]))]


def close_pairs(scene: Scene) -> tuple[NDArray[np.float64], ...]:
    """Give positions (n, 2) and i fluxes (n,) of the visible sources, rows of pairs (m, 2), the brighter
    member first and neither of them faint, and their separations in widths of the point-spread function, (m,)."""
    true = scene.true
    rows = true["visible"] & ~true["saturated"]
    places, flux = np.stack([true["x"], true["y"]], axis=1)[rows], true["i_flux"][rows]
    members = cKDTree(places).query_pairs(SEPARATIONS[-1] * scene.fwhm_px, output_type="ndarray")
    members = np.take_along_axis(members, np.argsort(-flux[members], axis=1), axis=1)
    brighter, fainter = flux[members].T
    members = members[(fainter >= COMPANION * brighter) & (fainter > BRIGHT_nJy)]
    separation = np.hypot(*(places[members[:, 0]] - places[members[:, 1]]).T) / scene.fwhm_px
    return places, flux, members, separation


def kron(found: Measured) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give positions and Kron i fluxes."""
    return np.stack([found.x, found.y], axis=1), np.nan_to_num(found.photometry[KRON_FLUX][:, I_BAND].astype(float))


def auto(scene: Scene) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give positions and FLUX_AUTO in i, neighbours masked, as SEP's documentation has it."""
    objects, labels = extract(scene, SIGMAS[0])
    pixels = np.ascontiguousarray(scene.sky.pixels[I_BAND])
    x, y, a, b, theta = (objects[name] for name in ("x", "y", "a", "b", "theta"))
    inside = {"segmap": labels, "seg_id": np.arange(1, len(x) + 1)}
    radius, _ = sep.kron_radius(pixels, x, y, a, b, theta, 6.0, **inside)
    radius = np.where(np.isfinite(radius) & (radius > 0), radius, 3.5)
    flux, _, _ = sep.sum_ellipse(pixels, x, y, a, b, theta, np.maximum(2.5 * radius, 3.5), subpix=5, **inside)
    return np.stack([x, y], axis=1), np.nan_to_num(flux)


def dc2(segmenter: Segmenter, data: Path) -> dict[str, Any]:
    """Hold masks, and discs around the sources' positions, against DC2's."""
    tile, true = dc2_cutout(data), Masks.read(data / ANNOTATIONS)
    methods = {"unet": by_segmenter(tile, segmenter), "measuring": ours(tile), "sep": with_sep(tile)}
    return {
        name: {"masks": found.masks(true).as_dict(), "discs": found.discs(true).as_dict()}
        for name, found in methods.items()
    }


def by_segmenter(tile: TilePixels, segmenter: Segmenter) -> Sources:
    """Find sources; how sure each is is the signal over noise of its PSF fluxes."""
    found = measure(tile, MeasureSettings(), segmenter=segmenter)
    ratio = found.photometry[PSF_FLUX] / found.photometry[f"{PSF_FLUX}Err"]
    score = np.sqrt(np.nansum(np.square(ratio, dtype=np.float64), axis=1))
    return Sources(found.labels, score, np.column_stack([found.x, found.y]))


if __name__ == "__main__":
    main()
