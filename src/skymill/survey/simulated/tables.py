"""The tables that all draws share, made once per process (about a second) from templates and the numbers in `data/`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from skymill.survey.simulated.bands import Array, pivots, share
from skymill.survey.simulated.spectra import (
    MagnitudeTable,
    calzetti,
    magnitudes_by_redshift,
    redshift_grid,
    rest_wavelengths,
    small_magellanic,
)

DATA = Path(__file__).parent / "data"
GALAXY_TEMPLATES = ("E", "Sbc", "Scd", "Im")
GALAXY_TYPES = np.linspace(-0.5, 4.5, 26)


def read_csv(name: str) -> tuple[list[str], Array]:
    """Read a table of `data/`: the names in its header and its numbers, (rows, columns)."""
    lines = [line for line in (DATA / name).read_text().splitlines() if not line.startswith("#")]
    return lines[0].split(","), np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])


@cache
def data_digest() -> str:
    """Give the SHA-256 of the tables in `data/`: with the code, they decide what is simulated."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(DATA.glob("*.csv")))).hexdigest()


@cache
def galaxy_magnitudes() -> MagnitudeTable:
    """Give the magnitudes of galaxies by redshift and type: 0 = E, 1 = Sbc, 2 = Scd, 3 = Im.

    Templates of Coleman, Wu & Weedman (1980, ApJS 43, 393), extended by Bolzonella et al. (2000, A&A 363, 476); between
    two of them the logarithm of the flux is linear in the type, and beyond the first and the last it is continued. The
    median differences from the DC2 sample (0.12 mag at most) are added.
    """
    grid = rest_wavelengths()
    logs = []
    for name in GALAXY_TEMPLATES:
        wavelength, flux = np.loadtxt(share(f"SEDs/CWW_{name}_ext.sed"), unpack=True)
        spectrum = np.interp(grid, wavelength, flux)
        logs.append(np.log(np.maximum(spectrum / np.interp(5500, grid, spectrum), 1e-8)))
    rows = []
    for kind in GALAXY_TYPES:
        left = int(np.clip(np.floor(kind), 0, len(logs) - 2))
        rows.append(magnitudes_by_redshift(np.exp(logs[left] + (kind - left) * (logs[left + 1] - logs[left]))))
    corrections = read_csv("galaxy_corrections.csv")[1]
    by_redshift = [np.interp(redshift_grid(), corrections[:, 0], column) for column in corrections[:, 1:].T]
    return MagnitudeTable(np.stack(rows, axis=1) + np.transpose(by_redshift)[:, None], GALAXY_TYPES)


@cache
def quasar_magnitudes() -> MagnitudeTable:
    """Give the magnitudes of quasars by redshift and line strength (0 = continuum alone, 1 = the composite).

    Broken power law and lines after Vanden Berk et al. (2001, AJ 122, 549): F_lambda ~ lambda^-1.56 to 5000 Angstrom,
    lambda^-0.42 beyond; below Lyman alpha lambda^-0.43 (Telfer et al. 2002, ApJ 565, 773).
    """
    grid = rest_wavelengths()
    continuum = np.where(grid < 5000, (grid / 5000) ** -1.56, (grid / 5000) ** -0.42)
    edge = (1216 / 5000) ** -1.56
    continuum = np.where(grid < 1216, edge * (grid / 1216) ** -0.43, continuum)
    lines = np.zeros_like(grid)
    for wavelength, equivalent_width, width in read_csv("quasar_lines.csv")[1]:
        profile = np.exp(-0.5 * ((grid - wavelength) / width) ** 2) / (width * np.sqrt(2 * np.pi))
        lines += equivalent_width * profile
    strengths = np.array([0.0, 1.0, 2.0])
    rows = [magnitudes_by_redshift(continuum * (1 + strength * lines)) for strength in strengths]
    return MagnitudeTable(np.stack(rows, axis=1), strengths)


@cache
def dust() -> MagnitudeTable:
    """Give A / E(B-V) by redshift, at the bands' pivot wavelengths: column 0 starburst dust, column 1 quasar dust."""
    rest = pivots() / (1 + redshift_grid()[:, None])
    return MagnitudeTable(np.stack([calzetti(rest), small_magellanic(rest)], axis=1), np.array([0.0, 1.0]))


@cache
def stellar_locus() -> tuple[Array, Array]:
    """Give the colours of the stellar locus: g-i, (k,), and the AB magnitudes in the six bands minus i, (k, 6).

    Covey et al. (2007, AJ 134, 2398). SDSS u, g, r, i stand for LSST's; z and y are read off straight lines in log
    wavelength through SDSS i (7480 Angstrom), SDSS z (8932) and 2MASS J (12350). To AB: u - 0.04, z + 0.02, J + 0.91
    (Blanton & Roweis 2007, AJ 133, 734).
    """
    g_i, u_g, g_r, r_i, i_z, z_j = read_csv("stellar_locus.csv")[1].T
    sdss_z = -i_z + 0.02
    j = sdss_z - 0.02 - z_j + 0.91
    x = np.log(pivots())
    i_at, z_at, j_at = np.log([7480.0, 8932.0, 12350.0])
    lsst_z = sdss_z * (x[4] - i_at) / (z_at - i_at)
    lsst_y = sdss_z + (j - sdss_z) * (x[5] - z_at) / (j_at - z_at)
    return g_i, np.stack([r_i + g_r + u_g - 0.04, r_i + g_r, r_i, 0 * r_i, lsst_z, lsst_y], axis=1)


@dataclass(frozen=True)
class Quantiles:
    """A random variable by its quantiles, which change along one or two coordinates."""

    probabilities: Array  # (q,)
    axes: tuple[Array, ...]  # ascending knots of each coordinate
    values: Array  # (len(axis 0), ..., q)

    def __call__(self, uniform: Array, *coordinates: Array) -> Array:
        """Turn uniform numbers, (n,), into values at these coordinates: linear between knots, held beyond."""
        corners = [(np.zeros(1, dtype=np.int64), np.ones(1))]
        for axis, coordinate, size in zip((*self.axes, self.probabilities), (*coordinates, uniform), self.values.shape):
            position = np.interp(coordinate, axis, np.arange(size))
            low = np.minimum(position.astype(np.int64), size - 2)
            part = position - low
            corners = [
                (index * size + low + step, weight * (part if step else 1 - part))
                for index, weight in corners
                for step in (0, 1)
            ]
        flat = self.values.ravel()
        return np.asarray(sum(flat[index] * weight for index, weight in corners))


@cache
def galaxy_redshifts() -> Quantiles:
    """Give the redshift of galaxies as a function of i, measured on the RAIL DC2 training sample."""
    header, rows = read_csv("galaxy_redshifts.csv")
    return Quantiles(np.array(header[1:], dtype=float), (rows[:, 0],), rows[:, 1:])


@cache
def galaxy_types() -> Quantiles:
    """Give the spectral type of galaxies as a function of i and redshift, fitted to the RAIL DC2 training sample."""
    header, rows = read_csv("galaxy_types.csv")
    magnitudes, redshifts = np.unique(rows[:, 0]), np.unique(rows[:, 1])
    values = rows[:, 2:].reshape(magnitudes.size, redshifts.size, -1)
    return Quantiles(np.array(header[2:], dtype=float), (magnitudes, redshifts), values)
