"""What embeddings learned without labels are worth on real stamps: classes by a linear probe, and copies found again.

    python benchmarks/embeddings.py --data FOLDER

FOLDER is that of the test data. Galaxy Zoo: stamps of DECaLS that experts chose as examples of an answer; five folds,
in each of which the network learns from the other four alone. Hubble: 100 galaxies; the network learns from half of
them, and turned, moved, blurred, noisier copies of the other half are looked for among these. Beside it the same
network as it was drawn, and plain pixels.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skymill.models import Contrastive, Examples, Place
from skymill.models.augmenting import augmented
from skymill.models.stamp_training import typical_noise

Stamps = NDArray[np.float32]
ZOO_CLASSES = ("smooth", "edge_on", "face_on_disk", "merger")
ZOO_PX, HST_PX = 48, 64
FOLDS = 5
COPIES = 4
"""Of each galaxy that is looked for."""
DRAWS = 2000
"""Of the bootstrap."""
PROBE = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
NETWORK = {"width": 24, "stages": 3, "depth": 2, "vector": 64, "batch_size": 46, "noise": 0.5, "band_dropout": 0.0}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args()
    zoo(options.data / "images" / "galaxyzoo_tree_examples", options.epochs)
    hst(options.data / "images" / "hst_cosmos_stamps" / "real_galaxy_images_extension.fits", options.epochs)


def zoo(folder: Path, epochs: int) -> None:
    """Classes of the Galaxy Zoo by a linear probe of what each way makes of the stamps."""
    stamps, labels = read_zoo(folder)
    print(f"Galaxy Zoo: {len(labels)} stamps, {dict(zip(ZOO_CLASSES, np.bincount(labels).tolist()))}")
    told: dict[str, NDArray[np.int64]] = {}
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(labels, labels):
        for name, encode in ways(stamps[train], labels[train], epochs).items():
            probe = GridSearchCV(PROBE, {"logisticregression__C": np.logspace(-4, 1, 6)}, cv=4)
            probe.fit(encode(stamps[train]), labels[train])
            told.setdefault(name, np.empty_like(labels))[test] = probe.predict(encode(stamps[test]))
    for name, found in told.items():
        right = (found == labels).astype(float)
        balanced = balanced_accuracy_score(labels, found)
        print(f"  {name:12} accuracy {interval(right)}, balanced {balanced:.3f}")


def hst(file: Path, epochs: int) -> None:
    """How often a changed copy of a galaxy lies nearest to the galaxy it was made of."""
    stamps = read_hst(file)
    halves = np.random.default_rng(0).permutation(len(stamps)) % 2
    found: dict[str, list[NDArray[np.int64]]] = {}
    for half in (0, 1):
        train, gallery = stamps[halves != half], stamps[halves == half]
        copies = [changed(gallery, number) for number in range(COPIES)]
        for name, encode in ways(train, np.arange(len(train)) % 2, epochs).items():
            known = unit(encode(gallery))
            for copy in copies:
                similar = unit(encode(copy)) @ known.T
                found.setdefault(name, []).append((similar > np.diag(similar)[:, None]).sum(axis=1))
    print(f"Hubble: {len(stamps)} galaxies, {COPIES} copies each, sought among {int((halves == 0).sum())}")
    for name, parts in found.items():
        ranks = np.concatenate(parts)
        first, five = (interval((ranks < most).astype(float)) for most in (1, 5))
        print(f"  {name:12} first {first}, among five {five}")


def ways(stamps: Stamps, labels: NDArray[np.int64], epochs: int) -> dict[str, Callable[[Stamps], NDArray[np.float32]]]:
    """Give what makes vectors of stamps: the network that has learned from these, the same as drawn, and pixels."""
    examples = Examples(stamps, labels, np.ones(len(labels), np.float32), int(labels.max()) + 1)
    settings = Contrastive.Settings.model_validate({**NETWORK, "epochs": epochs})
    with tempfile.TemporaryDirectory() as folder:
        learned = Contrastive.fit(examples, examples, settings, seed=0, place=Place(Path(folder), "cpu"))
    torch.manual_seed(0)
    noise = typical_noise(stamps)
    drawn = Contrastive(*Contrastive.networks(torch.from_numpy(noise), learned.shape), learned.shape, [])

    def pixels(some: Stamps) -> NDArray[np.float32]:
        return np.arcsinh(some[:, 0] / noise[:, None, None]).reshape(len(some), -1)

    return {"contrastive": learned.encode, "as drawn": drawn.encode, "pixels": pixels}


def read_zoo(folder: Path) -> tuple[Stamps, NDArray[np.int64]]:
    """Give stamps (n, 2, 3, k, k) and labels (n,) of the images with one of `ZOO_CLASSES`, each once."""
    with (folder / "labels.csv").open(newline="") as file:
        kinds = {row["file"]: row["coarse"] for row in csv.DictReader(file) if row["coarse"] in ZOO_CLASSES}
    files = [name for name in sorted(kinds) if (folder / "img" / name).is_file()]
    images = []
    for name in files:
        small = Image.open(folder / "img" / name).convert("RGB").resize((ZOO_PX, ZOO_PX), Image.Resampling.BOX)
        images.append(np.moveaxis(np.asarray(small, dtype=np.float32), -1, 0))
    return with_weight(np.stack(images)), np.array([ZOO_CLASSES.index(kinds[name]) for name in files])


def read_hst(file: Path) -> Stamps:
    """Give stamps (n, 2, 1, k, k): the middle of each image, amid noise like its own where it is smaller."""
    with fits.open(file) as hdus:
        images = [np.asarray(hdu.data, dtype=np.float32) for hdu in hdus if hdu.data is not None]
    random = np.random.default_rng(0)
    flux = np.empty((len(images), 1, HST_PX, HST_PX), np.float32)
    for target, image in zip(flux[:, 0], images):
        level, sigma = of_border(image)
        target[:] = sigma * random.standard_normal(target.shape)
        rows, columns = (min(HST_PX, side) for side in image.shape)
        y, x = (HST_PX - rows) // 2, (HST_PX - columns) // 2
        top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
        target[y : y + rows, x : x + columns] = image[top : top + rows, left : left + columns] - level
    return with_weight(flux)


def of_border(image: NDArray[np.float32]) -> tuple[float, float]:
    """Give the level and the scatter of an image's outermost pixels."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    level = float(np.median(border))
    return level, 1.4826 * float(np.median(np.abs(border - level)))


def with_weight(flux: Stamps) -> Stamps:
    """Take the level of the border off images (n, bands, k, k), and give them the weight that its scatter says."""
    told = np.array([[of_border(band) for band in image] for image in flux])  # (n, bands, 2)
    sigma = np.maximum(np.median(told[..., 1], axis=0), 1e-6)
    flux = flux - told[..., 0, None, None]
    weight = np.broadcast_to(sigma[:, None, None] ** -2.0, flux.shape)
    return np.stack([flux, weight], axis=1).astype(np.float32)


def changed(stamps: Stamps, number: int) -> Stamps:
    """Give turned, moved, blurred and noisier copies."""
    settings = Contrastive.Settings(noise=1.0, band_dropout=0.0)
    flux, weight = (torch.from_numpy(np.ascontiguousarray(stamps[:, k])) for k in (0, 1))
    both = augmented(flux, weight, settings, torch.Generator().manual_seed(1000 + number))
    return torch.stack(both, dim=1).numpy()


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give rows length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def interval(values: NDArray[np.float64]) -> str:
    """Give the mean and its 95 % interval by bootstrap."""
    draws = np.random.default_rng(0).choice(values, (DRAWS, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{values.mean():.3f} ({low:.3f}-{high:.3f})"


if __name__ == "__main__":
    main()
