"""What is done to files, to be disturbed: one tile, one group manifest, one seal; a collection of garbage."""

from __future__ import annotations

import hashlib
import socket
import tempfile
from pathlib import Path

from skies import Sky, group_of_all, write_sky_tile
from tiny_runs import SETTINGS, TinyRun

from skymill.release import Asked, collect_garbage
from skymill.sky import Tile
from skymill.store import GroupManifest, Pool, TileEntry, digest, group_file, seal, short
from skymill.store.document import to_document
from skymill.store.durable import write_bytes

SKY = Sky.draw(600, seed=3)
FIRST, SECOND = Tile(0, 1), Tile(0, 6)


def prepare(root: Path) -> None:
    """What stands there before: one tile and the manifest that names it."""
    group_of_all(root, [_tile(root, FIRST)])


def rehearse() -> None:
    """Do all of it once, for what is imported and looked up then."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "demo")
        for deed in (prepare, tile, manifest, sealing):
            deed(root)
        run = Path(folder, "run")
        for deed in (prepare_garbage, collecting):
            deed(run)


def tile(root: Path) -> None:
    """Write a second tile, unless it stands there."""
    pool = Pool(root)
    pool.sweep()
    if pool.entry(SECOND, _key(SECOND)) is None:
        _tile(root, SECOND)


def manifest(root: Path) -> None:
    """Replace the manifest by one that names both tiles."""
    pool = Pool(root)
    group_of_all(root, [entry for place in (FIRST, SECOND) if (entry := pool.entry(place, _key(place)))])


def sealing(root: Path) -> None:
    """Seal what the manifest names."""
    group = GroupManifest.read(group_file(root, "0123456789abcdef", "all"))
    seal(root, [group], n_in=group.accounting.n_in)


def prepare_garbage(folder: Path) -> None:
    """Some of each kind: a version, group manifests, a tile, a fit, a training set, an ONNX file, a leftover."""
    run = TinyRun(folder)
    run.seal("one", {0: 0, 1: 0, 2: 0})
    run.publish("DR1", "one")
    run.seal("one", {0: 0, 1: 1, 2: 1}, SETTINGS[1])
    run.seal("one", {0: 0, 1: 2, 2: 0})
    run.write_tile("one", 7, 0)
    training = folder / "training"
    sha256 = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("set", "weights", "onnx")}
    write_bytes(training / "sets" / f"{short(sha256['set'])}.parquet", b"set")
    told = {"training_set": sha256["set"], "files": {"checkpoint.pt": sha256["weights"]}}
    write_bytes(training / "m" / "123456789abc" / "checkpoint.pt", b"weights")
    write_bytes(training / "m" / "123456789abc" / "manifest.json", to_document(told))
    write_bytes(folder / "models" / "m" / f"{short(sha256['onnx'])}.onnx", b"onnx")
    write_bytes(folder / "models" / "m" / "manifest.json", to_document({"fit": None, "files": {}}))
    (run.root("one") / ".staging" / f"{socket.gethostname()}-1-{'0' * 32}-tile").write_bytes(b"half")


def collecting(folder: Path) -> None:
    """Delete all that nothing names."""
    collect_garbage(folder, Asked({}, ()), older_than_days=0)


def _tile(root: Path, place: Tile) -> TileEntry:
    return write_sky_tile(Pool(root), SKY, place, chunk_rows=64)


def _key(place: Tile) -> str:
    return digest({"tile": str(place)})
