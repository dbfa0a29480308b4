"""Stamps per second: ours against memory-copy bandwidth, astropy's Cutout2D and, from files, Cutana.

In memory: a tile of six bands with bad columns, cosmic rays and saturated stars; all ways cut the same stamps in turn,
in random order and in that of a catalogue (along the Z curve, as HEALPix's nested pixels go), and the bandwidth is that
of copying the tile's pixels. Cutout2D (`mode="partial"`, NaN outside) cuts band by band into the same buffer, and gives
no fractions. Ours is timed from the call on: looking for weights and masks is in it.

From files, where Cutana's interpreter is given: six FITS files to all stamps in memory, each side a process that stands
before anything is timed; the stamps must have the same pixels.

    python3.11 -m venv cutana && cutana/bin/pip install cutana==0.4.0
    python benchmarks/cutouts.py --peer-python cutana/bin/python

Rates are per CPU-second, since the clock tells as much of who else was running; medians over the repeats.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS
from peers import sides
from peers.sides import Side, medians

from skymill.survey.images.cutting import Layer, cutouts
from skymill.survey.images.tile import TilePixels

BANDS = "ugrizy"
SIZE, BATCH = 64, 64
CUTANA_PACKAGES = ("cutana", "astropy", "numpy", "fitsbolt")


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096, help="of the tile, pixels")
    parser.add_argument("--stamps", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-python", type=Path, help="interpreter of Cutana's environment")
    arguments = parser.parse_args()
    tile, x, y = make_tile(arguments.side), *make_positions(arguments.side, arguments.stamps)
    told = {**sides.machine(), "bands": len(BANDS), "size": SIZE, "stamps": arguments.stamps}
    for order, index in {"random": np.arange(len(x)), "catalogue": z_order(x, y)}.items():
        told[order] = in_memory(tile, x[index], y[index], arguments.repeats)
    if arguments.peer_python:
        told["from_files"] = from_files(tile, x, y, arguments.peer_python)
    print(json.dumps(told, indent=1))


def make_tile(side: int) -> TilePixels:
    """Make a tile of noise; per band, a few bad columns without weight, cosmic rays and saturated stars."""
    random = np.random.default_rng(5)
    shape = (len(BANDS), side, side)
    pixels = random.standard_normal(shape, dtype=np.float32)
    inverse_variance, mask = np.ones(shape, np.float32), np.zeros(shape, np.uint32)
    for band in range(len(BANDS)):
        columns = random.integers(0, side, 3)
        inverse_variance[band, :, columns], mask[band, :, columns] = 0, 1
        for bit, extent, number in ((1, 4, side // 4), (2, 24, side // 100)):
            for row, column in random.integers(0, side, (number, 2)):
                mask[band, row : row + extent, column : column + extent] |= 1 << bit
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [side / 2, side / 2], [-0.2 / 3600, 0.2 / 3600]
    planes = {"BAD": 0, "CR": 1, "SAT": 2}
    roles = {"bad": ("BAD",), "cosmic_ray": ("CR",), "saturated": ("SAT",)}
    return TilePixels("tile", tuple(BANDS), pixels, inverse_variance, mask, planes, roles, wcs)


def make_positions(side: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Scatter sources over the tile whose stamps lie on it, none of them half-way between two pixels."""
    x, y = np.random.default_rng(6).integers(SIZE, side - SIZE, (2, n)) + 0.25
    return x, y


def z_order(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give the order of positions along the Z curve: by the bits of row and column in turn."""
    bits = np.arange(16)
    keys = [((values.astype(np.int64)[:, None] >> bits & 1) << 2 * bits).sum(axis=1) for values in (x, y)]
    return np.argsort(keys[0] + 2 * keys[1], kind="stable")


def in_memory(tile: TilePixels, x: np.ndarray, y: np.ndarray, repeats: int) -> dict[str, Any]:
    """Cut in all ways in turn; give rates, ratios and what a copy manages."""
    few = slice(0, max(len(x) // 20, 1))
    copy = np.zeros_like(tile.pixels)
    stamp_bytes = len(BANDS) * SIZE**2 * tile.pixels.itemsize
    layers: tuple[Layer, ...] = ("pixels", "inverse_variance", "mask")
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "copy": (tile.pixels.nbytes // stamp_bytes, lambda: np.copyto(copy, tile.pixels)),
        "ours": (len(x), lambda: ours(tile, x, y, ("pixels",))),
        "ours_fractions_only": (len(x), lambda: ours(tile, x, y, ())),
        "ours_all_layers": (len(x), lambda: ours(tile, x, y, layers)),
        "Cutout2D": (len(x[few]), lambda: with_astropy(tile, x[few], y[few])),
    }
    check_equal(tile, x[:BATCH], y[:BATCH])
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (n, way) in ways.items():
            started = time.process_time()
            way()
            found[name].append(n / (time.process_time() - started))
    rates = {name: round(median(runs)) for name, runs in found.items()}
    return {
        "stamps_per_cpu_s": rates,
        "copy_GB_per_s": round(rates["copy"] * stamp_bytes / 1e9, 2),
        "ours_over_copy": round(rates["ours"] / rates["copy"], 2),
        "ours_over_Cutout2D": round(rates["ours"] / rates["Cutout2D"], 1),
    }


def ours(tile: TilePixels, x: np.ndarray, y: np.ndarray, what: tuple[Layer, ...]) -> int:
    """Cut all stamps; give how many there are."""
    return sum(len(stamps.coverage_frac) for stamps in cutouts(tile, x, y, SIZE, batch=BATCH, what=what))


def with_astropy(tile: TilePixels, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cut the stamps into a buffer as long as a batch; give the buffer."""
    buffer = np.empty((BATCH, len(BANDS), SIZE, SIZE), np.float32)
    for source, position in enumerate(zip(x, y)):
        for band, image in enumerate(tile.pixels):
            stamp = Cutout2D(image, position, SIZE, mode="partial", fill_value=np.nan)
            buffer[source % BATCH, band] = stamp.data
    return buffer


def check_equal(tile: TilePixels, x: np.ndarray, y: np.ndarray) -> None:
    """Hold a batch of ours against Cutout2D's; its even stamps are centred half a pixel lower than ours."""
    mine = next(cutouts(tile, x, y, SIZE, batch=BATCH)).pixels
    if not np.array_equal(mine, with_astropy(tile, x - 0.5, y - 0.5)):
        raise ValueError("the stamps of cutouts() and Cutout2D differ")


def from_files(tile: TilePixels, x: np.ndarray, y: np.ndarray, peer_python: Path) -> dict[str, Any]:
    """Cut a tenth of the stamps, then all, from six files; give what each cost on both sides."""
    with tempfile.TemporaryDirectory() as name:
        files = write_files(Path(name), tile)
        commands = {
            "ours": (sys.executable, "skymill_cutouts.py"),
            "cutana": (str(peer_python), "cutana_cutouts.py"),
        }
        told: dict[str, Any] = {"versions": sides.versions(peer_python, CUTANA_PACKAGES)}
        for n in (len(x) // 10, len(x)):
            catalogue = write_catalogue(Path(name), tile.wcs, x[:n], y[:n], files)
            job = {"catalogue": str(catalogue), "files": files, "size": SIZE, "batch": BATCH}
            runs = {side: ask(side, command, job) for side, command in commands.items()}
            if not np.isclose(runs["ours"]["total"], runs["cutana"]["total"], rtol=1e-6):
                raise ValueError(f"the stamps of the two sides differ: {runs}")
            told[f"{n}_stamps"] = {side: medians([run]) for side, run in runs.items()}
    return told


def ask(name: str, command: tuple[str, str], job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in a process of its own."""
    with Side(name, *command, own=name == "ours") as side:
        return side.ask(**job)


def write_files(folder: Path, tile: TilePixels) -> list[str]:
    """Write a FITS file of each band."""
    files = [folder / f"tile_{band}.fits" for band in tile.bands]
    for file, image in zip(files, tile.pixels):
        fits.PrimaryHDU(image, header=tile.wcs.to_header()).writeto(file)
    return [str(file) for file in files]


def write_catalogue(folder: Path, wcs: WCS, x: np.ndarray, y: np.ndarray, files: list[str]) -> Path:
    """Write the catalogue in the form that Cutana asks for."""
    ra, dec = wcs.all_pix2world(x, y, 0)
    columns = {
        "SourceID": [f"source_{number}" for number in range(len(x))],
        "RA": ra,
        "Dec": dec,
        "diameter_pixel": np.full(len(x), SIZE),
        "fits_file_paths": [json.dumps(files)] * len(x),
    }
    pq.write_table(pa.table(columns), folder / f"sources_{len(x)}.parquet")
    return folder / f"sources_{len(x)}.parquet"


if __name__ == "__main__":
    main()
