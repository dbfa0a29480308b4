"""Fit and judge one segmenter on rendered sky."""

from __future__ import annotations

import csv
import io
import json
import logging
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skymill.config import ModelConfig
from skymill.features.measuring.footprints import Footprints
from skymill.features.segmenting.contract import CHANNELS
from skymill.features.segmenting.instances import instances, mean_over, split_maps
from skymill.features.segmenting.windows import Windows, run_windows
from skymill.models import Place, Unet, read_settings
from skymill.store.document import to_document
from skymill.store.durable import write_bytes
from skymill.store.keys import file_sha256, short
from skymill.training.arrays import TrainingSetError
from skymill.training.scenes import SPLITS, Scene, examples, render_scene, scene_settings
from skymill.training.segment_judging import (
    LEAST_AREA_PX,
    Found,
    found_as,
    found_by_measuring,
    found_by_sep,
    judge_scene,
    summarise,
    unrecognised,
)
from skymill.training.segmenter_identity import segmenter_identity

if TYPE_CHECKING:
    from skymill.models.unet import UnetSettings

FORMAT = 1
RESUME = ".resume"
HELD_OUT_WINDOWS = "held_out.npz"
PACKAGES = ("skymill", "numpy", "scikit-learn", "torch", "lightning", "galsim")
N_MAPS = sum(CHANNELS.values()) + 1
"""Channels of the maps that a file gives, that of blends among them."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SegmenterFit:
    """A finished fit, read from its folder."""

    folder: Path
    model: Unet
    manifest: dict[str, Any]

    @property
    def settings(self) -> UnetSettings:
        """Its hyperparameters."""
        return Unet.Settings.model_validate(self.manifest["settings"])  # type: ignore[return-value]


def fit_segmenter(
    model: ModelConfig, *, seed: int, output_folder: str | Path, device: str = "auto", threads: int = 1
) -> None:
    """Render scenes, fit a segmenter on them, calibrate and judge it on others, and write everything about it.

    Parameters
    ----------
    model : ModelConfig
        Of task `segmentation`.
    seed : int
        With the same seed, the same machine gives the same bytes.
    output_folder : path
        Gets the network, `metrics.json`, `history.csv`, `held_out.npz` (windows on which exports are compared) and,
        last, `manifest.json`. A killed fit goes on from the last epoch in its `.resume`.
    device : {'auto', 'cpu', 'cuda'}
    threads : int
        CPU threads; no result depends on them.

    Raises
    ------
    ConfigError
        If the model's settings are wrong.
    TrainingSetError
        If the network finds no blend to calibrate by, or nothing but blends.
    """
    folder = Path(output_folder)
    settings: UnetSettings = read_settings(model.kind, model.settings, source=model.where)  # type: ignore[assignment]
    scenes = {split: [render_scene(each) for each in scene_settings(settings, split)] for split in SPLITS}
    logger.info("%s: %s", model.name, {split: f"{len(some)} scenes" for split, some in scenes.items()})
    place = Place(folder / RESUME, device, threads)
    place.workdir.mkdir(parents=True, exist_ok=True)
    learned, choosing = (examples(scenes[split], settings.bands) for split in ("train", "validation"))
    network = Unet.fit(learned, choosing, settings, seed=seed, place=place)
    network = network.with_blend(fit_blend(network, settings, scenes["train"], scenes["validation"], where=model.name))
    metrics = judge(network, settings, scenes["test"], seed=seed)
    logger.info("%s: %s", model.name, {name: told["ap50"]["value"] for name, told in metrics["methods"].items()})
    test = examples(scenes["test"], settings.bands)
    files = {
        "metrics.json": _json(metrics),
        "history.csv": _csv(network.history()),
        HELD_OUT_WINDOWS: _windows(test.flux, test.inverse_variance, settings),
    }
    names = network.save(folder)
    for name, content in files.items():
        write_bytes(folder / name, content)
    manifest = {
        "format": FORMAT,
        "name": model.name,
        "task": model.task,
        **segmenter_identity(model, seed=seed),
        "scenes": {split: len(some) for split, some in scenes.items()},
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "files": {name: file_sha256(folder / name) for name in sorted([*names, *files])},
    }
    write_bytes(folder / "manifest.json", to_document(manifest))
    shutil.rmtree(folder / RESUME)


def load_segmenter_fit(folder: str | Path) -> SegmenterFit:
    """Read a finished fit.

    Raises
    ------
    FileNotFoundError
        If the folder holds no manifest.
    TrainingSetError
        If a file is missing or its digest is not the manifest's.
    """
    folder = Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, expected in manifest["files"].items():
        found = file_sha256(folder / name) if (folder / name).exists() else "no file"
        if found != expected:
            raise TrainingSetError(
                f"{folder / name}: expected SHA-256 {short(expected)}, found {short(found)}; fit the model again"
            )
    return SegmenterFit(folder, Unet.load(folder), manifest)


def find_sources(maps: NDArray[np.float32], scene: Scene, settings: UnetSettings) -> Footprints:
    """Make the sources of a scene of its maps, (8, ny, nx)."""
    return instances(
        split_maps(maps),
        fwhm_px=scene.fwhm_px,
        min_centre=settings.min_centre,
        reach_px=settings.reach_px,
        min_area_px=LEAST_AREA_PX,
    )


def maps_of(network: Unet, scene: Scene, settings: UnetSettings, *, evidence: bool = False) -> NDArray[np.float32]:
    """Run a network over a scene in windows, as its file is run; with what blends are told by, if asked for."""
    windows = Windows(settings.window_px, settings.halo_px, settings.multiple_px)
    bands = [scene.tile.bands.index(band) for band in settings.bands]
    run = network.maps_and_evidence if evidence else network.maps
    channels = N_MAPS + (settings.width + 1 if evidence else 0)
    return run_windows(run, scene.sky.pixels[bands], scene.sky.weight[bands], windows, channels)


def fit_blend(
    network: Unet, settings: UnetSettings, train: Sequence[Scene], validation: Sequence[Scene], *, where: str
) -> NDArray[np.float32]:
    """Learn to tell the blends that the network itself has not taken apart, (width + 2,) weights of their log-odds.

    A logistic regression of the means, over a source's pixels, of what the network makes of each; as it is linear, it
    can be worked out pixel by pixel and averaged later. It is calibrated on other scenes (Platt 1999).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    evidence, blended = _evidence(network, settings, train, where)
    held_out, blended_there = _evidence(network, settings, validation, where)
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(evidence, blended)
    platt = LogisticRegression(C=np.inf).fit(regression.decision_function(held_out)[:, None], blended_there)
    scaler, inner = regression[0], regression[1]
    weights = inner.coef_[0] / scaler.scale_
    constant = inner.intercept_[0] - weights @ scaler.mean_
    slope, intercept = platt.coef_[0, 0], platt.intercept_[0]
    return np.append(slope * weights, slope * constant + intercept).astype(np.float32)


def _evidence(
    network: Unet, settings: UnetSettings, scenes: Sequence[Scene], where: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give, of all sources that the network finds, means over their pixels, (m, width + 1), and which are blends."""
    means, blended = [], []
    for scene in scenes:
        maps = maps_of(network, scene, settings, evidence=True)
        found = find_sources(maps[:N_MAPS], scene, settings)
        means.append(np.stack([mean_over(each, found.labels, found.n) for each in maps[N_MAPS:]], axis=1))
        blended.append(unrecognised(scene, found.labels))
    known = np.concatenate(blended)
    if not 0 < known.sum() < len(known):
        raise TrainingSetError(
            f"model '{where}': of {len(known)} sources found on {len(scenes)} scenes {known.sum()} are unrecognised "
            "blends, expected some and not all; raise settings.scenes, settings.held_out or settings.epochs"
        )
    return np.concatenate(means), known


def judge(network: Unet, settings: UnetSettings, scenes: Sequence[Scene], *, seed: int) -> dict[str, Any]:
    """Hold the network, skymill's own deblender and SEP's against the truth of scenes that none has seen."""
    methods = {
        "unet": [found_as(scene, find_sources(maps_of(network, scene, settings), scene, settings)) for scene in scenes],
        "measuring": [found_by_measuring(scene) for scene in scenes],
        "sep": [found_by_sep(scene) for scene in scenes],
    }
    return {
        "trained_on": "rendered sky alone",
        "scenes": len(scenes),
        "methods": {name: _judged(scenes, found, seed) for name, found in methods.items()},
    }


def _judged(scenes: Sequence[Scene], found: Sequence[Found], seed: int) -> dict[str, Any]:
    return summarise([judge_scene(scene, one) for scene, one in zip(scenes, found, strict=True)], seed=seed)


def _windows(flux: NDArray[np.float32], weight: NDArray[np.float32], settings: UnetSettings) -> bytes:
    """Keep a window of each scene, or what it has of one."""
    side = settings.window_px
    short_of = max(0, side - settings.scene_px)
    pad = [(0, 0), (0, 0), (0, short_of), (0, short_of)]
    content = io.BytesIO()
    np.savez(
        content,
        flux=np.pad(flux[..., :side, :side], pad),
        inverse_variance=np.pad(weight[..., :side, :side], pad),
    )
    return content.getvalue()


def _csv(history: Sequence[Mapping[str, float]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue().encode()


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
