"""The page that shows what a network of stamps looks at, and what its vectors know."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.report.explaining.attribution import integrated_gradients, occlusion
from skymill.report.explaining.figures import (
    draw_attributions,
    draw_feature_maps,
    draw_map,
    draw_neighbours,
    draw_nuisances,
)
from skymill.report.explaining.vectors import FOLDS, Nuisance, flat_map, neighbours, tell_group, tell_number
from skymill.report.gallery import Gallery, Picture, embed
from skymill.report.writing import write_page
from skymill.training.fitting import Fit

PAGE = "explanation.html"
OF_A_KIND = 4
"""Stamps of a class that are explained, right ones and wrong ones each."""
NEAREST = 5
PATCH = 4


@dataclass(frozen=True)
class Stamps:
    """Stamps of one split, and what is known of each."""

    stamps: NDArray[np.float32]
    """(n, 2, bands, k, k)"""
    labels: NDArray[np.int64]
    magnitude: NDArray[np.float32]
    tile: NDArray[np.int64]
    """Number of the image tile, counted from 0."""
    seeing_arcsec: NDArray[np.float64]
    """Width of the PSF of the tile, mean of its bands; NaN where it has none."""

    @property
    def noise(self) -> NDArray[np.float64]:
        """Log10 of the noise of a stamp's pixels (median) over what is usual in the band, mean over its bands."""
        weight = np.ma.masked_equal(self.stamps[:, 1].astype(np.float64), 0)
        by_band = -0.5 * np.ma.log10(np.ma.median(weight.reshape(*weight.shape[:2], -1), axis=2))  # (n, bands)
        return np.asarray((by_band - np.ma.median(by_band, axis=0)).mean(axis=1).filled(np.nan))


def write_explanation(
    fit: Fit, test: Stamps, train: Stamps, folder: Path, *, tiles: list[str], seed: int
) -> dict[str, Any]:
    """Write `explanation.html`, and give the numbers on it.

    Parameters
    ----------
    fit : Fit
        Of a kind that makes vectors of stamps (`encode`); with a torch `encoder` and `head` gradients are taken too.
    test, train : Stamps
        Of the test and the train split.
    folder : Path
    tiles : list of str
        Names of the image tiles.
    seed : int
        Of the folds, the bootstrap and UMAP.
    """
    model: Any = fit.model
    classes = list(fit.manifest["classes"])
    vectors = model.encode(test.stamps)
    probabilities = fit.predict_probabilities(vectors)
    found = nuisances(vectors, test, seed=seed)
    numbers: dict[str, Any] = {"nuisances": [asdict(one) | {"shows": one.shows} for one in found]}
    galleries = [_attributions(fit, test, probabilities, classes, numbers)]
    galleries += _feature_maps(model, test, probabilities, classes)
    galleries.append(_neighbours(test, train, vectors, model.encode(train.stamps), probabilities, classes))
    galleries.append(_maps(test, vectors, classes, tiles, numbers, seed))
    if found:
        told = "; ".join(f"{one.name} {one.value:.2f} ({one.low:.2f} to {one.high:.2f})" for one in found)
        picture = embed(draw_nuisances(found), "", told)
        galleries.append(
            Gallery(
                "nuisances",
                "What should not matter",
                "A linear model reads it from the vectors, each fifth of the test stamps by the others. Orange: more "
                "than by chance, so that the network may judge by it where it goes with the class.",
                [picture],
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    content = {"model": fit.manifest["name"], "fit": fit.folder.name, "galleries": galleries, "nuisances": found}
    write_page(folder / PAGE, "explaining.html", content | {"n": len(test.labels), "version": version("skymill")})
    return numbers


def nuisances(vectors: NDArray[np.float32], test: Stamps, *, seed: int) -> list[Nuisance]:
    """Say how well seeing, noise and tile can be read from vectors, each where it varies."""
    found = []
    for name, value in (("seeing", test.seeing_arcsec), ("noise", test.noise)):
        if np.isfinite(value).all() and np.ptp(value) > 0:
            found.append(tell_number(name, vectors, value, seed=seed))
    counts = np.bincount(test.tile)
    kept = np.isin(test.tile, np.flatnonzero(counts >= FOLDS))
    if len(np.unique(test.tile[kept])) > 1:
        found.append(tell_group("tile", vectors[kept], test.tile[kept], seed=seed))
    return found


def chosen(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], kind: int, *, right: bool
) -> NDArray[np.int64]:
    """Give rows of one class, the surest first: those called so, or those called something else."""
    called = probabilities.argmax(axis=1)
    rows = np.flatnonzero((labels == kind) & ((called == kind) == right))
    return rows[np.argsort(-probabilities[rows].max(axis=1), kind="stable")][:OF_A_KIND]


def _attributions(
    fit: Fit, test: Stamps, probabilities: NDArray[np.float64], classes: list[str], numbers: dict[str, Any]
) -> Gallery:
    pictures, errors = [], []
    for kind, name in enumerate(classes):
        for right in (True, False):
            rows = chosen(test.labels, probabilities, kind, right=right)
            if not len(rows):
                continue
            stamps = np.array(test.stamps[rows])
            called = probabilities[rows].argmax(axis=1)
            gradients = None
            if hasattr(fit.model, "encoder") and hasattr(fit.model, "head"):
                gradients, error = _gradients(fit.model, stamps, called)
                errors.append(float(np.abs(error / np.abs(gradients).sum(axis=(1, 2, 3))).max()))
            lost = occlusion(lambda some, called=called: _of_class(fit, some, called), stamps, patch=PATCH)  # type: ignore[misc]
            said = [f"{classes[one]} {probabilities[row].max():.2f}" for one, row in zip(called, rows)]
            title = f"{name}, {'right' if right else 'taken for something else'}"
            alt = f"{len(rows)} stamps of {title}: {', '.join(said)}"
            pictures.append(embed(draw_attributions(stamps, gradients, lost, said), title, alt))
    numbers["completeness_error"] = max(errors) if errors else None
    text = (
        "The surest right and wrong answers of each class. Gradients: the class's score shared out among the pixels "
        "(integrated gradients from no light), summed over the bands. Covered: the probability lost when a square of "
        f"{PATCH} x {PATCH} pixels has no weight. Red speaks for the answer, blue against it."
    )
    return Gallery("attributions", "What it looks at", text, pictures)


def _gradients(
    model: Any, stamps: NDArray[np.float32], called: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import torch

    kinds = torch.from_numpy(called)[:, None]

    def score(flux: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model.head(model.encoder(flux, weight))
        return logits.gather(1, kinds)[:, 0]

    return integrated_gradients(score, stamps[:, 0], stamps[:, 1])


def _of_class(fit: Fit, stamps: NDArray[np.float32], called: NDArray[np.int64]) -> NDArray[np.float64]:
    probabilities = fit.predict_probabilities(fit.model.encode(stamps))  # type: ignore[attr-defined]
    return probabilities[np.arange(len(called)), called]


def _feature_maps(model: Any, test: Stamps, probabilities: NDArray[np.float64], classes: list[str]) -> list[Gallery]:
    """Of a torch encoder with stages: what the first of them gives; of several encoders the first."""
    encoder = getattr(model, "encoder", None)
    encoder = getattr(encoder, "members", [encoder])[0]
    if not hasattr(encoder, "stages"):
        return []
    import torch

    pictures: list[Picture] = []
    for kind, name in enumerate(classes):
        rows = chosen(test.labels, probabilities, kind, right=True)[:1]
        if not len(rows):
            continue
        caught: list[torch.Tensor] = []
        handle = encoder.stages[0].register_forward_hook(lambda _, __, given, caught=caught: caught.append(given))
        model.encode(np.array(test.stamps[rows]))
        handle.remove()
        maps = caught[0][0].numpy()
        alt = f"A stamp of class {name} and the {len(maps)} maps of the first stage, those that vary most."
        pictures.append(embed(draw_feature_maps(test.stamps[rows[0]], maps), name, alt))
    return [Gallery("feature-maps", "What its first stage makes of a stamp", "By number of the channel.", pictures)]


def _neighbours(
    test: Stamps,
    train: Stamps,
    vectors: NDArray[np.float32],
    of_train: NDArray[np.float32],
    probabilities: NDArray[np.float64],
    classes: list[str],
) -> Gallery:
    sides = itertools.product(range(len(classes)), (True, False))
    rows = np.concatenate([chosen(test.labels, probabilities, kind, right=right)[:2] for kind, right in sides])
    near = neighbours(vectors[rows], of_train, min(NEAREST, len(of_train)))
    names = [[classes[label] for label in train.labels[each]] for each in near]
    named = [classes[label] for label in test.labels[rows]]
    figure = draw_neighbours(test.stamps[rows], named, train.stamps[near], names)
    text = "Left a test stamp, beside it the training stamps with the nearest vectors; orange: of another class."
    return Gallery("neighbours", "Nearest neighbours", text, [embed(figure, "", f"{len(rows)} stamps with neighbours")])


def _maps(
    test: Stamps, vectors: NDArray[np.float32], classes: list[str], tiles: list[str], numbers: dict[str, Any], seed: int
) -> Gallery:
    places, method = flat_map(vectors, seed=seed)
    numbers["map"] = method
    coloured: list[tuple[str, NDArray[Any], list[str] | None]] = [
        ("class", test.labels, classes),
        ("magnitude", test.magnitude, None),
        ("seeing (arcsec)", test.seeing_arcsec, None),
        ("tile", test.tile, tiles),
    ]
    pictures = [
        embed(draw_map(places, values, names, title), "", f"Vectors of {len(places)} test stamps by {title}.")
        for title, values, names in coloured
    ]
    text = f"Vectors of the test stamps in a plane ({method}). What should not matter must not show."
    return Gallery("vectors", "Its vectors", text, pictures)
