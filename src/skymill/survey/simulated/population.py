"""Draws of galaxies, stars and quasars: what is there, before the atmosphere, the dust of our Galaxy and the noise."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from skymill.survey.simulated import tables
from skymill.survey.simulated.bands import Array, flux_of, magnitude_of, pivots
from skymill.survey.simulated.cosmology import FAINTEST, arcsec_per_kpc, distance_modulus, quasar_counts

CLASSES = ("GALAXY", "STAR", "QSO")
"""Class names; a source's `kind` is the index."""


def magnitude_grid(brightest: float, faintest: float) -> Array:
    """Give the i magnitudes between which sources are drawn, in steps of 0.01."""
    return np.arange(brightest, faintest + 0.005, 0.01)


MAGNITUDES = magnitude_grid(15.5, FAINTEST)


@dataclass(frozen=True)
class Sources:
    """Sources of one or more classes; every array has one row each."""

    kind: np.ndarray  # int8, index in CLASSES
    redshift: Array
    magnitudes: Array  # (n, 6) total, AB, outside our Galaxy
    spectral_type: Array  # galaxies: 0 = E .. 3 = Im; stars: g-i; quasars: strength of the lines
    bulge_fraction: Array  # of the resolved light, in every band
    bulge_radius: Array  # half-light radius along the major axis, arcsec
    disc_radius: Array
    axis_ratio: Array
    position_angle: Array  # degrees from +x to +y of the pixel grid
    point_fraction: Array  # share of the i-band flux that is unresolved

    def take(self, order: np.ndarray) -> Sources:
        """Give the sources in another order."""
        return Sources(**{f.name: getattr(self, f.name)[order] for f in fields(self)})

    @classmethod
    def concatenate(cls, parts: list[Sources]) -> Sources:
        """Put sources one after the other."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})


def galaxy_log_counts(magnitudes: Array) -> Array:
    """Give log10 of the galaxies per magnitude of i, up to a constant."""
    x = magnitudes - 23
    return 0.328 * x - 0.003 * x**2


def star_log_counts(magnitudes: Array) -> Array:
    """Give log10 of the stars per magnitude of i, up to a constant."""
    return 0.13 * (magnitudes - 20)


def _magnitudes_of_counts(rng: np.random.Generator, n: int, magnitudes: Array, log_counts: Array) -> Array:
    share = np.cumsum(10**log_counts)
    return np.interp(rng.random(n), np.concatenate([[0.0], share / share[-1]])[:-1], magnitudes)


def draw_galaxies(rng: np.random.Generator, n: int, *, magnitudes: Array = MAGNITUDES) -> Sources:
    """Draw galaxies: i from the counts, z given i, type given i and z, colours of the templates, sizes falling with i.

    Counts, redshifts and types follow the RAIL DC2 training sample (see docs/embedded_survey.md).
    """
    i = _magnitudes_of_counts(rng, n, magnitudes, galaxy_log_counts(magnitudes))
    redshift = tables.galaxy_redshifts()(rng.random(n), i)
    kind = tables.galaxy_types()(rng.random(n), i, redshift)
    reddening = rng.normal(_mean_reddening(i - 23, redshift - 1, kind - 1.5), 0.12)
    relative = tables.galaxy_magnitudes()(redshift, kind)
    relative += reddening[:, None] * tables.dust()(redshift, np.zeros(n))
    relative += rng.normal(0, 0.02, relative.shape)
    bulge = np.clip(rng.normal(0.75 - 0.25 * kind, 0.2), 0, 1)
    radius = 10 ** (-0.70 - 0.11 * (i - 25) + rng.normal(0, 0.2, n))
    return Sources(
        kind=np.zeros(n, dtype=np.int8),
        redshift=redshift,
        magnitudes=relative - relative[:, 3:4] + i[:, None],
        spectral_type=kind,
        bulge_fraction=bulge,
        bulge_radius=0.6 * radius,
        disc_radius=1.2 * radius,
        axis_ratio=np.clip(1 - np.abs(rng.normal(0, 0.4, n)), 0.15, 1),
        position_angle=rng.uniform(0, 180, n),
        point_fraction=np.zeros(n),
    )


def _mean_reddening(magnitude: Array, redshift: Array, kind: Array) -> Array:
    """Give E(B-V) beyond that of the local templates (hence often negative): a fit to the sample of the types."""
    slope = -0.092 + 0.049 * magnitude - 0.064 * kind
    return -0.104 - 0.009 * magnitude + 0.025 * kind + slope * redshift


def draw_stars(rng: np.random.Generator, n: int, *, magnitudes: Array = MAGNITUDES) -> Sources:
    """Draw stars: counts rising by 0.13 dex a magnitude, colours on the stellar locus, 3 % hot stars as black bodies.

    The share of M dwarfs rises from 0.35 at i = 16 to 0.8 at i = 26, as disc dwarfs take over at depth.
    """
    i = _magnitudes_of_counts(rng, n, magnitudes, star_log_counts(magnitudes))
    cool = rng.random(n) < 0.35 + 0.045 * (i - 16)
    g_i = np.where(cool, rng.normal(2.35, 0.4, n), 0.35 + rng.gamma(1.8, 0.28, n))
    g_i = np.clip(g_i, 0.1, 3.8)
    locus_g_i, locus = tables.stellar_locus()
    relative = np.stack([np.interp(g_i, locus_g_i, column) for column in locus.T], axis=1)
    relative += rng.normal(0, 0.025, relative.shape)
    relative[:, 0] += rng.normal(0, 0.1, n)  # metallicity moves u - g
    hot = np.flatnonzero(rng.random(n) < 0.03)
    relative[hot] = black_body(10 ** rng.uniform(3.9, 4.6, hot.size))
    nothing = np.zeros(n)
    return Sources(
        kind=np.ones(n, dtype=np.int8),
        redshift=nothing,
        magnitudes=relative - relative[:, 3:4] + i[:, None],
        spectral_type=relative[:, 1] - relative[:, 3],
        bulge_fraction=nothing,
        bulge_radius=nothing,
        disc_radius=nothing,
        axis_ratio=np.ones(n),
        position_angle=nothing,
        point_fraction=np.ones(n),
    )


def black_body(temperature: Array) -> Array:
    """Give AB magnitudes (up to a constant), (n, 6), of Planck's law at the pivot wavelengths; temperature in K."""
    wavelength = pivots() * 1e-10
    exponent = 0.014387768775 / (wavelength * temperature[:, None])
    return np.asarray(2.5 * np.log10(wavelength**3 * np.expm1(exponent)))


def draw_quasars(rng: np.random.Generator, n: int) -> Sources:
    """Draw quasars: nuclei from the luminosity function, with scatter in slope, lines and dust, each in a host galaxy.

    Slopes scatter by 0.25 in F_nu ~ nu^alpha (Richards et al. 2001, AJ 121, 2308), dust is exponential with a mean of
    0.04 mag. Hosts have M_i = -22.3 +- 0.7 and 4 kpc, so that a faint nucleus at low redshift hides in its host.
    """
    magnitude, redshifts, share = quasar_counts()
    cell = np.searchsorted(share, rng.random(n), side="right")
    row, column = np.divmod(cell, redshifts.size)
    i = magnitude[row] + 0.05 * rng.random(n)
    z = redshifts[column] + 0.025 * rng.random(n)
    strength = np.clip(rng.lognormal(0, 0.3, n), 0, 2)
    nucleus = tables.quasar_magnitudes()(z, strength)
    nucleus += rng.normal(0, 0.25, n)[:, None] * 2.5 * np.log10(pivots() / pivots()[3])
    nucleus += rng.exponential(0.04, n)[:, None] * tables.dust()(z, np.ones(n))
    nucleus += (i - nucleus[:, 3])[:, None] + rng.normal(0, 0.03, nucleus.shape)
    host_type = rng.uniform(0, 2.5, n)
    host = tables.galaxy_magnitudes()(z, host_type)
    at_rest = tables.galaxy_magnitudes()(np.zeros(n), host_type)[:, 3]
    host += (rng.normal(-22.3, 0.7, n) + distance_modulus(z) - at_rest)[:, None]
    nucleus_flux, host_flux = flux_of(nucleus), flux_of(host)
    radius = arcsec_per_kpc(z) * 4 * 10 ** rng.normal(0, 0.2, n)
    return Sources(
        kind=np.full(n, 2, dtype=np.int8),
        redshift=z,
        magnitudes=magnitude_of(nucleus_flux + host_flux),
        spectral_type=strength,
        bulge_fraction=np.clip(rng.normal(0.5, 0.2, n), 0, 1),
        bulge_radius=0.6 * radius,
        disc_radius=1.2 * radius,
        axis_ratio=np.clip(1 - np.abs(rng.normal(0, 0.3, n)), 0.15, 1),
        position_angle=rng.uniform(0, 180, n),
        point_fraction=nucleus_flux[:, 3] / (nucleus_flux + host_flux)[:, 3],
    )


def draw(rng: np.random.Generator, counts: tuple[int, int, int]) -> Sources:
    """Draw so many galaxies, stars and quasars, shuffled."""
    parts = [draw_one(rng, int(n)) for draw_one, n in zip((draw_galaxies, draw_stars, draw_quasars), counts)]
    return Sources.concatenate(parts).take(rng.permutation(sum(counts)))
