"""The embedded survey against the RAIL DC2 sample, and how far its classes overlap."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from skymill.config import SimulationSettings
from skymill.survey import simulated

BANDS = "ugrizy"
BINS = [(19, 20), (20, 21), (21, 22), (22, 23), (23, 24), (24, 24.5), (24.5, 25), (25, 25.3)]
LIMIT = 25.3
"""The sample's selection, in i."""


def generate(settings: SimulationSettings) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give the raw table and the truth of a whole survey."""
    raw, truth = [], []
    for cell in simulated.cells(settings):
        raw += simulated.raw_blocks(settings, cell)
        truth.append(simulated.truth(settings, cell))
    merged = [{name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in (raw, truth)]
    return merged[0], merged[1]


class Sample:
    """Magnitudes without Galactic dust, errors 1.0857 sigma / flux, redshifts; i < 25.3; NaN = not detected."""

    def __init__(self, magnitudes: np.ndarray, errors: np.ndarray, redshift: np.ndarray) -> None:
        chosen = magnitudes[:, 3] < LIMIT
        self.m, self.errors, self.z = magnitudes[chosen], errors[chosen], redshift[chosen]

    def colour(self, k: int, low: float, high: float) -> np.ndarray:
        """Give the colour of bands k and k + 1 of the galaxies in a range of i."""
        inside = (self.m[:, 3] >= low) & (self.m[:, 3] < high)
        return self.m[inside, k] - self.m[inside, k + 1]

    def error(self, low: float, high: float) -> np.ndarray:
        """Give the median magnitude error per band in a range of i."""
        inside = (self.m[:, 3] >= low) & (self.m[:, 3] < high)
        return np.nanmedian(self.errors[inside], axis=0)

    def slope(self, low: float, high: float) -> float:
        """Give the slope of log10 N per magnitude of i."""
        counts, edges = np.histogram(self.m[:, 3], np.arange(low, high + 0.01, 0.25))
        return float(np.polyfit(edges[:-1], np.log10(counts), 1, w=np.sqrt(counts))[0])


@pytest.fixture(scope="module")
def dc2(data: Path) -> Sample:
    """The validation file: the population was tuned to the training file."""
    with h5py.File(data / "catalogues/photoz_rail_dc2/test_dc2_validation_9816.hdf5") as file:
        table = file["photometry"]
        magnitudes = np.stack([table[f"mag_{band}_lsst"][:] for band in BANDS], axis=1).astype(float)
        errors = np.stack([table[f"mag_err_{band}_lsst"][:] for band in BANDS], axis=1).astype(float)
        redshift = table["redshift"][:]
    missing = ~(magnitudes < 90)
    return Sample(np.where(missing, np.nan, magnitudes), np.where(missing, np.nan, errors), redshift)


@pytest.fixture(scope="module")
def ours() -> Sample:
    """Galaxies behind little Galactic dust, in all bands: DC2's sample has no dust in front of it."""
    settings = SimulationSettings(rows=180_000, area_deg2=60, seed=8, stars=0, quasars=0, bad_rows=0)
    raw, truth = generate(settings)
    chosen = (truth["ebv"] < 0.03) & ~np.any([np.isnan(raw[f"{band}_cModelFlux"]) for band in BANDS], axis=0)
    raw, truth = ({name: column[chosen] for name, column in table.items()} for table in (raw, truth))
    flux = np.stack([raw[f"{band}_cModelFlux"] for band in BANDS], axis=1).astype(float)
    error = np.stack([raw[f"{band}_cModelFluxErr"] for band in BANDS], axis=1).astype(float)
    flux[~(flux > 0)] = np.nan
    reddening = np.array([4.78, 3.65, 2.70, 2.06, 1.58, 1.31]) * truth["ebv"][:, None]
    return Sample(31.4 - 2.5 * np.log10(flux) - reddening, 1.0857 * error / flux, truth["redshift"])


class TestAgainstDc2:
    """Counts, redshifts, colours and errors of galaxies with i < 25.3."""

    @pytest.mark.parametrize(("low", "high", "bound"), [(20, 22.5, 0.04), (22.5, 25.25, 0.02)])
    def test_slope_of_the_counts(self, ours, dc2, low, high, bound):
        assert ours.slope(low, high) == pytest.approx(dc2.slope(low, high), abs=bound)

    def test_redshift_quantiles(self, ours, dc2):
        levels = [0.05, 0.25, 0.5, 0.75, 0.95]
        np.testing.assert_allclose(np.quantile(ours.z, levels), np.quantile(dc2.z, levels), atol=0.05)

    @pytest.mark.parametrize("low, high", BINS)
    def test_median_redshift_by_magnitude(self, ours, dc2, low, high):
        medians = [np.median(s.z[(s.m[:, 3] >= low) & (s.m[:, 3] < high)]) for s in (ours, dc2)]
        assert medians[0] == pytest.approx(medians[1], abs=0.05)

    @pytest.mark.parametrize("low, high", BINS)
    def test_colours_by_magnitude(self, ours, dc2, low, high):
        for k in range(5):
            one, other = (np.nanquantile(s.colour(k, low, high), [0.25, 0.5, 0.75]) for s in (ours, dc2))
            bound = 0.2 if high <= 21 else (0.09 if k == 0 else 0.06)
            assert one[1] == pytest.approx(other[1], abs=bound), f"median {BANDS[k]}-{BANDS[k + 1]}"
            if low >= 21:
                ratio = (one[2] - one[0]) / (other[2] - other[0])
                assert 0.75 < ratio < 1.25, f"width of {BANDS[k]}-{BANDS[k + 1]}"

    @pytest.mark.parametrize("low, high", BINS)
    def test_errors_by_magnitude(self, ours, dc2, low, high):
        """Errors of DC2 are those of points; ours grow with size, which shows where the sky dominates, most in u."""
        ratio = ours.error(low, high) / dc2.error(low, high)
        assert np.all((ratio[1:] > 0.88) & (ratio[1:] < 1.35))
        assert 0.9 < ratio[0] < 1.5

    def test_share_not_detected_in_u(self, ours, dc2):
        shares = [np.mean(np.isnan(s.m[:, 0])) for s in (ours, dc2)]
        assert shares[0] == pytest.approx(shares[1], abs=0.015)

    def test_a_classifier_tells_them_apart_only_so_well(self, ours, dc2):
        """Half of both to learn from, half to judge; magnitudes that are not measured stay NaN."""
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.metrics import roc_auc_score

        n = min(len(ours.m), len(dc2.m), 8_000)
        random = np.random.default_rng(0)
        rows = [sample.m[random.permutation(len(sample.m))[:n]] for sample in (ours, dc2)]
        features = np.concatenate([np.c_[m[:, :-1] - m[:, 1:], m[:, 3]] for m in rows])
        which, learn = np.repeat([0, 1], n), np.tile([True, False], n)
        model = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(features[learn], which[learn])
        auc = roc_auc_score(which[~learn], model.predict_proba(features[~learn])[:, 1])
        assert 0.65 < auc < 0.78


def test_a_good_classifier_is_neither_perfect_nor_lost():
    """Gradient boosting on dereddened colours, magnitude, concentration and size; trained on half of the sources."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import balanced_accuracy_score

    raw, truth = generate(SimulationSettings(rows=60_000, area_deg2=60, seed=9, bad_rows=0))
    reddening = 10 ** (0.4 * np.array([4.78, 3.65, 2.70, 2.06, 1.58, 1.31]) * raw["ebv"][:, None])
    soft = np.array([60, 12, 12, 18, 32, 75])
    total, point = (
        np.arcsinh(np.stack([raw[f"{band}_{name}"] for band in BANDS], axis=1) * reddening / soft)
        for name in ("cModelFlux", "psfFlux")
    )
    size = (raw["shape_xx"] + raw["shape_yy"]) / (raw["i_ixxPSF"] + raw["i_iyyPSF"])
    features = np.c_[np.diff(total, axis=1), total[:, 3], total - point, size]
    half = np.random.default_rng(0).random(len(features)) < 0.5
    model = HistGradientBoostingClassifier(max_iter=80, random_state=0).fit(features[half], truth["class"][half])
    found, true = model.predict(features[~half]), truth["class"][~half]
    assert 0.93 < np.mean(found == true) < 0.975
    assert 0.75 < balanced_accuracy_score(true, found) < 0.93
    bright = truth["i_flux"][~half] > 10 ** (0.4 * (31.4 - 22))
    assert np.mean((found == true)[bright]) < 0.985
