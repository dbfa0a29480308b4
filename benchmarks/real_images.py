"""Real images measured, drawn and counted beside what others made of them.

Five sets of the test data, each with a figure or two:

sextractor  the NTT image that SEP comes with: SExtractor's own catalogue, background and noise
stripe82    an SDSS frame in five bands: the catalogue of a coadd two magnitudes deeper, and SDSS's own fluxes
hsc         30 blends of HSC's COSMOS field: the peaks that the LSST pipelines found
scarlet     the two simulated blends of the scarlet deblender, whose every source is known, and pairs of their sources
dc2         a cutout of DESC's simulated DC2 coadds: the instance masks that DeepDISC learns from, and SEP's

    python benchmarks/real_images.py --data FOLDER --out FOLDER
    python benchmarks/real_images.py --data FOLDER --out FOLDER --only hsc dc2

Figures go to --out as PNG, numbers are printed as a line of JSON a set. Fluxes are compared as ours over theirs, or as
magnitudes, ours less theirs; a scatter is half of what the middle 68 % span; intervals of shares are Wilson's, 68 %.
"""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path

from real.numbers import rounded

SETS = ("sextractor", "stripe82", "hsc", "scarlet", "dc2")


def main() -> None:
    """Compare each set, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the test data")
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures; made if it is not there")
    parser.add_argument("--only", nargs="+", choices=SETS, default=SETS, help="some of the sets")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        told = import_module(f"real.{name}").compare(arguments.data, arguments.out)
        print(json.dumps({name: rounded(told)}), flush=True)


if __name__ == "__main__":
    main()
