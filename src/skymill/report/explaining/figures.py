"""The plots of a network: stamps with what speaks for their class, feature maps, neighbours, maps of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skymill.report.explaining.vectors import Nuisance
from skymill.report.figures import COLOURS, WIDTH

CELL = 1.15
"""Inches along a side of a stamp."""
SOFTENING = 3.0
"""Noise of a pixel, in units of its own, at which the asinh of a drawn stamp turns from linear to logarithmic."""
MOST_GROUPS = 7
"""That are drawn in colours of their own."""


def shown(stamp: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give the picture (k, k) of a stamp (2, bands, k, k): signal over noise of all bands, on an asinh scale."""
    flux, weight = stamp.astype(np.float64)
    total = weight.sum(axis=0)
    signal = np.divide((flux * weight).sum(axis=0), np.sqrt(total), out=np.zeros_like(total), where=total > 0)
    return np.asarray(np.arcsinh(signal / SOFTENING))


def draw_attributions(
    stamps: NDArray[np.float32],
    gradients: NDArray[np.float64] | None,
    lost: NDArray[np.float64],
    said: Sequence[str],
) -> Figure:
    """Draw a row for each stamp (n, 2, bands, k, k): itself, integrated gradients over all bands, lost probability."""
    columns = 2 if gradients is None else 3
    figure = Figure(figsize=(CELL * columns + 0.6, CELL * len(stamps) + 0.4), layout="constrained")
    panels = figure.subplots(len(stamps), columns, squeeze=False)
    titles = ["stamp", "gradients", "covered"] if columns == 3 else ["stamp", "covered"]
    for axes, title in zip(panels[0], titles):
        axes.set_title(title, fontsize=8)
    for number, row in enumerate(panels):
        _show(row[0], shown(stamps[number]), cmap="gray")
        row[0].set_ylabel(said[number], fontsize=7)
        if gradients is not None:
            _show_signed(row[1], gradients[number].sum(axis=0))
        _show_signed(row[-1], lost[number])
    return figure


def draw_feature_maps(stamp: NDArray[np.float32], maps: NDArray[np.float32], *, most: int = 11) -> Figure:
    """Draw a stamp and the first maps (channels, m, m) that a network makes of it, those that vary most."""
    chosen = np.argsort(-maps.std(axis=(1, 2)), kind="stable")[:most]
    figure = Figure(figsize=(WIDTH, WIDTH / 4 * -(-(len(chosen) + 1) // 4)), layout="constrained")
    panels = figure.subplots(-(-(len(chosen) + 1) // 4), 4, squeeze=False).ravel()
    _show(panels[0], shown(stamp), cmap="gray")
    for axes, channel in zip(panels[1:], chosen):
        _show(axes, maps[channel], cmap="viridis")
        axes.set_title(str(channel), fontsize=7)
    for axes in panels[len(chosen) + 1 :]:
        axes.set_axis_off()
    return figure


def draw_neighbours(
    queries: NDArray[np.float32], named: Sequence[str], near: NDArray[np.float32], near_named: Sequence[Sequence[str]]
) -> Figure:
    """Draw each query (n, 2, bands, k, k) and, beside it, its neighbours (n, m, 2, bands, k, k), with their classes."""
    columns = 1 + near.shape[1]
    figure = Figure(figsize=(0.85 * columns, 1.05 * len(queries)), layout="constrained")
    panels = figure.subplots(len(queries), columns, squeeze=False)
    for number, row in enumerate(panels):
        names = [named[number], *near_named[number]]
        for axes, stamp, name in zip(row, [queries[number], *near[number]], names):
            _show(axes, shown(stamp), cmap="gray")
            axes.set_title(name, fontsize=7, color=COLOURS[0] if name == named[number] else COLOURS[1])
    return figure


def draw_map(places: NDArray[np.float64], values: NDArray[Any], names: Sequence[str] | None, title: str) -> Figure:
    """Draw vectors in a plane (n, 2), coloured by group (`names` of the numbers in `values`) or by number."""
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    axes = figure.add_subplot()
    style: dict[str, Any] = {"s": 9, "linewidths": 0, "alpha": 0.8, "rasterized": True}
    if names is not None and len(names) <= MOST_GROUPS:
        for number, name in enumerate(names):
            axes.scatter(*places[values == number].T, color=COLOURS[number], label=name, **style)
        figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=8, title=title, title_fontsize=9)
    else:
        drawn = axes.scatter(places[:, 0], places[:, 1], c=values, cmap="viridis", **style)
        figure.colorbar(drawn, ax=axes, label=title)
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


def draw_nuisances(found: Sequence[Nuisance]) -> Figure:
    """Draw how well each is told, with its interval and with chance; what shows is orange."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.45 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    for place, one in enumerate(found):
        axes.plot([one.chance] * 2, [place - 0.3, place + 0.3], color="0.4", linestyle="--")
        reach = [[max(one.value - one.low, 0)], [max(one.high - one.value, 0)]]
        axes.errorbar(one.value, place, xerr=reach, fmt="o", capsize=2, color=COLOURS[1] if one.shows else COLOURS[0])
    axes.set_yticks(range(len(found)), [f"{one.name}\n{one.measure}" for one in found], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(right=1.02)
    axes.set_xlabel("told by the vectors; dashed: by chance")
    return figure


def _show(axes: Axes, picture: NDArray[Any], **options: Any) -> None:
    axes.imshow(picture, origin="lower", interpolation="nearest", **options)
    axes.set_xticks([])
    axes.set_yticks([])


def _show_signed(axes: Axes, picture: NDArray[np.float64]) -> None:
    """Red speaks for the class, blue against it."""
    most = float(np.abs(picture).max()) or 1.0
    _show(axes, picture, cmap="RdBu_r", vmin=-most, vmax=most)
