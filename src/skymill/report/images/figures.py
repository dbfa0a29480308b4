"""The plots of a survey of images: each takes numbers as `images.json` has them and gives a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skymill.report.figures import COLOURS, WIDTH, style_of
from skymill.report.images.gather import Array
from skymill.report.images.residuals import BEYOND
from skymill.report.images.sample import Sample

MOST_SHOWN = 3.0
"""Mean pull at which the figure ends."""
GOOD_MEAN, GOOD_WIDTH = 0.1, (0.9, 1.2)
"""Of pulls: what is shaded."""
BAND_COLOURS = dict(zip("ugrizy", ("#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#000000"), strict=True))
KINDS = {"psf": "PSF", "kron": "Kron"}
Facts = Mapping[str, Any]


def draw_counts(counts: Facts) -> Figure:
    """Draw the sources by magnitude in each band, where the counts turn over, and the depth of a point source."""
    bands, edges = counts["bands"], np.asarray(counts["edges"])
    rows = -(-len(bands) // 2)
    figure = Figure(figsize=(2 * WIDTH, 0.5 + 1.9 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (band, one) in zip(panels, bands.items()):
        for kind, colour in zip(KINDS, COLOURS):
            axes.stairs(np.maximum(one[kind], 0.5), edges, color=colour, linewidth=1.4, label=KINDS[kind])
            if one[f"{kind}_turnover"] is not None:
                axes.axvline(one[f"{kind}_turnover"], color=colour, linestyle=":", linewidth=1.2)
        if one["depth_5_sigma"] is not None:
            axes.axvline(one["depth_5_sigma"], color="0.3", linestyle="--", linewidth=1.2)
        axes.text(0.03, 0.92, band, transform=axes.transAxes, fontsize=13, fontweight="bold", va="top")
        axes.set_yscale("log")
    for axes in panels[len(bands) :]:
        axes.set_axis_off()
    for axes in panels[max(len(bands) - 2, 0) : len(bands)]:
        axes.tick_params(labelbottom=True)
    panels[0].set_ylim(bottom=0.7)
    panels[0].set_xlim(*_span([one[kind] for one in bands.values() for kind in KINDS], edges))
    panels[0].legend(frameon=False, loc="center left", fontsize=9)
    figure.supxlabel("AB magnitude", fontsize=10)
    figure.supylabel(f"sources per {edges[1] - edges[0]:g} mag", fontsize=10)
    return figure


def _span(counts: Sequence[Sequence[int]], edges: Array) -> tuple[float, float]:
    """Give the magnitudes between which anything was counted."""
    filled = np.flatnonzero(np.sum(counts, axis=0))
    return (edges[filled[0]] - 0.5, edges[filled[-1] + 1] + 0.5) if len(filled) else (edges[0], edges[-1])


def draw_star_galaxy(diagram: Sample, band: str) -> Figure:
    """Draw size against magnitude, coloured by how extended a source is taken to be."""
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.scatter(
        diagram["magnitude"],
        diagram["size"],
        c=np.nan_to_num(diagram["extendedness"], nan=0.5),
        s=5,
        linewidths=0,
        cmap="coolwarm",
        vmin=0,
        vmax=1,
        rasterized=True,
    )
    shown = np.isfinite(diagram["magnitude"]) & np.isfinite(diagram["size"])
    if shown.any():
        axes.set_xlim(np.percentile(diagram["magnitude"][shown], [0.1, 99.5]) + [-0.5, 0.5])
        axes.set_ylim(0, 1.15 * np.percentile(diagram["size"][shown], 99.5))
    axes.set_xlabel(f"{band} Kron magnitude")
    axes.set_ylabel("half-light radius (pixels)")
    figure.colorbar(drawn, ax=axes, label="extendedness")
    return figure


def draw_kinds(facts: Facts) -> Figure:
    """Draw how many sources are called point sources and how many extended, by magnitude."""
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    axes, edges = figure.add_subplot(), np.asarray(facts["edges"])
    for kind, colour in (("point", "#3b4cc0"), ("extended", "#b40426"), ("unknown", "0.6")):
        if any(facts[kind]):
            axes.stairs(np.maximum(facts[kind], 0.5), edges, color=colour, linewidth=1.4, label=kind)
            axes.legend(frameon=False, loc="upper left")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.set_xlim(*_span([facts[kind] for kind in ("point", "extended", "unknown")], edges))
    axes.set_xlabel(f"{facts['band']} Kron magnitude")
    axes.set_ylabel(f"sources per {edges[1] - edges[0]:g} mag")
    return figure


def draw_shares(edges: Sequence[float], curves: Mapping[str, Facts], x: str, y: str) -> Figure:
    """Draw shares of hits by bin with their intervals; empty bins have no point."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    plot_shares(figure.add_subplot(), edges, curves, x, y)
    return figure


def plot_shares(axes: Axes, edges: Sequence[float], curves: Mapping[str, Facts], x: str, y: str) -> None:
    """Plot what `draw_shares` draws."""
    middle = 0.5 * (np.asarray(edges)[1:] + np.asarray(edges)[:-1])
    for number, (name, curve) in enumerate(curves.items()):
        share, low, high = (np.array(curve[key], float) for key in ("share", "low", "high"))
        kept = np.asarray(curve["n"]) > 0
        error = np.maximum([share[kept] - low[kept], high[kept] - share[kept]], 0)
        axes.errorbar(middle[kept], share[kept], yerr=error, capsize=2, linewidth=1.2, label=name, **style_of(number))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(-0.03, 1.05)
    axes.grid(alpha=0.25)
    if len(curves) > 1:
        axes.legend(frameon=False, loc="best")


def draw_residuals(bands: Facts, edges: Sequence[float]) -> Figure:
    """Draw, by true magnitude, the median residual in magnitudes, and mean and width of the pulls, for every band."""
    figure = Figure(figsize=(WIDTH, 6.2), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    middle = 0.5 * (np.asarray(edges)[1:] + np.asarray(edges)[:-1])
    panels[0].axhline(0, color="0.6", linewidth=1)
    panels[1].axhspan(-GOOD_MEAN, GOOD_MEAN, color="0.9")
    panels[2].axhspan(*GOOD_WIDTH, color="0.9")
    for number, (band, one) in enumerate(bands.items()):
        shift = 0.05 * (number - 0.5 * (len(bands) - 1))  # bars side by side
        style: dict[str, Any] = {"color": BAND_COLOURS.get(band, COLOURS[number % len(COLOURS)]), "capsize": 2}
        style |= {"linewidth": 1.1, "marker": "o", "markersize": 3.5, "label": band}
        for axes, (value, error) in zip(panels, _series(one["bins"]), strict=True):
            kept = np.isfinite(value)
            axes.errorbar(middle[kept] + shift, value[kept], yerr=error[:, kept], **style)
    panels[0].set_ylabel("measured − true (mag)")
    panels[0].set_ylim(-0.32, 0.32)
    panels[1].set_ylabel("mean pull")
    low, high = panels[1].get_ylim()
    reach = min(max(-low, high, 1.0), MOST_SHOWN)
    panels[1].set_ylim(-reach, reach)
    panels[2].set_ylabel("width of pulls")
    panels[2].set_ylim(0, 3)
    panels[2].set_xlabel("true AB magnitude in the band")
    panels[0].legend(frameon=False, ncols=6, fontsize=9, loc="upper left", columnspacing=0.9, handletextpad=0.3)
    return figure


def _series(bins: Sequence[Facts]) -> list[tuple[Array, Array]]:
    """Give values and errors (2, bins) of residual, mean and width."""
    nothing = {"median": np.nan, "low": np.nan, "high": np.nan}
    residual = [one["residual"] or nothing for one in bins]
    median, low, high = (np.array([one[key] for one in residual], float) for key in ("median", "low", "high"))
    mean, width = (np.array([one[key] for one in bins], float) for key in ("mean", "width"))
    n = np.maximum([one["n"] - one["outliers"] for one in bins], 2)
    root = np.sqrt(np.maximum([one["n"] for one in bins], 1))
    return [
        (median, np.array([median - low, high - median]) / root),
        (mean, np.array([width, width]) / np.sqrt(n)),
        (width, np.array([width, width]) / np.sqrt(2 * (n - 1))),
    ]


def draw_pulls(sample: Sample, kind: str, bands: Sequence[str], *, point_sources: bool) -> Figure:
    """Draw the pulls of each band beside the normal distribution."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.add_subplot()
    edges = np.linspace(-BEYOND, BEYOND, 41)
    chosen = sample["point"] == point_sources if len(sample) else np.empty(0, bool)
    for number, band in enumerate(bands if chosen.any() else ()):
        true, flux, error = (sample[name][chosen, number] for name in ("true", kind, f"{kind}Err"))
        pull = ((flux - true) / error)[error > 0]
        colour = BAND_COLOURS.get(band, COLOURS[number % len(COLOURS)])
        axes.stairs(np.histogram(pull, edges, density=True)[0], edges, color=colour, linewidth=1.2, label=band)
    x = np.linspace(-BEYOND, BEYOND, 201)
    axes.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color="0.5", linestyle="--", linewidth=1)
    axes.set_xlabel("(measured − true) / error")
    axes.set_ylabel("density")
    axes.legend(frameon=False)
    return figure
