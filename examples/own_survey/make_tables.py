"""Write two tables such as a survey might give: objects.parquet and spectra.parquet. Yours take their place."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BANDS = "griz"
ROWS = 6000
CLASSES = np.array(["GALAXY", "QSO", "STAR"])
COLOUR = np.array([0.40, 0.05, 0.20])
"""Magnitudes per band, from blue to red."""


def main() -> None:
    """Four degrees of sky around RA 0, Dec -30; half of the objects have a spectrum."""
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 3, ROWS)
    magnitude = rng.uniform(18, 23, ROWS)
    objects = {
        "object_id": 10**15 + np.arange(ROWS),
        "ra": rng.uniform(-2.3, 2.3, ROWS) % 360,
        "dec": -30 + rng.uniform(-2, 2, ROWS),
        "ebv": rng.uniform(0.01, 0.05, ROWS),
        "half_light_radius": rng.lognormal(-0.5, 0.2, ROWS) + 0.4 * (kind == 0),
    }
    for number, band in enumerate(BANDS):
        flux = 10 ** ((23.9 - magnitude + COLOUR[kind] * number + rng.normal(0, 0.1, ROWS)) / 2.5)
        error = np.hypot(0.05, 0.02 * flux)
        objects |= {f"flux_{band}": rng.normal(flux, error), f"flux_{band}_error": error}
    spectra = {"object_id": objects["object_id"][::2], "spec_class": CLASSES[kind[::2]]}
    Path("tables").mkdir(exist_ok=True)
    pq.write_table(pa.table(objects), "tables/objects.parquet")
    pq.write_table(pa.table(spectra), "tables/spectra.parquet")


if __name__ == "__main__":
    main()
