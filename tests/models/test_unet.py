"""The U-Net: how far it looks, that it learns, that a kill leaves no trace, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from skymill.config import ConfigError
from skymill.models import Place, Scenes, Unet, read_settings
from skymill.models.unet import UnetSettings
from skymill.models.unet_network import UNet
from skymill.models.unet_training import part, random_parts, turned, typical_noise, without_bands

SMALL = UnetSettings(
    bands=["g", "r"],
    width=6,
    levels=2,
    depth=1,
    scenes=8,
    held_out=2,
    scene_px=64,
    crop_px=32,
    window_px=64,
    batch_size=2,
    epochs=12,
)
NOISE, SIGMA_PX = 2.0, 1.5
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from skymill.models import Place, Scenes, Unet
from skymill.models.unet import UnetSettings
settings, folder, data = UnetSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2]), np.load(sys.argv[3])
scenes = [Scenes(**{name[1:]: data[name] for name in data.files if name[0] == split}) for split in "tv"]
Unet.fit(*scenes, settings, seed=5, place=Place(folder, "cpu")).save(folder)
"""


def draw(n: int, seed: int) -> Scenes:
    """Round galaxies of one width in two bands, their pixels those above the noise."""
    random, side = np.random.default_rng(seed), SMALL.scene_px
    y, x = np.mgrid[:side, :side]
    told = {
        "flux": NOISE * random.normal(size=(n, 2, side, side)),
        "inverse_variance": np.full((n, 2, side, side), NOISE**-2),
        "classes": np.zeros((n, side, side), np.uint8),
        "centre": np.zeros((n, side, side)),
        "offset": np.full((n, 2, side, side), np.nan),
        "companion": np.full((n, side, side), np.nan),
    }
    for scene in range(n):
        for row, column in random.integers(4, side - 4, (12, 2)):
            distance2 = (y - row) ** 2 + (x - column) ** 2
            light = np.exp(-distance2 / (2 * SIGMA_PX**2)) * random.uniform(20, 80)
            shows = light > NOISE
            told["flux"][scene] += light
            told["classes"][scene][shows] = 2
            told["centre"][scene] = np.maximum(told["centre"][scene], np.exp(-distance2 / 2))
            told["offset"][scene][:, shows] = (row - y)[shows], (column - x)[shows]
            told["companion"][scene][shows] = 0
    return Scenes(**{name: values if name == "classes" else values.astype("f4") for name, values in told.items()})


@pytest.fixture(scope="module")
def scenes() -> tuple[Scenes, Scenes]:
    return draw(SMALL.scenes, seed=1), draw(SMALL.held_out, seed=2)


@pytest.fixture(scope="module")
def fitted(scenes: tuple[Scenes, Scenes], tmp_path_factory: pytest.TempPathFactory) -> Unet:
    return Unet.fit(*scenes, SMALL, seed=5, place=Place(tmp_path_factory.mktemp("unet"), "cpu"))


@pytest.mark.parametrize(("levels", "depth"), [(1, 1), (2, 2), (3, 1)])
def test_a_pixel_depends_on_no_other_farther_than_the_halo(levels: int, depth: int) -> None:
    """And on one that is nearly as far, for some of the places that a pixel has among the patches."""
    settings = UnetSettings(levels=levels, depth=depth, width=4)
    torch.manual_seed(levels)
    network = UNet(torch.ones(1), width=4, levels=levels, depth=depth).eval()
    side = -(-(2 * settings.halo_px + 2) // settings.multiple_px) * settings.multiple_px + settings.multiple_px
    flux = torch.randn(1, 1, side, side, dtype=torch.float64).requires_grad_()
    network = network.double()
    reach = 0
    for column in range(side // 2, side // 2 + settings.multiple_px):
        scores, _ = network(flux, torch.ones_like(flux))
        (gradient,) = torch.autograd.grad(scores[..., side // 2, column].square().sum(), flux)
        seen = torch.nonzero(gradient[0, 0].abs().sum(dim=0)).flatten()
        reach = max(reach, int((seen - column).abs().max()))
    assert settings.halo_px - settings.multiple_px < reach <= settings.halo_px


def test_what_it_says_does_not_depend_on_the_place_of_the_window(fitted: Unet) -> None:
    """Moved by a multiple of its strides, an image gives the same maps, moved, where it does not see the border."""
    scene, step = draw(1, seed=3), SMALL.multiple_px
    whole = fitted.maps(scene.flux, scene.inverse_variance)
    cut = fitted.maps(*(np.ascontiguousarray(each[..., step:, step:]) for each in (scene.flux, scene.inverse_variance)))
    inner = slice(SMALL.halo_px, -SMALL.halo_px)
    assert np.allclose(whole[..., step:, step:][..., inner, inner], cut[..., inner, inner], atol=1e-5)


def test_it_learns_where_sources_and_their_centres_are(fitted: Unet) -> None:
    scene = draw(4, seed=4)
    maps = fitted.maps(scene.flux, scene.inverse_variance)
    said, true = maps[:, :4].argmax(1) == 2, scene.classes == 2
    assert (said & true).sum() / (said | true).sum() > 0.6
    assert np.median(maps[:, 4][scene.centre == 1]) > 10 * np.median(maps[:, 4][~true])
    wrong = np.abs(maps[:, 5:7] - scene.offset)[:, :, true.any(axis=0)]
    assert np.nanmedian(wrong) < 0.7 * np.nanmedian(np.abs(scene.offset))


def test_classes_are_probabilities_also_of_an_image_without_weights(fitted: Unet) -> None:
    nothing = np.zeros((1, 2, 64, 64), np.float32)
    maps = fitted.maps(nothing, nothing)
    assert np.isfinite(maps).all()
    assert np.allclose(maps[:, :4].sum(1), 1, atol=1e-6)


def test_log_odds_of_a_blend_are_the_weighted_sum_of_the_evidence(fitted: Unet) -> None:
    scene, weights = draw(1, seed=6), np.random.default_rng(1).normal(size=SMALL.width + 2).astype("f4")
    told = fitted.with_blend(weights).maps_and_evidence(scene.flux, scene.inverse_variance)
    blend, evidence = told[:, 7], told[:, 8:]
    assert np.allclose(blend, np.einsum("c,nchw->nhw", weights[:-1], evidence) + weights[-1], atol=1e-4)


def test_saved_and_loaded_it_says_the_same_and_writes_the_same_bytes(fitted: Unet, tmp_path: Path) -> None:
    blend = fitted.with_blend(np.arange(SMALL.width + 2, dtype="f4"))
    [name] = blend.save(tmp_path)
    loaded = Unet.load(tmp_path)
    scene = draw(1, seed=7)
    assert np.array_equal(*(each.maps(scene.flux, scene.inverse_variance) for each in (blend, loaded)))
    assert loaded.history() == fitted.history()
    first = (tmp_path / name).read_bytes()
    loaded.save(tmp_path)
    assert (tmp_path / name).read_bytes() == first


def test_a_killed_fit_goes_on_to_the_same_bytes(scenes: tuple[Scenes, Scenes], fitted: Unet, tmp_path: Path) -> None:
    told = {f"{split}{name}": each for split, some in zip("tv", scenes) for name, each in vars(some).items()}
    np.savez(tmp_path / "scenes.npz", **told)
    folder = tmp_path / "killed"
    folder.mkdir()
    command = [sys.executable, "-c", PROGRAM, SMALL.model_dump_json(), str(folder), str(tmp_path / "scenes.npz")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / "last.ckpt").exists() and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "checkpoint.pt").exists()
    subprocess.run(command, check=True, capture_output=True)
    fitted.save(tmp_path)
    assert (folder / "checkpoint.pt").read_bytes() == (tmp_path / "checkpoint.pt").read_bytes()


@pytest.mark.parametrize("how", [(True, False, False), (False, True, False), (False, False, True), (True, True, True)])
def test_offsets_of_a_turned_scene_still_lead_to_the_centres(how: tuple[bool, bool, bool]) -> None:
    scene = turned(draw(1, seed=8), *how)
    y, x = np.nonzero(np.isfinite(scene.offset[0, 0]))
    rows, columns = y + scene.offset[0, 0, y, x], x + scene.offset[0, 1, y, x]
    assert (scene.centre[0, np.rint(rows).astype(int), np.rint(columns).astype(int)] == 1).all()


def test_a_step_sees_parts_of_the_size_asked_for_and_bands_that_are_gone_have_no_light(
    scenes: tuple[Scenes, Scenes],
) -> None:
    settings = SMALL.model_copy(update={"band_dropout": 0.5})
    parts = random_parts(scenes[0], settings, np.random.default_rng(1))
    assert parts.flux.shape == (SMALL.batch_size, 2, 32, 32)
    gone = ~(parts.inverse_variance > 0).any(axis=(2, 3))
    assert 0.2 < gone.mean() < 0.8
    assert (parts.flux[gone] == 0).all() and (parts.flux[~gone] != 0).any()
    one = without_bands(part(scenes[0], slice(0, 1)), np.array([True, False]))
    assert (one.inverse_variance[:, 1] == 0).all() and (one.inverse_variance[:, 0] > 0).all()
    assert all(len(getattr(parts, each.name)) == SMALL.batch_size for each in fields(Scenes))


def test_the_noise_of_a_band_is_the_median_of_its_pixels() -> None:
    weight = np.zeros((1, 3, 2, 2), np.float32)
    weight[0, 0] = 0.25
    weight[0, 1, 0] = 1 / 9
    assert np.allclose(typical_noise(weight), [2, 3, 1])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"window_px": 100}, r"window_px: expected a multiple of 8 .*, found 100"),
        ({"window_px": 104}, r"window_px: expected 114 at least, as the network looks 49 px far, found 104"),
        ({"crop_px": 512}, r"crop_px: expected scene_px = 384 at most, found 512"),
        (
            {"years": [5.0, 1.0]},
            r"years: expected two numbers from 0\.1 to 10, the lower one first, found \[5\.0, 1\.0\]",
        ),
        ({"bands": ["g", "w"]}, r"bands: expected some of u, g, r, i, z, y, each once, found g, w"),
        ({"wdth": 3}, r"wdth: unknown key \(value 3\); did you mean 'width'"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_settings("unet", changes, source="unet.yaml")


def test_a_corrupt_checkpoint_is_refused(fitted: Unet, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RuntimeError, match="zip archive"):
        Unet.load(tmp_path)
