"""How good sources found on rendered scenes are: masks, classes of pixels, close pairs, and how sure it is of blends.

Every interval is a bootstrap over scenes (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from skymill.config.images import MeasureSettings
from skymill.features.measuring.detection import detect, stack_bands
from skymill.features.measuring.footprints import Footprints
from skymill.features.segmentation import CLASSES, GALAXY, STAR
from skymill.training.instances import THRESHOLDS, assign, average_precision_of, overlaps, pixels_of_labels
from skymill.training.matching import NONE, Array, match
from skymill.training.scenes import COMPANION, Scene, true_classes

LEAST_AREA_PX = 5
"""Pixels of the smallest true source that counts: what has fewer is no source for any of the methods."""
SEP_SIGMA = 1.5
RESAMPLES, LEVEL = 200, (2.5, 97.5)


@dataclass(frozen=True)
class Found:
    """What a method has found on a scene.

    Attributes
    ----------
    labels : ndarray of int32, (ny, nx)
        1 to m, 0 for sky.
    x, y : ndarray of float64, (m,)
        Positions, px.
    score : ndarray of float64, (m,)
        How sure each source is.
    classes : ndarray of uint8, (ny, nx), optional
    blend : ndarray of float64, (m,), optional
        Probability that it is an unrecognised blend.
    """

    labels: NDArray[np.int32]
    x: Array
    y: Array
    score: Array
    classes: NDArray[np.uint8] | None = None
    blend: Array | None = None


def found_as(scene: Scene, footprints: Footprints) -> Found:
    """Say what footprints are worth; how sure a source is is its signal over noise."""
    places = footprints.peak_x.astype(float), footprints.peak_y.astype(float)
    score = signal_over_noise(scene, footprints.labels)
    blend = footprints.blend_probability
    return Found(
        footprints.labels, *places, score, footprints.classes, None if blend is None else blend.astype(np.float64)
    )


def found_by_measuring(scene: Scene) -> Found:
    """Detect and take apart as skymill does without a segmenter."""
    return found_as(scene, detect(scene.tile, stack_bands(scene.sky, scene.fwhm_px), MeasureSettings()))


def found_by_sep(scene: Scene) -> Found:
    """Detect and deblend with SEP and all its defaults, 1.5 sigma and 5 pixels, on the sum of all bands."""
    import sep

    stack = stack_bands(scene.sky, scene.fwhm_px)
    unseen = stack.weight == 0
    noise = np.sqrt(np.divide(1, stack.weight, out=np.ones_like(stack.weight), where=~unseen))
    objects, labels = sep.extract(
        stack.flux, SEP_SIGMA, err=noise, mask=unseen, minarea=LEAST_AREA_PX, segmentation_map=True
    )
    return Found(labels, objects["x"], objects["y"], signal_over_noise(scene, labels))


def signal_over_noise(scene: Scene, labels: NDArray[np.int32]) -> Array:
    """Give the signal of each source's pixels over its noise, all bands together, (m,)."""
    n = int(labels.max(initial=0))
    weighted = np.bincount(labels.ravel(), (scene.sky.pixels * scene.sky.weight).sum(axis=0).ravel(), n + 1)[1:]
    weight = np.bincount(labels.ravel(), scene.sky.weight.sum(axis=0).ravel(), n + 1)[1:]
    return np.divide(weighted, np.sqrt(weight), out=np.zeros(n), where=weight > 0)


def true_labels(scene: Scene) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Give the source of each pixel, 1 to n and 0, without those of fewer than `LEAST_AREA_PX`, and their rows."""
    owner = scene.instances
    area = np.bincount(owner.ravel(), minlength=len(scene.true["x"]) + 1)[1:]
    rows = np.flatnonzero(area >= LEAST_AREA_PX)
    number = np.zeros(len(area) + 1, np.int32)
    number[rows + 1] = np.arange(1, len(rows) + 1)
    return number[owner], rows


def unrecognised(scene: Scene, labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Say which sources are unrecognised blends, (m,): on their pixels lie the centres of two visible sources or more
    of which the second has `COMPANION` of the first one's i flux or more."""
    true = scene.true
    rows = np.flatnonzero(true["visible"])
    y, x = (np.rint(true[axis][rows]).astype(int).clip(0, side - 1) for axis, side in zip("yx", labels.shape))
    owner, flux = labels[y, x], true["i_flux"][rows]
    blended = np.zeros(int(labels.max(initial=0)) + 1, bool)
    order = np.lexsort((-flux, owner))
    second = np.flatnonzero(owner[order][1:] == owner[order][:-1]) + 1
    first = np.searchsorted(owner[order], owner[order][second])
    enough = flux[order][second] >= COMPANION * flux[order][first]
    blended[owner[order][second][enough]] = True
    return blended[1:]


@dataclass(frozen=True)
class Judged:
    """What one scene says of a method: counts and lists, which scenes can be put together of."""

    score: Array
    hit: NDArray[np.bool_]  # (thresholds, m)
    overlap: Array  # of the hits at the lowest threshold
    n_true: int
    confusion: NDArray[np.int64]  # pixels, (classes, classes): true, said
    place_hit: NDArray[np.bool_]  # (m,): a true source's position is near
    pairs: NDArray[np.bool_]  # close pairs: both found
    blended: NDArray[np.bool_]
    probability: Array


def judge_scene(scene: Scene, found: Found) -> Judged:
    """Hold what was found on a scene against its truth."""
    labels, rows = true_labels(scene)
    overlap = overlaps(pixels_of_labels(labels), pixels_of_labels(found.labels))
    partners = np.stack([assign(overlap, found.score, threshold) for threshold in THRESHOLDS])
    hit = np.flatnonzero(partners[0] != NONE)
    return Judged(
        found.score,
        partners != NONE,
        overlap[partners[0][hit], hit],
        len(rows),
        _confusion(scene, found),
        _near(scene, rows, found),
        _pairs(scene, found),
        unrecognised(scene, found.labels),
        np.full(len(found.score), np.nan) if found.blend is None else found.blend,
    )


def _confusion(scene: Scene, found: Found) -> NDArray[np.int64]:
    """Count pixels by true class and by what is said of them: of a pixel with a weight."""
    n = len(CLASSES)
    if found.classes is None:
        return np.zeros((n, n), np.int64)
    seen = (scene.sky.weight > 0).any(axis=0)
    true = true_classes(scene).astype(np.int64)
    return np.bincount(true[seen] * n + found.classes[seen], minlength=n * n).reshape(n, n)


def _near(scene: Scene, rows: NDArray[np.int64], found: Found) -> NDArray[np.bool_]:
    """Say which sources are within half a seeing disc of a true one, each of another."""
    partner = match(
        _places(scene)[rows], scene.true["i_flux"][rows], np.stack([found.x, found.y], 1), scene.fwhm_px / 2
    )
    return np.isin(np.arange(len(found.score)), partner)


def _places(scene: Scene) -> Array:
    return np.stack([scene.true["x"], scene.true["y"]], axis=1)


def _pairs(scene: Scene, found: Found) -> NDArray[np.bool_]:
    """Say of each two visible sources within a seeing disc, the fainter of `COMPANION` or more, whether both are found:
    each has a detection of its own within half of that."""
    true = scene.true
    rows = np.flatnonzero(true["visible"])
    flux = true["i_flux"][rows]
    places = _places(scene)[rows]
    partner = match(places, flux, np.stack([found.x, found.y], axis=1), scene.fwhm_px / 2)
    pairs = cKDTree(places).query_pairs(scene.fwhm_px, output_type="ndarray")
    fainter, brighter = np.sort(flux[pairs], axis=1).T
    return (partner[pairs[fainter >= COMPANION * brighter]] != NONE).all(axis=1)


def summarise(scenes: Sequence[Judged], *, seed: int) -> dict[str, Any]:
    """Give every metric of some scenes, `value` with `low` and `high`; None where there is nothing to tell it of."""
    random = np.random.default_rng(seed)
    drawn = [random.integers(len(scenes), size=len(scenes)) for _ in range(RESAMPLES)]
    told = _metrics(scenes)
    resampled = [_metrics([scenes[number] for number in numbers]) for numbers in drawn]
    return {name: _interval(value, [each[name] for each in resampled]) for name, value in told.items()}


def _interval(value: float, resampled: Sequence[float]) -> dict[str, float] | None:
    if not np.isfinite(value):
        return None
    low, high = np.nanpercentile(resampled, LEVEL)
    return {"value": value, "low": float(low), "high": float(high)}


def _metrics(scenes: Sequence[Judged]) -> dict[str, float]:
    score = np.concatenate([scene.score for scene in scenes])
    hit = np.concatenate([scene.hit for scene in scenes], axis=1)
    n_true = sum(scene.n_true for scene in scenes)
    precisions = [average_precision_of(one, score, n_true) for one in hit]
    confusion = np.sum([scene.confusion for scene in scenes], axis=0)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - np.diag(confusion)
    iou = np.divide(np.diag(confusion), either, out=np.full(len(CLASSES), np.nan), where=either > 0)
    blended = np.concatenate([scene.blended for scene in scenes])
    probability = np.concatenate([scene.probability for scene in scenes])
    pairs = np.concatenate([scene.pairs for scene in scenes])
    return {
        "ap": float(np.mean(precisions)),
        "ap50": precisions[0],
        "recall50": hit[0].sum() / n_true,
        "precision50": float(hit[0].mean()),
        "recall_of_places": np.concatenate([scene.place_hit for scene in scenes]).sum() / n_true,
        "precision_of_places": float(np.concatenate([scene.place_hit for scene in scenes]).mean()),
        "median_iou": float(np.median(np.concatenate([scene.overlap for scene in scenes]))),
        "iou_star": float(iou[STAR]),
        "iou_galaxy": float(iou[GALAXY]),
        "pairs_parted": float(pairs.mean()) if len(pairs) else np.nan,
        "blended_share": float(blended.mean()),
        "blend_auc": area_under_roc(probability, blended),
        "blend_brier": float(np.mean(np.square(probability - blended))),
    }


def area_under_roc(score: Array, positive: NDArray[np.bool_]) -> float:
    """Give the probability that a positive has a higher score than a negative, ties half (Hanley & McNeil 1982)."""
    from scipy.stats import rankdata

    n, m = np.count_nonzero(positive), np.count_nonzero(~positive)
    if not n or not m or np.isnan(score).any():
        return float("nan")
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))
