"""Morphology of real galaxies: ours against statmorph, the same segments and noise, values held against each other.

Three sets: 100 HST galaxies on stamps of their own, an SDSS image of a nearby group, a whole SDSS frame. statmorph is
timed twice: as it comes, with its Sersic fit and its other quantities (`all`), and evaluating only those that we
measure (`same`). Rates are per CPU-second on one core, ours after its loops were compiled, which is timed apart.

    python benchmarks/morphology.py --data FOLDER
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import statmorph
from peers import sides
from photutils.segmentation import SegmentationImage
from real_galaxies import FRAMES, STATMORPH, Galaxies, SameQuantities, hst_galaxies, sdss_galaxies

from skymill.features.measuring.morphology import morphology


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the test data")
    parser.add_argument("--most", type=int, default=100, help="sources of a set")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    sets = {"hst": list(hst_galaxies(arguments.data))[: arguments.most]}
    sets |= {name: [sdss_galaxies(arguments.data, name, arguments.most)] for name in FRAMES}
    _, compile_s = timed(lambda: ours(sets["hst"][0]))
    told: dict[str, Any] = {**sides.machine(), "statmorph": statmorph.__version__, "compile_cpu_s": compile_s}
    for name, galaxies in sets.items():
        told[name] = compare(galaxies)
    print(json.dumps(told, indent=1))


def compare(sets: list[Galaxies]) -> dict[str, Any]:
    """Measure the galaxies of some images in all three ways."""
    mine, my_s = timed(lambda: [ours(one) for one in sets])
    all_of_it, all_s = timed(lambda: [theirs(one, statmorph.SourceMorphology) for one in sets])
    same, same_s = timed(lambda: [theirs(one, SameQuantities) for one in sets])
    found = {key: np.concatenate([one[key] for one in mine]) for key in mine[0]}
    expected = {key: np.concatenate([one[key] for one in all_of_it]) for key in all_of_it[0]}
    n = len(found["flag"])
    costs = {"ours": my_s, "statmorph_all": all_s, "statmorph_same": same_s}
    return {
        "sources": n,
        "cpu_ms_per_source": {name: round(1e3 * seconds / n, 2) for name, seconds in costs.items()},
        "times_faster": {"all": round(all_s / my_s, 1), "same": round(same_s / my_s, 1)},
        "differences": {name: differences(found[name], expected[name]) for name in STATMORPH},
        "flags_equal": {"all": agreement(found["flag"], all_of_it), "same": agreement(found["flag"], same)},
    }


def timed(job: Callable[[], Any]) -> tuple[Any, float]:
    """Do a job; give its answer and its CPU-seconds."""
    started = time.process_time()
    answer = job()
    return answer, round(time.process_time() - started, 3)


def ours(galaxies: Galaxies) -> dict[str, np.ndarray]:
    """Measure all sources of an image."""
    weights = 1 / galaxies.sigma**2
    return morphology(galaxies.image, galaxies.labels, galaxies.sources, inverse_variance=weights)


def theirs(galaxies: Galaxies, measure: Callable[..., Any]) -> dict[str, np.ndarray]:
    """Have statmorph measure them; its -99 becomes NaN."""
    segments = SegmentationImage(galaxies.labels)
    found = [measure(galaxies.image, segments, n, weightmap=galaxies.sigma) for n in galaxies.sources.tolist()]
    columns = {ours: np.array([one[theirs] for one in found]) for ours, theirs in STATMORPH.items()}
    columns = {name: np.where(values == -99, np.nan, values) for name, values in columns.items()}
    return {**columns, "flag": np.array([one.flag for one in found])}


def agreement(flags: np.ndarray, theirs: list[dict[str, np.ndarray]]) -> float:
    """Give the share of sources that have the same flag."""
    return round(float((flags == np.concatenate([one["flag"] for one in theirs])).mean()), 3)


def differences(found: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """Give median, 95th percentile and largest of absolute differences, and how many values stand on one side only."""
    apart = np.abs(found - expected)
    return {
        "median": float(f"{np.nanmedian(apart):.1e}"),
        "95%": float(f"{np.nanpercentile(apart, 95):.1e}"),
        "most": float(f"{np.nanmax(apart):.1e}"),
        "one_side_only": int((np.isnan(found) != np.isnan(expected)).sum()),
    }


if __name__ == "__main__":
    main()
