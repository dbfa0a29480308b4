"""Scenes whose truth is known: are the fluxes right, and the errors what they say?"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scenes import Scene, deep_field, isolated
from scipy.spatial import cKDTree

from skymill.config.images import MeasureSettings
from skymill.features.measuring import Measured, measure
from skymill.survey.images.tile import Psf


def again(scene: Scene, seed: int) -> Scene:
    """The same scene with other noise, on a sky of 50 nJy."""
    noise = 1 / np.sqrt(scene.tile.inverse_variance[:, :1, :1])
    generator = np.random.default_rng(seed)
    pixels = scene.clean + 50.0 + noise * generator.normal(size=scene.clean.shape)
    return dataclasses.replace(scene, tile=dataclasses.replace(scene.tile, pixels=pixels.astype(np.float32)))


def found_in(scene: Scene, found: Measured, within: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Which true sources were found, and as which."""
    distance, index = cKDTree(np.column_stack([found.x, found.y])).query(np.column_stack([scene.x, scene.y]))
    return distance < within, index


class TestIsolatedStars:
    """Two bands of different depth and seeing."""

    @pytest.fixture(scope="class")
    def pulls(self) -> dict[str, np.ndarray]:
        options = {"bands": "ri", "noise": [3.0, 4.0], "fwhm_arcsec": [0.7, 0.8], "per_side": 12}
        scene = isolated("stars", [21.5, 22, 23, 24], seed=3, **options)
        pulls: dict[str, list[np.ndarray]] = {}
        for seed in range(3):
            noisy = again(scene, seed)
            found = measure(noisy.tile, MeasureSettings())
            known, index = found_in(noisy, found)
            assert known.all()
            for name, flux in found.photometry.items():
                if not name.endswith("Err"):
                    error = found.photometry[f"{name}Err"][index]
                    pulls.setdefault(name, []).append((flux[index] - self.share(scene, name) * scene.flux) / error)
        return {name: np.concatenate(each) for name, each in pulls.items()}

    @staticmethod
    def share(scene: Scene, name: str) -> np.ndarray:
        """Share of a star's light in a circle, by band, from its noise-free image; 1 for the others."""
        if not name.startswith("ap"):
            return np.ones(scene.flux.shape[1])
        radius = float(name[2:].removesuffix("Flux").replace("p", ".")) / 0.2
        y, x = np.mgrid[: scene.clean.shape[1], : scene.clean.shape[2]]
        fine = np.hypot(x - scene.x[70], y - scene.y[70])
        inside = np.clip(radius + 0.5 - fine, 0, 1)
        return (scene.clean * inside).sum(axis=(1, 2)) / scene.flux[70]

    def test_psf_fluxes(self, pulls: dict[str, np.ndarray]):
        pull = pulls["psfFlux"]
        assert np.abs(pull.mean(axis=0)).max() < 0.1
        assert ((pull.std(axis=0) > 0.9) & (pull.std(axis=0) < 1.2)).all()

    @pytest.mark.parametrize("name", ["ap2p4Flux", "ap3p4Flux"])
    def test_apertures(self, pulls: dict[str, np.ndarray], name: str):
        assert np.abs(pulls[name].mean(axis=0)).max() < 0.12
        assert ((pulls[name].std(axis=0) > 0.9) & (pulls[name].std(axis=0) < 1.2)).all()

    def test_kron_fluxes_hold_the_same_share_of_a_star_at_all_magnitudes(self):
        scene = isolated("stars", [20, 22, 24], seed=9)
        found = measure(scene.tile, MeasureSettings())
        known, index = found_in(scene, found)
        share = found.photometry["kronFlux"][index, 0] / scene.flux[:, 0]
        shares = [np.median(share[known & (np.arange(len(share)) % 3 == kind)]) for kind in range(3)]
        assert shares == pytest.approx([0.965] * 3, abs=0.02)


def test_galaxies_are_larger_than_stars_and_their_kron_flux_is_nearly_all():
    galaxies, stars = isolated("galaxies", [21, 22, 23], seed=5), isolated("stars", [21, 22, 23], seed=6)
    of_galaxies, of_stars = (measure(scene.tile, MeasureSettings()) for scene in (galaxies, stars))
    known, index = found_in(galaxies, of_galaxies)
    assert known.all()
    assert np.median(of_galaxies.photometry["kronFlux"][index, 0] / galaxies.flux[:, 0]) == pytest.approx(
        0.975, abs=0.02
    )
    assert np.median(of_galaxies.photometry["psfFlux"][index, 0] / galaxies.flux[:, 0]) < 0.75
    assert (of_galaxies.values["extendedness"][index] > 0.9).mean() > 0.99
    radius = of_galaxies.values["half_light_radius"][index] * 0.2
    assert 0.5 < np.median(radius) < 0.75  # 0.4 arcsec, and 0.35 of the seeing
    known, index = found_in(stars, of_stars)
    assert (of_stars.values["extendedness"][index] < 0.5).mean() > 0.97
    star = of_stars.values["shape_xx"][index] / of_stars.values["r_ixxPSF"][index]
    assert np.median(star) == pytest.approx(1.0, abs=0.01)
    assert np.hypot(of_stars.x[index] - stars.x, of_stars.y[index] - stars.y).max() < 0.3


def test_a_width_alone_is_made_up_for_by_the_tile_s_stars():
    scene = isolated("stars", [20, 21, 22], seed=7)
    guessed = dataclasses.replace(scene.tile, psf={"r": Psf(3.0)})
    fluxes = {}
    for made in (True, False):
        found = measure(guessed, MeasureSettings(psf_from_stars=made))
        known, index = found_in(scene, found)
        assert known.all()
        fluxes[made] = np.median(found.photometry["psfFlux"][index, 0] / scene.flux[:, 0])
    assert fluxes[True] == pytest.approx(1.0, abs=0.01)
    assert fluxes[False] < 0.9


class TestDeepField:
    """Ten-year depth in one band, at LSST's density: nearly half of the sources overlap others."""

    @pytest.fixture(scope="class")
    def scene(self) -> Scene:
        return deep_field(side=640, seed=2)

    @pytest.fixture(scope="class")
    def found(self, scene: Scene) -> Measured:
        return measure(scene.tile, MeasureSettings())

    def test_completeness_and_purity(self, scene: Scene, found: Measured):
        known, _ = found_in(scene, found, 2.5)
        magnitude = 31.4 - 2.5 * np.log10(scene.flux[:, 0])
        for low, high, least in [(20, 24, 0.93), (24, 25, 0.87), (25, 26, 0.78)]:
            assert known[(magnitude >= low) & (magnitude < high)].mean() > least, (low, high)
        distance, _ = cKDTree(np.column_stack([scene.x, scene.y])).query(np.column_stack([found.peak_x, found.peak_y]))
        assert np.mean(distance < 2.5) > 0.98

    def test_more_than_sep_finds_at_no_less_purity(self, scene: Scene, found: Measured):
        import sep

        counts = []
        objects = sep.extract(scene.tile.pixels[0], 0.83)  # SExtractor's filter and deblending, a deep threshold
        for x, y in ((objects["xcpeak"], objects["ycpeak"]), (found.peak_x, found.peak_y)):
            distance, _ = cKDTree(np.column_stack([x, y])).query(np.column_stack([scene.x, scene.y]))
            bright = scene.flux[:, 0] > 10 ** (0.4 * (31.4 - 26))
            back, _ = cKDTree(np.column_stack([scene.x, scene.y])).query(np.column_stack([x, y]))
            counts.append((np.mean(distance[bright] < 2.5), np.mean(back < 2.5)))
        (their_completeness, their_purity), (completeness, purity) = counts
        assert completeness > their_completeness + 0.03
        assert purity >= their_purity - 0.002

    def test_stars_among_galaxies_have_their_psf_flux(self, scene: Scene, found: Measured):
        known, index = found_in(scene, found, 1.0)
        bright = known & scene.is_star & (scene.flux[:, 0] > 10 ** (0.4 * (31.4 - 22)))
        assert bright.sum() >= 8
        assert np.median(found.photometry["psfFlux"][index[bright], 0] / scene.flux[bright, 0]) == pytest.approx(
            1, abs=0.01
        )

    def test_blended_light_is_told(self, scene: Scene, found: Measured):
        tree = cKDTree(np.column_stack([found.x, found.y]))
        nearest = tree.query(np.column_stack([found.x, found.y]), k=2)[0][:, 1]
        assert np.median(found.values["blendedness"][nearest < 6.5]) > 0.04
        assert np.median(found.values["blendedness"][nearest > 12]) < 0.005
