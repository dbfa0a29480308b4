"""Rendered pixels: seams, noise, flux, defects."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from skymill.config.images import RenderSettings
from skymill.survey import rendered
from skymill.survey.flux import LSST_SOFTENING_nJy
from skymill.survey.images.tile import TilePixels
from skymill.survey.rendered.grid import tile_window
from skymill.survey.rendered.optics import optics
from skymill.survey.rendered.tile import noise_free
from skymill.survey.simulated.bands import BANDS, flux_of

EMPTY = {"density": 1e-9, "stars": 0.0, "quasars": 0.0, "defects": False}


def digest(tile: TilePixels) -> str:
    arrays = (tile.pixels, tile.inverse_variance, tile.mask)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def same(one: TilePixels, other: TilePixels, here: tuple, there: tuple) -> bool:
    pairs = ((getattr(one, n)[here], getattr(other, n)[there]) for n in ("pixels", "inverse_variance", "mask"))
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


class TestSeams:
    """Overlaps are the same bits, however the field is cut."""

    def test_neighbours_share_every_bit_of_their_overlap(self, small, tiles):
        n = small.overlap_px
        assert same(tiles["x0y0"], tiles["x1y0"], np.s_[:, :, -n:], np.s_[:, :, :n])
        assert same(tiles["x0y0"], tiles["x0y1"], np.s_[:, -n:, :], np.s_[:, :n, :])
        assert same(tiles["x0y0"], tiles["x1y1"], np.s_[:, -n:, -n:], np.s_[:, :n, :n])
        assert np.isfinite(tiles["x0y0"].pixels[:, :, -n:]).any()

    def test_one_tile_of_the_whole_field_has_the_same_pixels(self, small, tiles):
        side = 2 * small.tile_px - small.overlap_px
        whole = rendered.render_tile(small.model_copy(update={"tiles": (1, 1), "tile_px": side}), "x0y0")
        step = small.tile_px - small.overlap_px
        for name, tile in tiles.items():
            x, y = step * int(name[1]), step * int(name[3])
            assert same(whole, tile, np.s_[:, y : y + small.tile_px, x : x + small.tile_px], np.s_[:, :, :])

    def test_another_process_renders_the_same_bytes(self, small, tiles):
        program = (
            "import hashlib, sys\n"
            "from skymill.config.images import RenderSettings\n"
            "from skymill.survey import rendered\n"
            "tile = rendered.render_tile(RenderSettings.model_validate_json(sys.argv[1]), 'x1y1')\n"
            "parts = (tile.pixels, tile.inverse_variance, tile.mask)\n"
            "print(hashlib.sha256(b''.join(part.tobytes() for part in parts)).hexdigest())"
        )
        command = [sys.executable, "-c", program, small.model_dump_json()]
        there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        assert there == digest(tiles["x1y1"])

    def test_another_seed_gives_another_sky(self, small, tiles):
        other = rendered.render_tile(small.model_copy(update={"seed": 2}), "x1y1")
        assert np.corrcoef(other.pixels[2].ravel(), tiles["x1y1"].pixels[2].ravel())[0, 1] < 0.2


class TestNoise:
    """Depth is what it says."""

    @pytest.mark.parametrize("years", [1, 10])
    def test_point_source_at_m5_has_a_signal_to_noise_of_5(self, years):
        settings = RenderSettings(years=years, tiles=(1, 1), tile_px=1536, **EMPTY)
        tile = rendered.render_tile(settings, "x0y0")
        for band, pixels in zip(tile.bands, tile.pixels):
            psf = tile.psf[band].image.astype(float)
            step, half = 24, psf.shape[0] // 2
            weights = psf / (psf**2).sum()
            starts = range(0, pixels.shape[0] - psf.shape[0], step)
            fluxes = [
                (weights * pixels[y : y + 2 * half + 1, x : x + 2 * half + 1]).sum() for y in starts for x in starts
            ]
            limit = flux_of(np.array(tile.metadata["m5"][band]))
            assert np.std(fluxes) * 5 == pytest.approx(limit, rel=0.05)
            assert abs(np.mean(fluxes)) < 4 * limit / 5 / np.sqrt(len(fluxes))

    def test_ten_year_depth_is_that_of_the_surveys_own_table(self):
        limit = flux_of(optics(RenderSettings(years=10)).m5)
        assert np.allclose(1.042 * limit / 5, [LSST_SOFTENING_nJy[band] for band in BANDS], rtol=0.02)

    def test_weights_are_those_of_the_noise_also_on_bright_stars(self, small, tiles):
        for name, tile in tiles.items():
            good = tile.mask == 0
            scene = noise_free(small, tile_window(small, name))
            pulls = (tile.pixels - scene)[good] * np.sqrt(tile.inverse_variance[good])
            assert abs(np.std(pulls) - 1) < 0.01
            bright = scene[good] > 20 * np.broadcast_to(optics(small).sigma[:, None, None], scene.shape)[good]
            assert np.std(pulls[bright]) == pytest.approx(1, abs=4 / np.sqrt(2 * bright.sum()))
            sky = np.broadcast_to(1 / optics(small).sigma[:, None, None] ** 2, scene.shape)[good]
            assert np.all(tile.inverse_variance[good] <= sky * 1.001)

    def test_neighbouring_pixels_and_bands_have_noise_of_their_own(self):
        tile = rendered.render_tile(RenderSettings(tiles=(1, 1), tile_px=512, **EMPTY), "x0y0")
        flat = tile.pixels.reshape(len(BANDS), -1)
        assert np.abs(np.corrcoef(flat) - np.eye(len(BANDS))).max() < 0.01
        assert abs(np.corrcoef(tile.pixels[2, :, :-1].ravel(), tile.pixels[2, :, 1:].ravel())[0, 1]) < 0.01
        assert not np.array_equal(tile.pixels[2, :256, :256], tile.pixels[2, 256:, 256:])


@pytest.fixture(scope="module")
def sparse() -> RenderSettings:
    return RenderSettings(
        seed=4, tiles=(1, 1), tile_px=1536, density=0.01, stars=1, brightest_star=17, quasars=0.3, defects=False
    )


class TestFlux:
    """The noise-free image holds the light the truth tells of."""

    def test_isolated_sources_have_the_flux_of_the_truth(self, sparse):
        table = rendered.truth(sparse, "x0y0")
        scene = noise_free(sparse, tile_window(sparse, "x0y0"))
        half, checked = 48, []
        x, y = np.rint(table["x"]).astype(int), np.rint(table["y"]).astype(int)
        near = np.maximum(np.abs(x[:, None] - x), np.abs(y[:, None] - y)) < 2.5 * half
        inside = (np.minimum(x, y) >= half) & (np.maximum(x, y) < sparse.tile_px - half)
        for row in np.flatnonzero((near.sum(1) == 1) & inside & (table["half_light_radius"] < 1)).tolist():
            box = scene[:, y[row] - half : y[row] + half, x[row] - half : x[row] + half].sum(axis=(1, 2), dtype=float)
            flux = np.array([table[f"{band}_flux"][row] for band in BANDS])
            assert np.allclose(box, flux, rtol=2e-3, atol=0.05), row
            checked.append(table["class"][row])
        assert checked.count("GALAXY") >= 5
        assert checked.count("STAR") >= 3

    def test_psf_is_a_stars_image(self, sparse):
        table = rendered.truth(sparse, "x0y0")
        scene = noise_free(sparse, tile_window(sparse, "x0y0"))
        stars = np.flatnonzero((table["class"] == "STAR") & (table["neighbour_distance"] > 10) & ~table["saturated"])
        tile = rendered.render_tile(sparse, "x0y0")
        for row in stars[np.argsort(-table["i_flux"][stars])[:4]].tolist():
            x, y = round(table["x"][row]), round(table["y"][row])
            if min(x, y) < 10 or max(x, y) > sparse.tile_px - 11:
                continue
            core = scene[3, y - 8 : y + 9, x - 8 : x + 9]
            model = tile.psf["i"].image[22:39, 22:39] * table["i_flux"][row]
            assert core.sum() == pytest.approx(model.sum(), rel=0.01)
            assert np.hypot(*np.argwhere(core == core.max())[0] - 8) < 1.5


@pytest.fixture(scope="module")
def field() -> TilePixels:
    settings = RenderSettings(tiles=(1, 1), tile_px=768, stars=30, density=0.01, brightest_star=13)
    return rendered.render_tile(settings, "x0y0")


class TestDefects:
    """What must not be used is named and has no weight."""

    def test_every_kind_is_there(self, field):
        for plane in ("BAD", "SAT", "CR", "STREAK", "NO_DATA"):
            assert field.plane(plane).any(), plane
        assert field.plane("NO_DATA").any(axis=(1, 2)).sum() == 2
        assert field.plane("STREAK").any(axis=(1, 2)).sum() == 1

    def test_flagged_pixels_have_no_weight_and_all_others_have(self, field):
        assert np.array_equal(field.mask != 0, field.inverse_variance == 0)
        assert np.all(np.isfinite(field.inverse_variance))
        assert np.array_equal(np.isnan(field.pixels), field.plane("NO_DATA"))

    def test_planes_play_their_parts(self, field):
        assert np.array_equal(field.having("saturated"), field.plane("SAT"))
        assert np.array_equal(field.having("cosmic_ray"), field.plane("CR"))
        assert np.array_equal(field.having("no_data"), field.plane("NO_DATA"))
        assert np.array_equal(field.having("bad"), field.plane("BAD") | field.plane("STREAK"))

    def test_defects_stand_out_of_the_noise(self, field):
        for k, band in enumerate(field.bands):
            sigma = np.sqrt(1 / field.inverse_variance[k].max())
            rays = field.plane("CR")[k] & ~field.plane("BAD")[k] & ~field.plane("NO_DATA")[k]
            if rays.any():
                assert np.median(field.pixels[k][rays]) > 5 * sigma, band

    def test_without_defects_only_stars_saturate(self):
        settings = RenderSettings(tiles=(1, 1), tile_px=512, stars=30, density=0.01, defects=False, brightest_star=13)
        tile = rendered.render_tile(settings, "x0y0")
        assert np.array_equal(tile.mask != 0, tile.plane("SAT"))
        assert tile.plane("SAT").any()
        assert np.all(np.isfinite(tile.pixels))


def test_tile_is_what_a_reader_would_give(tiles):
    for tile in tiles.values():
        assert tile.pixels.dtype == np.float32 and tile.pixels.flags.c_contiguous
        assert tile.inverse_variance.dtype == np.float32 and tile.mask.dtype == np.uint32
        assert tile.bands == tuple("ugrizy") and tile.noise_known and not tile.resampled
        for band in tile.bands:
            image = tile.psf[band].image
            assert image.dtype == np.float32 and image.shape[0] % 2 == 1
            assert image.sum() == pytest.approx(1, abs=1e-5)
            assert np.unravel_index(image.argmax(), image.shape) == (30, 30)
            assert 3.5 < tile.psf[band].fwhm_px < 6
