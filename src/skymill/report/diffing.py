"""The page of a comparison of two versions, for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from skymill.report.diff_figures import draw_flips_against_stated, draw_flips_by_magnitude
from skymill.report.gallery import Gallery, embed
from skymill.report.sky_map import draw_sky_map
from skymill.report.writing import write_page

SHOWN = 25
"""Of the most surprising flips."""
FEWEST_IN_PIXEL = 10


def diff_page(content: Mapping[str, Any], folder: Path) -> Path:
    """Write `index.html` beside what `release.diff` wrote.

    Parameters
    ----------
    content : mapping
        What `diff.json` holds.
    folder : Path

    Returns
    -------
    Path
        The page.
    """
    shown = {"galleries": list(_galleries(content, folder)) if content["flips"]["n"] else []}
    shown |= {"transitions": _transitions(content), "surprising": content["surprising"][:SHOWN]}
    page = folder / "index.html"
    write_page(page, "diff.html", {**content, **shown})
    return page


def _transitions(content: Mapping[str, Any]) -> list[tuple[str, list[tuple[int, float]]]]:
    """Give, for each class before, how many sources went where, and their share of the class."""
    rows = []
    for name, counts in zip(content["classes"], content["transitions"], strict=True):
        total = max(sum(counts), 1)
        rows.append((name, [(n, n / total) for n in counts]))
    return rows


def _galleries(content: Mapping[str, Any], folder: Path) -> Any:
    axis = f"{content['magnitude']} (mag)"
    by_magnitude = embed(
        draw_flips_by_magnitude(content["by_magnitude"], axis=axis),
        "",
        f"Share of flips, and quantiles of the change of probability, against {axis}.",
    )
    yield Gallery(
        "magnitude", "By magnitude", "Bins of 0.5 mag; sources without a magnitude are left out.", [by_magnitude]
    )
    stated = embed(
        draw_flips_against_stated(content["stated"]),
        "",
        "Share of flips by the highest probability before, beside what the probabilities themselves allow.",
    )
    text = (
        "Two draws differ: how often two classes, one drawn from the probabilities of either version, would differ. "
        "Flips up to there are what two models that know how unsure they are do; flips above the chance that the class "
        "before is wrong, by its own account, say that one of the two is too sure of itself."
    )
    yield Gallery("stated", "Against what the models say", text, [stated])
    table = pq.read_table(folder / "map.parquet")
    n, flips = table["n"].to_numpy(), table["flips"].to_numpy()
    full = n >= FEWEST_IN_PIXEL
    figures = draw_sky_map(
        table["pixel"].to_numpy()[full],
        100 * flips[full] / np.maximum(n[full], 1),
        content["map_order"],
        label="flips (%)",
    )
    maps = [
        embed(figure, "", f"Map of the share of flips, field {number} of {len(figures)}.")
        for number, figure in enumerate(figures, start=1)
    ]
    text = f"Pixels of HEALPix order {content['map_order']} with at least {FEWEST_IN_PIXEL} compared sources."
    yield Gallery("map", "Over the sky", text, maps)
