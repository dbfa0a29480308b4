"""Stamps on which an exported model must agree with the fitted one: real ones, changed ones and hard ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skymill.export.metadata import DISTANCE, FLUX, INVERSE_VARIANCE, OUTPUT, VOTES
from skymill.export.parity import Parity, compare
from skymill.export.probe import Probe
from skymill.models.votes import fractions
from skymill.training.stamp_set import held_out_stamps

if TYPE_CHECKING:
    from skymill.training.fitting import Fit

SEED = 0
HELD_OUT = "held out"
MORE_NOISE = 0.5
"""Noise added to a changed stamp, in units of its own."""
HUGE, TINY = np.float32(1e30), np.float32(1e-12)


def measure_stamp_parity(fit: Fit, session: Any, *, rows: int) -> Parity:
    """Compare a fitted model with its ONNX file on stamps that it has not learned from.

    The held-out stamps that the fit has kept, as they are and then again, turned and with more noise, until there are
    `rows`; after them what a survey may hold: no weight at all, single bands, fluxes beyond all others, no light.
    """
    stamps, labels, _ = held_out_stamps(fit.folder)
    vectors, fitted, exported, distances, all_labels, origins = [], [], [], [], [], []
    farthest = 0.0
    for origin, some in rounds_of(stamps, rows):
        known = labels if origin == HELD_OUT else np.full(len(labels), -1)
        vector = fit.model.encode(some)  # type: ignore[attr-defined]  # of a model that looks at stamps
        inputs = {FLUX: np.ascontiguousarray(some[:, 0]), INVERSE_VARIANCE: np.ascontiguousarray(some[:, 1])}
        probabilities, distance, *votes = session.run([OUTPUT, DISTANCE, *([VOTES] if fit.votes else [])], inputs)
        vectors.append(vector)
        fitted.append(fit.predict_probabilities(vector))
        exported.append(probabilities)
        distances.append((fit.distance(vector), distance))
        if fit.votes is not None:
            farthest = max(farthest, fraction_difference(fit.tell_votes(vector), votes[0], fit.votes.sizes))
        all_labels.append(known)
        origins.append(np.full(len(some), origin))
    probe = Probe(np.concatenate(vectors), np.concatenate(all_labels), np.concatenate(origins))
    sides = [np.concatenate(side) for side in zip(*distances)]
    names = [feature["name"] for feature in fit.features]
    parity = compare(
        probe, np.concatenate(fitted), np.concatenate(exported), distances=(sides[0], sides[1]), features=names
    )
    return parity if fit.votes is None else replace(parity, max_fraction_difference=farthest)


def fraction_difference(
    fitted: NDArray[np.floating], exported: NDArray[np.floating], questions: Sequence[int]
) -> float:
    """Give the largest difference of the fraction of any answer, or of its error, between concentrations (n, a) of two
    sides; a NaN counts as infinity."""
    both = zip(fractions(fitted, questions), fractions(exported, questions), strict=True)
    difference = np.stack([np.abs(here - there) for here, there in both])
    return float(np.where(np.isfinite(difference), difference, np.inf).max())


def rounds_of(stamps: NDArray[np.float32], rows: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Give origin and stamps (m, 2, bands, k, k) of each round.

    First the stamps as they are (`held out`), then changed ones until there are `rows` together (`changed`), then hard
    ones, by what is hard about them.
    """
    random = np.random.default_rng(SEED)
    yield HELD_OUT, stamps
    for turn in range(1, -(-rows // len(stamps))):
        yield "changed", _changed(stamps, turn, random)
    yield from _hard(stamps).items()


def _changed(stamps: NDArray[np.float32], turn: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Turn stamps by quarters, mirror every other four, add noise where they have weight."""
    turned = np.rot90(stamps, turn % 4, axes=(-2, -1))
    turned = turned[..., ::-1] if turn % 8 >= 4 else turned
    flux, weight = turned[:, 0], turned[:, 1]
    sigma = np.divide(1.0, np.sqrt(weight), out=np.zeros_like(weight), where=weight > 0)
    noise = MORE_NOISE * sigma * random.normal(size=flux.shape).astype(np.float32)
    return np.stack([flux + noise, weight / np.float32(1 + MORE_NOISE**2)], axis=1)


def _hard(stamps: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    flux, weight = stamps[:, 0], stamps[:, 1]
    one_band = np.zeros_like(weight)
    bands = np.arange(len(stamps)) % weight.shape[1]
    one_band[np.arange(len(stamps)), bands] = weight[np.arange(len(stamps)), bands]
    nothing = np.zeros_like(weight)
    cases = {
        "no weight": (nothing, nothing),
        "one band": (np.where(one_band > 0, flux, np.float32(0)), one_band),
        "no light": (nothing, weight),
        "negative": (-flux, weight),
        "huge": (np.where(weight > 0, HUGE, np.float32(0)), weight),
        "tiny": (flux * TINY, weight),
    }
    return {name: np.stack(case, axis=1) for name, case in cases.items()}
