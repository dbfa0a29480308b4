"""What measuring costs as the sky gets denser, up to the middle of a globular cluster.

Each case runs in a process of its own: the rendered survey in six bands with ever more galaxies, then with the stars
of a cluster laid over it (King's profile, core of 5 arcsec; numbers that grow towards the faint end like 10^(0.2 m)).
The cluster's stars have no photon noise of their own.

    python benchmarks/crowding.py --side 1024

Seconds are those of one core's CPU; memory is the most that the process had, pixels and truth included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers import sides
from scipy import signal

from skymill.config.images import MeasureSettings, RenderSettings
from skymill.features.measuring import Measured, MeasureError, measure
from skymill.features.measuring.psf import profiles
from skymill.survey.images import TilePixels
from skymill.survey.rendered import render_tile, tile_names
from skymill.training.matching import NONE, match

DENSITIES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
CLUSTERS = (10_000, 50_000, 200_000, 1_000_000)
CORE_PX, TIDAL_PX = 25.0, 1000.0
BRIGHTEST, FAINTEST, SLOPE = 17.0, 27.0, 0.2
COLOURS = (1.3, 0.4, 0.1, 0.0, -0.05, -0.1)
"""Of the cluster's stars, u to y, relative to i; mag."""
REACH_PX = 40
EDGES = np.arange(17.0, 28.0)


def main() -> None:
    """Run each case in its own process, print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024, help="of the tile, pixels")
    parser.add_argument("--density", type=float, help="one case: galaxies relative to the sky's")
    parser.add_argument("--stars", type=int, default=0, help="one case: stars of a cluster")
    arguments = parser.parse_args()
    if arguments.density is not None:
        print(json.dumps(case(arguments.side, arguments.density, arguments.stars)))
        return
    print(json.dumps(sides.machine()))
    for density, stars in [*((density, 0) for density in DENSITIES), *((1.0, stars) for stars in CLUSTERS)]:
        words = ("--side", arguments.side, "--density", density, "--stars", stars)
        subprocess.run([sys.executable, __file__, *map(str, words)], check=True)


def case(side: int, density: float, stars: int) -> dict[str, Any]:
    """Measure one tile; give what it cost and what came of it."""
    settings = RenderSettings(tiles=(1, 1), tile_px=side, density=density, defects=False)
    tile = render_tile(settings, tile_names(settings)[0])
    magnitude, places = cluster(stars, side)
    add_stars(tile, magnitude, places)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    started = time.process_time()
    told: dict[str, Any] = {"side": side, "density": density, "cluster": stars, "memory_before_MB": round(before)}
    try:
        found = measure(tile, MeasureSettings())
    except MeasureError as error:
        return told | {"cpu_s": round(time.process_time() - started, 2), "refused": str(error)}
    spent = time.process_time() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    told |= {"found": found.n, "cpu_s": round(spent, 2), "ms_a_source": round(1e3 * spent / found.n, 3)}
    told |= {"memory_MB": round(memory), "largest_blend": int(found.n_blended.max())}
    return told | (scores(found, magnitude, places) if stars else {})


def cluster(stars: int, side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw i magnitudes, (n,), and places x, y, (n, 2), of a cluster in the middle of a tile."""
    random = np.random.default_rng(1)
    low, high = 10 ** (SLOPE * BRIGHTEST), 10 ** (SLOPE * FAINTEST)
    magnitude = np.log10(random.uniform(low, high, stars)) / SLOPE
    radii = np.linspace(0.0, TIDAL_PX, 10_000)
    inside = np.cumsum(king(radii) * radii)
    radius = np.interp(random.uniform(0, inside[-1], stars), inside, radii)
    angle = random.uniform(0, 2 * np.pi, stars)
    places = side / 2 + radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    shows = ((places >= 0) & (places <= side - 1)).all(axis=1)
    return magnitude[shows], places[shows]


def king(radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the stars per area at a radius (King 1962, AJ 67, 471, eq. 14), not normalised."""
    edge = (1 + (TIDAL_PX / CORE_PX) ** 2) ** -0.5
    density: NDArray[np.float64] = ((1 + (radius / CORE_PX) ** 2) ** -0.5 - edge) ** 2
    return density


def add_stars(tile: TilePixels, magnitude: NDArray[np.float64], places: NDArray[np.float64]) -> None:
    """Add stars to the pixels, in place: shared among four pixels each, then spread by the point-spread function."""
    if not len(magnitude):
        return
    (low_x, part_x), (low_y, part_y) = ((np.floor(axis).astype(int), axis % 1) for axis in places.T)
    for band, colour in enumerate(COLOURS):
        flux = 10 ** ((31.4 - magnitude - colour) / 2.5)
        points = np.zeros(np.add(tile.shape, 1), dtype=np.float32)
        for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
            share = np.where(right, part_x, 1 - part_x) * np.where(down, part_y, 1 - part_y)
            np.add.at(points, (low_y + down, low_x + right), flux * share)
        [spread] = profiles(tile.psf[tile.bands[band]], np.zeros(1), np.zeros(1), REACH_PX)
        tile.pixels[band] += signal.fftconvolve(points[:-1, :-1], spread, mode="same")


def scores(found: Measured, magnitude: NDArray[np.float64], places: NDArray[np.float64]) -> dict[str, Any]:
    """Give the share of the cluster's stars that are found, by magnitude, within a pixel."""
    partner = match(places, -magnitude, np.column_stack([found.x, found.y]), 1.0)
    complete = {
        f"{low:g}": round(float((partner[inside] != NONE).mean()), 3)
        for low, high in pairwise(EDGES.tolist())
        if (inside := (magnitude >= low) & (magnitude < high)).any()
    }
    return {"stars_shown": len(magnitude), "completeness": complete}


if __name__ == "__main__":
    main()
