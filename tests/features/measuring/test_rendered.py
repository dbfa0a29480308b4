"""Measuring the rendered survey, whose truth is known: isolated stars in every band, and a globular cluster."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from scipy.spatial import cKDTree

from skymill.config.images import MeasureSettings, RenderSettings
from skymill.features.measuring import MEASURE_FLAGS, Measured, MeasureError, measure
from skymill.features.measuring.psf import profiles
from skymill.survey.images import TilePixels
from skymill.survey.rendered import render_tile, tile_names, truth

FLAG = {flag.name: flag.mask for flag in MEASURE_FLAGS}
BANDS = "ugrizy"
APART_PX = 15.0
"""3 arcsec: nothing else within."""


def rendered(**changes: object) -> tuple[TilePixels, Table]:
    settings = RenderSettings.model_validate({"tiles": (1, 1), "defects": False, "quasars": 0, **changes})
    [name] = tile_names(settings)
    return render_tile(settings, name), truth(settings, name)


class TestIsolatedStars:
    """Some 220 stars that stand alone on a sky with few galaxies; figures of ten times as many: docs/benchmarks.md."""

    @pytest.fixture(scope="class")
    def pulls(self) -> dict[str, np.ndarray]:
        tile, table = rendered(tile_px=1024, stars=60, density=0.05, faintest=26.5, brightest_star=17)
        found = measure(tile, MeasureSettings())
        places = np.column_stack([table["x"], table["y"]])
        neighbour = cKDTree(places).query(places, k=2)[0][:, 1]
        distance, index = cKDTree(np.column_stack([found.x, found.y])).query(places)
        alone = (neighbour > APART_PX) & (distance < 2.5) & (np.asarray(table["point_fraction"]) == 1)
        alone &= ~np.asarray(table["saturated"]) & (found.flags[index] == 0)
        flux, error = (found.photometry[name][index[alone]] for name in ("psfFlux", "psfFluxErr"))
        true = np.column_stack([table[f"{band}_flux"][alone] for band in BANDS])
        return dict(zip(BANDS, ((flux - true) / error).T, strict=True))

    @pytest.mark.parametrize("band", BANDS)
    def test_errors_are_as_large_as_they_say(self, pulls: dict[str, np.ndarray], band: str) -> None:
        low, high = np.percentile(pulls[band], [15.87, 84.13])
        assert 0.85 < (high - low) / 2 < 1.2
        assert len(pulls[band]) > 200

    def test_fluxes_are_not_biased(self, pulls: dict[str, np.ndarray]) -> None:
        """Of all bands together: of one the mean itself is known to 0.07 only."""
        assert abs(np.mean(np.clip(np.concatenate(list(pulls.values())), -5, 5))) < 0.13


class TestGlobularCluster:
    """3000 stars within some 20 arcsec, far more than a point-spread function leaves apart."""

    @pytest.fixture(scope="class")
    def tile(self) -> TilePixels:
        tile, _ = rendered(tile_px=256, stars=5, density=0.5)
        random = np.random.default_rng(3)
        x, y = np.clip(128 + 35 * random.standard_t(3, (2, 3000)), 0, 255)
        magnitude = 17 + np.log10(random.uniform(1, 10**2, 3000)) / 0.2
        for band in range(len(BANDS)):
            points, column, row = np.zeros(tile.shape, np.float32), np.rint(x).astype(int), np.rint(y).astype(int)
            np.add.at(points, (row, column), 10 ** ((31.4 - magnitude) / 2.5))
            [spread] = profiles(tile.psf[tile.bands[band]], np.zeros(1), np.zeros(1), 20)
            spectrum = np.fft.rfft2(points) * np.fft.rfft2(np.roll(np.pad(spread, (0, 215)), (-20, -20), (0, 1)))
            tile.pixels[band] += np.fft.irfft2(spectrum, s=tile.shape)
        return tile

    @pytest.fixture(scope="class")
    def found(self, tile: TilePixels) -> Measured:
        return measure(tile, MeasureSettings())

    def test_it_is_measured_and_says_that_it_is_a_crowd(self, found: Measured) -> None:
        crowded = found.flags & FLAG["crowded"] != 0
        assert crowded.sum() > 100
        np.testing.assert_array_equal(crowded, found.n_blended > 100)
        assert np.isfinite(found.photometry["psfFlux"][crowded]).mean() > 0.99
        assert (found.photometry["psfFluxErr"][crowded] > 0).mean() > 0.99

    def test_more_sources_than_asked_for_put_the_tile_aside_with_their_number(self, tile: TilePixels) -> None:
        with pytest.raises(MeasureError, match=r"found \d+ sources above 3\.5 sigma, expected at most 50; raise"):
            measure(tile, MeasureSettings(max_sources=50))

    def test_errors_do_not_depend_on_how_many_blocks_are_inverted_at_once(
        self, tile: TilePixels, found: Measured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("skymill.features.measuring.fitting.ELEMENTS_AT_ONCE", 1)
        again = measure(tile, MeasureSettings())
        np.testing.assert_allclose(again.photometry["psfFluxErr"], found.photometry["psfFluxErr"], rtol=1e-5)
