"""Feature tiles made by the store, and small models made by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from skymill.config import ComputeSettings
from skymill.config.run import InferenceSettings
from skymill.export.graph import constant, imputation_nodes, new_model, to_bytes
from skymill.export.metadata import ModelInput, ModelSchema
from skymill.inference.stage import run
from skymill.models.conformal import ConformalSets
from skymill.sky import Tile, order29, tile_centres
from skymill.store import Accounting, GroupManifest, Pool, TileEntry, Variable, digest, group_file, short, write_tile

CLASSES = ("star", "galaxy", "quasar")
FEATURES = ("g_mag", "r_mag", "size", "g_missing")
ORDER = 4
PIXELS = (300, 301, 302)
ROWS = 2_500
CHUNK_ROWS = 1_024
FLUX_MISSING = 2
IMPUTED = 20


def matrix(n: int, seed: int) -> NDArray[np.float32]:
    """Features (n, 4); some rows lack values, each 50th has nothing but its indicator."""
    random = np.random.default_rng(seed)
    features = random.normal(20, 2, (n, len(FEATURES))).astype(np.float32)
    features[random.random(features.shape) < 0.05] = np.nan
    features[::50, :3] = np.nan
    features[1::50, :3] = np.inf
    features[:, 3] = ~np.isfinite(features[:, 0])
    return features


def weights(n_features: int) -> NDArray[np.float32]:
    """What a model of some features multiplies them by, (f, classes): it depends on their order."""
    return np.random.default_rng(5).normal(0, 0.2, (n_features, len(CLASSES))).astype(np.float32)


def softmax(features: NDArray[np.float32], names: tuple[str, ...] = FEATURES) -> NDArray[np.float64]:
    """What `softmax_model` says of features (n, 4), computed without ONNX."""
    chosen = features[:, [FEATURES.index(name) for name in names]].astype(np.float64)
    exponentials = np.exp(np.where(np.isfinite(chosen), chosen, IMPUTED) @ weights(len(names)))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def softmax_model(
    names: tuple[str, ...] = FEATURES,
    *,
    impute: bool = True,
    conformal: ConformalSets | None = None,
    distance: bool = False,
) -> bytes:
    """A linear model with a softmax; without imputation it answers NaN with NaN.

    The distance it may tell is half of how far its first feature is from where it is imputed.
    """
    nodes, constants = imputation_nodes(np.full(len(names), IMPUTED, np.float32), output="measured")
    nodes = nodes if impute else []
    nodes += [
        onnx.helper.make_node("MatMul", ["measured" if impute else "features", "weights"], ["logits"]),
        onnx.helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = new_model(
        nodes,
        [*(constants if impute else []), constant("weights", weights(len(names)))],
        n_features=len(names),
        n_classes=len(CLASSES),
    )
    if distance:
        graph.graph.node.extend(
            [
                onnx.helper.make_node("Gather", ["measured", "first"], ["column"], axis=1),
                onnx.helper.make_node("Sub", ["column", "middle"], ["offset"]),
                onnx.helper.make_node("Abs", ["offset"], ["far"]),
                onnx.helper.make_node("Mul", ["far", "half"], ["training_distance"]),
            ]
        )
        graph.graph.initializer.extend(
            [constant("first", 0, np.int64), constant("middle", IMPUTED), constant("half", 0.5)]
        )
        graph.graph.output.append(
            onnx.helper.make_tensor_value_info("training_distance", onnx.TensorProto.FLOAT, ["n"])
        )
    inputs = tuple(ModelInput(name, "mag", name, name.endswith("missing")) for name in names)
    schema = ModelSchema("m", "onnx", "classification", inputs, CLASSES, None, {}, {}, conformal)
    return to_bytes(graph, schema.as_metadata())


def write_feature_tile(root: Path, pixel: int, *, seed: int) -> TileEntry:
    """A feature tile as `features_compute` writes it."""
    tile = Tile(ORDER, pixel)
    ra, dec = tile_centres(14, np.sort(np.random.default_rng(seed).integers(pixel << 20, (pixel + 1) << 20, ROWS)))
    healpix29 = order29(ra, dec)
    order = np.argsort(healpix29, kind="stable")
    key = digest({"pixel": pixel, "seed": seed})
    flags = np.where(np.arange(ROWS) % 7 == 0, FLUX_MISSING, 0).astype(np.int32)
    variables = {
        "objectId": Variable(np.int64(2**60) + 10_000 * pixel + np.arange(ROWS)),
        "_healpix_29": Variable(healpix29[order]),
        "coord_ra": Variable(ra[order], attrs={"units": "deg"}),
        "coord_dec": Variable(dec[order], attrs={"units": "deg"}),
        "flags": Variable(flags, attrs={"flag_masks": [1, 2], "flag_meanings": "ra_wrapped flux_missing"}),
        "features": Variable(matrix(ROWS, seed), ("source", "feature"), columns=FEATURES),
    }
    n_flagged = int((flags != 0).sum())
    accounting = Accounting(ROWS, ROWS - n_flagged, n_flagged, {"flux_missing": n_flagged})
    file = write_tile(
        Pool(root).path(tile, key), variables, receipt={"accounting": accounting.as_dict()}, chunk_rows=CHUNK_ROWS
    )
    return TileEntry(*tile, key, file.sha256, file.n_bytes, ROWS, accounting)


@dataclass
class Lab:
    """A results folder with one group of three feature tiles and a model."""

    output: Path
    features: Path
    onnx: Path
    scheduler: str
    """A cluster that all tests share, since starting one takes seconds."""
    classes = CLASSES
    names = FEATURES
    matrix = staticmethod(matrix)
    model_bytes = staticmethod(softmax_model)
    softmax = staticmethod(softmax)

    def run(self, *, workers: int = 1, max_quarantined: int = 0, scheduler: str | None = None) -> Path:
        """Run the stage."""
        return run(
            self.features,
            self.onnx,
            output=self.output,
            model="m",
            settings=InferenceSettings(block_rows=512),
            compute=ComputeSettings(
                scheduler=scheduler or self.scheduler, max_quarantined_tiles=max_quarantined, retries=0
            ),
            workers=workers,
        )

    def tiles(self) -> dict[str, bytes]:
        """Every tile of the model's catalogue, by its path in the pool."""
        root = self.output / "catalogues" / "m" / "tiles"
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.zarr.zip"))}


@pytest.fixture(scope="session")
def scheduler() -> Iterator[str]:
    """The address of a cluster of one worker."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def lab(tmp_path: Path, scheduler: str) -> Lab:
    """Three tiles of 2,500 rows."""
    root = tmp_path / "catalogues" / "features"
    entries = tuple(write_feature_tile(root, pixel, seed=pixel) for pixel in PIXELS)
    features = group_file(root, short(digest({"a": 1})), "o2p18")
    features.parent.mkdir(parents=True)
    GroupManifest("features", short(digest({"a": 1})), "o2p18", {}, entries).write(features)
    file = tmp_path / "models" / "m" / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(softmax_model())
    assert json.loads(features.read_text())["tiles"]
    return Lab(tmp_path, features, file, scheduler)
