"""Models of stamps: stamps/s of the stage over stamps/s of the bare network on batches that are ready, in the same run.

The stage opens and decodes FITS images of six bands, cuts, asks the network, keeps what it says and puts the tiles
together. The bare loop does nothing but ask the same session about the same batch again and again. The network is the
kind `cnn`. One worker, which stands and is warm before anything is timed; per CPU-second of all processes, since the
clock tells as much of who else was running.

    python benchmarks/stamp_inference.py --images 3 --side 2048 --sources 8000
    python benchmarks/stamp_inference.py --size 64 --width 20

With `--peer-python` Hyrax's `infer` asks the same network about some of the same stamps, which lie before it as it
wants them: a FITS file of each stamp and band. Its answers are held against ours.

    python benchmarks/stamp_inference.py --peer-python hyrax/bin/python --peer-stamps 2000
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from inference_efficiency import standing
from peers.sides import Side
from processes import family_cpu_s
from torch.utils.flop_counter import FlopCounterMode

from skymill import tiling
from skymill.config import ComputeSettings, RunConfig, SurveyConfig
from skymill.config.images import ImageFile, ImageSettings
from skymill.config.model import StampSettings
from skymill.config.run import InferenceSettings
from skymill.export.graph import to_bytes
from skymill.export.metadata import ModelSchema
from skymill.export.stamp_network import convert, prepend_encoder
from skymill.features.stamps import SourceImages
from skymill.inference.looks import batch_stamps
from skymill.inference.session import load_session
from skymill.inference.stage import run
from skymill.models.cnn import Cnn, CnnSettings
from skymill.sky import Tile, order29
from skymill.store import (
    Accounting,
    GroupManifest,
    Pool,
    TileEntry,
    Variable,
    digest,
    file_sha256,
    group_file,
    write_tile,
)
from skymill.survey import open_survey
from skymill.tiling.image_group import LABEL_BITS, tile_number

BANDS = "ugrizy"
CLASSES = ("star", "galaxy", "quasar")
BLOCK_ROWS = 2048
SCALE_ARCSEC = 0.2
NOISE = 10.0
"""Of a pixel, nJy."""
FILES = {"stamps": "stamps", "table": "table.fits", "network": "network.pt", "weights": "weights.pt"}
"""What Hyrax is given."""


def main() -> None:
    """Measure and print one JSON line per repeat and one with the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--side", type=int, default=2048, help="of an image, pixels")
    parser.add_argument("--sources", type=int, default=8000, help="of an image")
    parser.add_argument("--size", type=int, default=32, help="of a stamp, pixels")
    parser.add_argument("--width", type=int, default=24, help="of the network, as of the kind `cnn`")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the images are made; default a temporary folder")
    parser.add_argument("--peer-python", type=Path, help="of an environment with Hyrax (envs/hyrax.txt)")
    parser.add_argument("--peer-stamps", type=int, default=2000, help="that Hyrax looks at")
    arguments = parser.parse_args()
    n = arguments.images * arguments.sources
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name, standing(1) as (_, scheduler):
        folder = Path(name)
        images = write_images(folder, arguments.images, arguments.side)
        features = write_sources(folder / "results", images, arguments.side, arguments.sources)
        network = draw_network(arguments.width)
        model = write_network(folder / "network.onnx", network, arguments.size)
        batch = batch_stamps(n_bands=len(BANDS), size_px=arguments.size, block_rows=BLOCK_ROWS, provider="cpu")
        stage(features, model, folder, images, scheduler)  # imports, sessions, page cache
        found = []
        for _ in range(arguments.repeats):
            rates = {
                "bare": n / bare(model, n, batch, arguments.size),
                "stage": n / stage(features, model, folder, images, scheduler),
            }
            found.append(rates | {"ratio": rates["stage"] / rates["bare"]})
            print(json.dumps(found[-1]), flush=True)
        medians = {key: round(float(np.median([one[key] for one in found])), 3) for key in found[0]}
        medians |= {"mflop": round(mflop(network, arguments.size), 1)}
        if arguments.peer_python is not None:
            peer = with_hyrax(folder, images, model, network, arguments)
            medians |= {**peer, "over_hyrax": round(medians["stage"] / peer["hyrax"], 1)}
    told = {key: value for key, value in vars(arguments).items() if not isinstance(value, Path | None)}
    print(json.dumps({"n": n, **told, **medians}))


def bare(model: Path, n: int, batch: int, size: int) -> float:
    """CPU-seconds of the network alone, on `n` stamps."""
    session = load_session(str(model), file_sha256(model), "cpu")
    random, shape = np.random.default_rng(0), (batch, len(BANDS), size, size)
    flux = random.normal(0, NOISE, shape).astype(np.float32)
    weight = np.full(shape, NOISE**-2, np.float32)
    before = family_cpu_s()
    for start in range(0, n, batch):
        session(flux[: n - start], weight[: n - start])
    return family_cpu_s() - before


def stage(features: Path, model: Path, folder: Path, images: SourceImages, scheduler: str) -> float:
    """CPU-seconds of the stage."""
    before = family_cpu_s()
    run(
        features,
        model,
        output=folder / "results",
        model="network",
        settings=InferenceSettings(block_rows=BLOCK_ROWS),
        compute=ComputeSettings(scheduler=scheduler),
        workers=1,
        images=images,
    )
    seconds = family_cpu_s() - before
    shutil.rmtree(folder / "results" / "catalogues" / "network")
    return seconds


def draw_network(width: int) -> Cnn:
    """Give a network of the kind `cnn`, as it is drawn."""
    torch.manual_seed(1)
    shape = {**CnnSettings(width=width).sizes, "classes": len(CLASSES)}
    return Cnn(*Cnn.networks(torch.full((len(BANDS),), NOISE), shape), shape, [])


def write_network(path: Path, network: Cnn, size: int) -> Path:
    """Write it with its metadata."""
    stamps = StampSettings(size_px=size, pixel_scale_arcsec=SCALE_ARCSEC, bands=list(BANDS))
    schema = ModelSchema("network", "cnn", "classification", (), CLASSES, None, {}, {}, stamps=stamps)
    path.write_bytes(to_bytes(prepend_encoder(network, convert(network), stamps), schema.as_metadata()))
    return path


def mflop(network: Cnn, size: int) -> float:
    """Multiplications and additions of one stamp in the network's convolutions, millions."""
    with FlopCounterMode(display=False) as counter:
        network.encoder(*torch.zeros(2, 1, len(BANDS), size, size))
    return counter.get_total_flops() / 1e6


def with_hyrax(
    folder: Path, images: SourceImages, model: Path, network: Cnn, arguments: argparse.Namespace
) -> dict[str, float]:
    """Have Hyrax look at stamps of the first image; give its stamps/s per CPU-second and how far its answers are."""
    n, size = arguments.peer_stamps, arguments.size
    flux = first_stamps(images, n, size)
    (folder / "stamps").mkdir()
    names = [[f"{number}_{band}.fits" for band in BANDS] for number in range(n)]
    for files, stamp in zip(names, flux):
        for name, pixels in zip(files, stamp):
            fits.PrimaryHDU(pixels).writeto(folder / "stamps" / name)
    rows = [(number, band, name) for number, files in enumerate(names) for band, name in zip(BANDS, files)]
    Table(rows=rows, names=("object_id", "filter", "filename")).write(folder / "table.fits")
    torch.jit.trace(OfFlux(network), torch.from_numpy(flux[:2])).save(folder / "network.pt")
    torch.save({f"network.{name}": each for name, each in OfFlux(network).state_dict().items()}, folder / "weights.pt")
    files = {name: str(folder / file) for name, file in FILES.items()}
    with Side("hyrax", arguments.peer_python, "hyrax_inference.py", own=False) as side:
        runs = [side.ask(**files, size=size, results=str(folder)) for _ in range(arguments.repeats)]
    ours = load_session(str(model), file_sha256(model), "cpu")(flux, np.full(flux.shape, NOISE**-2, np.float32)).output
    return {
        "hyrax": round(n / float(np.median([run["cpu_s"] for run in runs])), 1),
        "largest_difference": float(np.abs(np.load(runs[0]["file"]) - ours).max()),
    }


class OfFlux(torch.nn.Module):
    """A network that takes flux alone; all pixels have weight."""

    def __init__(self, network: Cnn) -> None:
        super().__init__()
        self.encoder, self.head = network.encoder, network.head

    def forward(self, flux: torch.Tensor) -> torch.Tensor:
        """Give probabilities."""
        return torch.softmax(self.head(self.encoder(flux, torch.ones_like(flux))), dim=1)


def first_stamps(images: SourceImages, n: int, size: int) -> np.ndarray:
    """Cut stamps wholly within the first image, (n, bands, size, size)."""
    tile = next(iter(images.tiles.values()))
    form = StampSettings(size_px=size, pixel_scale_arcsec=SCALE_ARCSEC, bands=list(BANDS))
    pixels = tile.read(form)
    places = np.random.default_rng(4).uniform(size, pixels.shape[0] - size, (n, 2))
    ra, dec = pixels.wcs.all_pix2world(places, 0).T
    return np.concatenate([batch.flux.copy() for batch in tile.cut(pixels, ra, dec, form, batch=64)])


def write_images(folder: Path, n: int, side: int) -> SourceImages:
    """Write images of noise in six bands, side by side, and plan them."""
    (folder / "images").mkdir()
    random = np.random.default_rng(2)
    for number in range(n):
        header = grid(number, side).to_header()
        header["BUNIT"] = "nJy"
        for band in BANDS:
            pixels = random.normal(0, NOISE, (side, side)).astype(np.float32)
            variance = np.full(pixels.shape, NOISE**2, np.float32)
            hdus = [fits.ImageHDU(pixels, header, "IMAGE"), fits.ImageHDU(variance, header, "VARIANCE")]
            fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(folder / "images" / f"{band}-{number}.fits")
    files = {role: ImageFile(file="{band}-{tile}.fits", hdu=role.upper()) for role in ("image", "variance")}
    images = ImageSettings(layout="fits", psf_fwhm_arcsec=0.8, **files)
    survey = SurveyConfig(name="noise", format="images", path=str(folder / "images"), bands=list(BANDS), images=images)
    opened = open_survey(survey)
    tiling.plan_images(RunConfig(name="noise", survey="noise.yaml"), opened, folder / "results", workers=1)
    return SourceImages.open(opened, (folder / "results" / "tiling" / "images").glob("*.json"))


def grid(number: int, side: int) -> WCS:
    """The grid of an image."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150 + number * side * SCALE_ARCSEC / 3600, 0]
    wcs.wcs.crpix = [(side + 1) / 2] * 2
    wcs.wcs.cdelt = [-SCALE_ARCSEC / 3600, SCALE_ARCSEC / 3600]
    return wcs


def write_sources(results: Path, images: SourceImages, side: int, n: int) -> Path:
    """Write one feature tile of sources anywhere on the images; a model of stamps asks for their ids and positions."""
    random, ids, places = np.random.default_rng(3), [], []
    for number in range(len(images.tiles)):
        ids.append((tile_number("noise", f"tile={number}") << LABEL_BITS) + np.arange(1, n + 1))
        places.append(grid(number, side).all_pix2world(random.uniform(0, side - 1, (n, 2)), 0).T)
    ra, dec = np.concatenate(places, axis=1)
    healpix29 = order29(ra, dec)
    order = np.argsort(healpix29)
    columns = {
        "objectId": np.concatenate(ids)[order],
        "_healpix_29": healpix29[order],
        "coord_ra": np.ascontiguousarray(ra[order]),
        "coord_dec": np.ascontiguousarray(dec[order]),
    }
    rows = {name: Variable(values) for name, values in columns.items()}
    rows["flags"] = Variable(np.zeros(len(ra), np.int32), attrs={"flag_masks": [1], "flag_meanings": "odd"})
    tile, key, root = Tile(0, 4), digest({"n": n}), results / "catalogues" / "features"
    accounting = Accounting(len(ra), len(ra))
    file = write_tile(Pool(root).path(tile, key), rows, receipt={"accounting": accounting.as_dict()})
    path = group_file(root, key, "o0p4")
    path.parent.mkdir(parents=True)
    entry = TileEntry(*tile, key, file.sha256, file.n_bytes, len(ra), accounting)
    GroupManifest("features", key[:12], "o0p4", {}, (entry,)).write(path)
    return path


if __name__ == "__main__":
    main()
