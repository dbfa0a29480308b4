"""From packed posteriors to columns of a catalogue: everything that computes or describes one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skymill.inference.form import DISTANCE, distance_form, pixels_form
from skymill.inference.kernel import MODEL_FAILED, OUTSIDE_TRAINING, STAMP_FLAGS, SUM_TOLERANCE, Answer, half
from skymill.models.distance import LIMIT
from skymill.models.mixture import LEVELS, Mixture, packed_width
from skymill.models.quantities import find_quantity
from skymill.store.flags import with_flags
from skymill.store.variable import IDENTITY, Variable

POSTERIOR = "posterior"


def posterior_rows(
    block: Mapping[str, NDArray[Any]],
    answer: Answer,
    lacking: NDArray[np.int32],
    quantities: Sequence[str],
    levels: ArrayLike = LEVELS,
) -> dict[str, NDArray[Any]]:
    """Judge what a model of structure gives.

    Parameters
    ----------
    block : mapping
        Ids, positions and flags of n rows.
    answer : Answer
        Packed posteriors (n, width), and distances from the training rows; both are changed.
    lacking : ndarray of int32, (n,)
        The bit that says why a row has no answer; 0 where it has one.
    quantities : sequence of str, (q,)
    levels : array_like, (5,) or (q, 5)
        Of the marginals, whose quantiles are told in place of `LEVELS`.

    Returns
    -------
    dict of ndarray
        `flags`; of each quantity ``<name>`` (its median), ``<name>_err`` (half of the central 68 %) and
        ``<name>_quantiles`` (n, 5), float32 in its unit; `posterior` (n, width); `training_distance`. NaN where there
        is no answer.
    """
    packed, distance = answer.output, answer.distance
    assert distance is not None  # every model of structure tells it
    flags = lacking.copy()
    asked = lacking == 0
    failed = asked & ~_is_mixture(packed, len(quantities))
    flags[asked & ~(distance <= LIMIT)] = OUTSIDE_TRAINING.mask
    flags[failed] = MODEL_FAILED.mask
    lost = failed | ~asked
    packed[lost], distance[lost] = np.nan, np.nan
    scaled = np.full((len(packed), len(quantities), len(LEVELS)), np.nan)
    scaled[~lost] = Mixture.unpacked(packed[~lost], len(quantities)).quantiles(levels)
    columns: dict[str, NDArray[Any]] = {}
    for number, name in enumerate(quantities):
        values = find_quantity(name).unscaled(scaled[:, number]).astype(np.float32)
        columns |= {
            name: values[:, 2],
            f"{name}_err": (values[:, 3] - values[:, 1]) / 2,
            f"{name}_quantiles": values,
        }
    identity = {name: block[name] for name in IDENTITY}
    return identity | {"flags": block["flags"] | flags, **columns, POSTERIOR: packed, DISTANCE: half(distance)}


def _is_mixture(packed: NDArray[np.float32], quantities: int) -> NDArray[np.bool_]:
    """Tell rows (n,) that hold a mixture: finite, weights of sum 1, widths above 0."""
    mixture = Mixture.unpacked(packed, quantities)
    widths = np.diagonal(mixture.cholesky, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):
        whole = np.abs(mixture.weights.sum(axis=1) - 1) <= SUM_TOLERANCE
        return whole & np.isfinite(packed).all(axis=1) & (mixture.weights >= 0).all(axis=1) & (widths > 0).all((1, 2))


def posterior_form(
    identity: Mapping[str, Variable], quantities: Sequence[str], components: int, bands: tuple[str, ...]
) -> dict[str, Variable]:
    """Describe the arrays of a tile; ids and positions are described as in the feature tile.

    Parameters
    ----------
    identity : mapping of str to Variable
    quantities : sequence of str, (q,)
    components : int
        Gaussians of a posterior.
    bands : tuple of str
        Of the stamps.
    """
    form = {**identity, "flags": with_flags(identity["flags"], STAMP_FLAGS)}
    for name in quantities:
        what = find_quantity(name)
        form |= {
            name: Variable.of_rows(
                np.float32, units=what.unit, long_name=f"{what.meaning}: median of the posterior", ucd=what.ucd
            ),
            f"{name}_err": Variable.of_rows(
                np.float32,
                units=what.unit,
                long_name=f"{what.meaning}: half of the central 68 % of the posterior",
                ucd=f"stat.error;{what.ucd.partition(';')[0]}",
            ),
            f"{name}_quantiles": Variable.of_rows(
                np.float32,
                dim="quantile",
                columns=tuple(f"{level:g}" for level in LEVELS),
                units=what.unit,
                long_name=f"{what.meaning}: quantiles of the posterior",
                ucd=what.ucd,
            ),
        }
    form[POSTERIOR] = Variable.of_rows(
        np.float32,
        dim="posterior_parameter",
        size=packed_width(components, len(quantities)),
        long_name="joint posterior, a mixture of Gaussians on the scales of the quantities: weights, means, and rows "
        "of the lower triangles of Cholesky, Gaussian by Gaussian",
        quantities=" ".join(quantities),
        scales=" ".join(find_quantity(name).scale for name in quantities),
        components=components,
    )
    return {**form, DISTANCE: distance_form(), **pixels_form(bands)}
