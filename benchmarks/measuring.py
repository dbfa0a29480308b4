"""Detection, deblending and six-band photometry: ours against SExtractor and photutils on one scene.

The scene is the rendered survey at LSST density, whose truth is known. SExtractor runs once a band in dual-image mode:
it detects on the same noise-weighted sum of all bands that ours is made of, and measures on the band, with weight
maps; five apertures and Kron fluxes, no PSF fluxes (which ours has besides). Two settings are asked of it: textbook
(1.5 sigma, the default filter, 0.005) and deep (0.83 sigma, a filter of the width of the PSF, 0.0005). photutils finds
and deblends on the same sum (1.5 sigma, a Gaussian of 3 pixels, 32 levels, contrast 0.001), and measures the same
apertures and Kron fluxes; it takes many minutes for a large tile, so it runs if asked for.

Completeness is compared at equal purity: our threshold is raised or lowered until as many of our detections are real.

    apt-get install source-extractor
    python benchmarks/measuring.py --side 4096
    python benchmarks/measuring.py --side 1024 --photutils

Times are CPU seconds of one core, reading and writing of SExtractor's files included; medians over the repeats.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from astropy.io import ascii as tables
from astropy.io import fits
from numpy.typing import NDArray
from peers import sides

from skymill.config.images import MeasureSettings, RenderSettings
from skymill.features.measuring import measure
from skymill.survey.images import TilePixels
from skymill.survey.rendered import render_tile, tile_names, truth
from skymill.training.matching import NONE, match

SHARE = Path("/usr/share/source-extractor")
RADIUS_PX = 2.5
EDGES = np.arange(20.0, 27.5, 0.5)
COLUMNS = (
    "NUMBER", "X_IMAGE", "Y_IMAGE", "FLUX_AUTO", "FLUXERR_AUTO", "FLUX_APER(5)", "FLUXERR_APER(5)", "X2_IMAGE",
    "Y2_IMAGE", "XY_IMAGE", "FLUX_RADIUS", "KRON_RADIUS", "FLAGS",
)  # fmt: skip
SETTINGS = {
    "textbook": {"DETECT_THRESH": "1.5", "FILTER_NAME": SHARE / "default.conv", "DEBLEND_MINCONT": "0.005"},
    "deep": {"DETECT_THRESH": "0.83", "FILTER_NAME": SHARE / "gauss_4.0_7x7.conv", "DEBLEND_MINCONT": "0.0005"},
}
THRESHOLDS = (3.0, 3.5, 4.5, 6.0, 8.0, 10.0)


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048, help="of the tile, pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--density", type=float, default=1.0, help="of galaxies, relative to the sky's")
    parser.add_argument("--photutils", action="store_true", help="run photutils too, once")
    arguments = parser.parse_args()
    settings = RenderSettings(tiles=(1, 1), tile_px=arguments.side, density=arguments.density, defects=False)
    [name] = tile_names(settings)
    tile, true = render_tile(settings, name), truth(settings, name)
    told: dict[str, Any] = {**sides.machine(), "side": arguments.side, "true_sources": int(true["visible"].sum())}
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), tile)
        for label in SETTINGS:
            runs = [sextractor(Path(folder), tile, label) for _ in range(arguments.repeats)]
            told[label] = {"cpu_s": round(median(seconds for seconds, _ in runs), 2), **score(runs[-1][1], true)}
    runs = [timed(tile, MeasureSettings()) for _ in range(arguments.repeats)]
    told["ours"] = {"cpu_s": round(median(seconds for seconds, _ in runs), 2), **score(runs[-1][1], true)}
    told["ours_over_textbook"] = round(told["ours"]["cpu_s"] / told["textbook"]["cpu_s"], 2)
    told["ours_over_deep"] = round(told["ours"]["cpu_s"] / told["deep"]["cpu_s"], 2)
    if arguments.photutils:
        seconds, places = photutils(tile)
        told["photutils"] = {"cpu_s": round(seconds, 2), **score(places, true)}
        told["ours_over_photutils"] = round(told["ours"]["cpu_s"] / seconds, 4)
    scores = {threshold: score(timed(tile, MeasureSettings(threshold=threshold))[1], true) for threshold in THRESHOLDS}
    told["by_threshold"] = scores
    for label in SETTINGS:
        as_pure = [each for each in scores.values() if each["purity"] >= told[label]["purity"]]
        told[f"as_pure_as_{label}"] = max(as_pure, key=lambda each: each["found"], default=None)
    print(json.dumps(told, indent=1))


def timed(tile: TilePixels, settings: MeasureSettings) -> tuple[float, NDArray[np.float64]]:
    """Measure with ours; give CPU seconds and positions, (n, 2)."""
    started = time.process_time()
    found = measure(tile, settings)
    return time.process_time() - started, np.stack([found.x, found.y], axis=1)


def summed(tile: TilePixels) -> NDArray[np.float32]:
    """Give the noise-weighted sum of all bands in units of its noise, (ny, nx)."""
    weight = tile.inverse_variance
    total = (np.where(weight > 0, tile.pixels, 0) * weight).sum(axis=0)
    return np.asarray(total / np.sqrt(np.maximum(weight.sum(axis=0), 1e-30)))


def write_files(folder: Path, tile: TilePixels) -> None:
    """Write each band, its weights, and the noise-weighted sum of all in units of its noise."""
    weight = tile.inverse_variance
    pixels = np.where(weight > 0, tile.pixels, 0)
    images = {**dict(zip(tile.bands, pixels)), "stack": summed(tile)}
    weights = {**dict(zip(tile.bands, weight)), "stack": (weight.sum(axis=0) > 0)}
    for name, image in images.items():
        fits.PrimaryHDU(image.astype(np.float32)).writeto(folder / f"{name}.fits")
        fits.PrimaryHDU(weights[name].astype(np.float32)).writeto(folder / f"{name}.weight.fits")
    (folder / "columns.param").write_text("\n".join(COLUMNS) + "\n")


def sextractor(folder: Path, tile: TilePixels, label: str) -> tuple[float, NDArray[np.float64]]:
    """Run SExtractor on every band; give CPU seconds of all runs, and the positions, (n, 2), of the last."""
    spent = 0.0
    for band in tile.bands:
        options = {
            "PARAMETERS_NAME": "columns.param",
            "CATALOG_NAME": "found.cat",
            "CATALOG_TYPE": "ASCII_HEAD",
            "WEIGHT_TYPE": "MAP_WEIGHT,MAP_WEIGHT",
            "WEIGHT_IMAGE": f"stack.weight.fits,{band}.weight.fits",
            "DETECT_MINAREA": "5",
            "PHOT_APERTURES": "6,10,14,24,34",
            "BACK_SIZE": "128",
            "MEMORY_OBJSTACK": "60000",
            "MEMORY_PIXSTACK": "6000000",
            "VERBOSE_TYPE": "QUIET",
            **SETTINGS[label],
        }
        words = [word for key, value in options.items() for word in (f"-{key}", str(value))]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["source-extractor", f"stack.fits,{band}.fits", "-c", str(SHARE / "default.sex"), *words]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = tables.read(folder / "found.cat", format="sextractor")
    return spent, np.stack([found["X_IMAGE"] - 1.0, found["Y_IMAGE"] - 1.0], axis=1)


def photutils(tile: TilePixels) -> tuple[float, NDArray[np.float64]]:
    """Run photutils as its guide has it; give CPU seconds and positions, (n, 2)."""
    from astropy.convolution import convolve_fft
    from photutils.segmentation import SourceCatalog, SourceFinder, make_2dgaussian_kernel

    started = time.process_time()
    stack, weights = summed(tile), tile.inverse_variance
    smooth = convolve_fft(stack, make_2dgaussian_kernel(3.0, size=5))
    finder = SourceFinder(n_pixels=5, contrast=0.001, progress_bar=False)
    segments = finder(smooth, 1.5)
    detected = SourceCatalog(stack, segments, convolved_data=smooth)
    for pixels, weight in zip(tile.pixels, weights, strict=True):
        error = np.divide(1.0, np.sqrt(weight), out=np.full_like(weight, np.nan), where=weight > 0)
        found = SourceCatalog(pixels, segments, error=error, mask=weight == 0, detection_catalog=detected)
        _ = found.kron_flux, found.kron_flux_err
        for radius in (3.0, 5.0, 7.0, 12.0, 17.0):
            found.circular_photometry(radius)
    places = np.stack([detected.x_centroid, detected.y_centroid], axis=1)
    return time.process_time() - started, places


def score(found: NDArray[np.float64], true: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Give detections, the share that is real, and the completeness by true i magnitude."""
    seen = true["visible"] & ~true["saturated"]
    magnitude = 31.4 - 2.5 * np.log10(np.maximum(true["i_flux"], 1e-9))
    places = np.stack([true["x"], true["y"]], axis=1)
    partner = match(places[true["visible"]], true["i_flux"][true["visible"]], found, RADIUS_PX)
    real = np.zeros(len(found), bool)
    real[partner[partner != NONE]] = True
    hit = np.zeros(len(seen), bool)
    hit[np.flatnonzero(true["visible"])] = partner != NONE
    complete = {
        f"{low:g}": round(float(hit[inside].mean()), 3)
        for low, high in pairwise(EDGES.tolist())
        if (inside := seen & (magnitude >= low) & (magnitude < high)).any()
    }
    return {"found": len(found), "purity": round(float(real.mean()), 4), "completeness": complete}


if __name__ == "__main__":
    main()
