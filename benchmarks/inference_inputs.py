"""Feature tiles of any size and an untrained MLP 20-64-64-3, for the benchmarks of inference."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx

from skymill.export.graph import constant, imputation_nodes, new_model, to_bytes
from skymill.export.metadata import ModelInput, ModelSchema
from skymill.sky import Tile, tile_centres
from skymill.store import Accounting, GroupManifest, Pool, TileEntry, TileWriter, Variable, digest, group_file, short

FEATURES = tuple(f"f{number}" for number in range(20))
CLASSES = ("star", "galaxy", "quasar")
SIZES = (20, 64, 64, 3)
ORDER = 5
WRITE_ROWS = 65_536


def write_inputs(folder: Path, *, rows: int, tile_rows: int) -> tuple[Path, Path]:
    """Write feature tiles and a model; give the group's manifest and the ONNX file."""
    root = folder / "catalogues" / "features"
    sizes = [min(tile_rows, rows - start) for start in range(0, rows, tile_rows)]
    entries = tuple(_write_tile(root, pixel, size) for pixel, size in enumerate(sizes))
    settings = short(digest({"rows": rows, "tile_rows": tile_rows}))
    manifest = group_file(root, settings, "o0p0")
    manifest.parent.mkdir(parents=True, exist_ok=True)
    GroupManifest("features", settings, "o0p0", {}, entries).write(manifest)
    file = folder / "mlp.onnx"
    file.write_bytes(untrained_mlp())
    return manifest, file


def _write_tile(root: Path, pixel: int, rows: int) -> TileEntry:
    tile, random = Tile(ORDER, pixel), np.random.default_rng(pixel)
    key = digest({"pixel": pixel, "rows": rows})
    low, high = pixel << 48, (pixel + 1) << 48
    form = {
        "objectId": Variable.of_rows(np.int64),
        "_healpix_29": Variable.of_rows(np.int64),
        "coord_ra": Variable.of_rows(np.float64, units="deg"),
        "coord_dec": Variable.of_rows(np.float64, units="deg"),
        "flags": Variable.of_rows(np.int32, flag_masks=[1], flag_meanings="odd"),
        "features": Variable.of_rows(np.float32, dim="feature", columns=FEATURES),
    }
    healpix29 = np.sort(random.integers(low, high, rows))
    identifiers = random.permutation(rows)  # counted within a tile, as surveys do, and not in the order of the sky
    with TileWriter(Pool(root).path(tile, key), form, rows) as writer:
        for start in range(0, rows, WRITE_ROWS):
            position = healpix29[start : start + WRITE_ROWS]
            n = len(position)
            ra, dec = tile_centres(29, position)
            writer.append(
                {
                    "objectId": (pixel << 40) + identifiers[start : start + n],
                    "_healpix_29": position,
                    "coord_ra": ra,
                    "coord_dec": dec,
                    "flags": (random.random(n) < 0.05).astype(np.int32),
                    "features": random.normal(22, 2, (n, len(FEATURES))).astype(np.float32),
                }
            )
        file = writer.commit()
    return TileEntry(*tile, key, file.sha256, file.n_bytes, rows, Accounting(n_in=rows, n_ok=rows))


def untrained_mlp() -> bytes:
    """Give an ONNX file of the MLP."""
    random = np.random.default_rng(0)
    nodes, constants = imputation_nodes(np.full(SIZES[0], 22, np.float32), output="h0")
    for layer, (n_in, n_out) in enumerate(pairwise(SIZES)):
        scale = 1 / 22 if layer == 0 else 1.0
        constants.append(constant(f"w{layer}", random.normal(0, scale / n_in**0.5, (n_in, n_out))))
        constants.append(constant(f"b{layer}", np.zeros(n_out)))
        nodes.append(onnx.helper.make_node("Gemm", [f"h{layer}", f"w{layer}", f"b{layer}"], [f"g{layer}"]))
        last = layer == len(SIZES) - 2
        operator, output = ("Softmax", "probabilities") if last else ("Relu", f"h{layer + 1}")
        nodes.append(onnx.helper.make_node(operator, [f"g{layer}"], [output], **({"axis": 1} if last else {})))
    graph = new_model(nodes, constants, n_features=SIZES[0], n_classes=SIZES[-1])
    inputs = tuple(ModelInput(name, "mag", name) for name in FEATURES)
    return to_bytes(graph, ModelSchema("mlp", "onnx", "classification", inputs, CLASSES, None, {}, {}).as_metadata())
