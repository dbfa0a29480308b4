"""Releases that somebody made to do harm, with every checksum in order: each is refused, and none costs memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from answers import Answers, make_run
from numcodecs.zstd import Zstd
from onnx import TensorProto, helper

from skymill.config.run import GateSettings
from skymill.release import copy_release, publish, verify
from skymill.report.diffing import diff_page
from skymill.sessions.entry import ModelFileError
from skymill.sessions.runtime import open_session
from skymill.store import CorruptTile, StoreError, digest, file_sha256, open_catalogue, open_tile, read_tile, short
from skymill.store.check import check_whole
from skymill.store.document import to_document
from skymill.store.forms import LARGEST_DOCUMENT
from skymill.store.layout import frame_size
from skymill.store.paths import MANIFEST, TILE_TABLE
from skymill.store.tables import table_digest
from skymill.store.writer import EPOCH, directory_mark

Entries = dict[str, bytes]


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    """A copy of a release, which tests only read."""
    folder = tmp_path_factory.mktemp("honest")
    answers = Answers.draw(300, seed=6, spread_deg=0.8)
    publish(make_run(folder / "results", answers), "DR1", gate=GateSettings(), page=diff_page)
    copy_release(folder / "results", "DR1", folder / "copy")
    for path in (folder / "copy").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    return folder / "copy"


@pytest.fixture
def release(honest, tmp_path) -> Path:
    """A copy of a release to forge."""
    return Path(shutil.copytree(honest, tmp_path / "release"))


@pytest.fixture
def tile(honest, tmp_path) -> Path:
    """A tile to forge."""
    return Path(shutil.copy(next((honest / "catalogues" / "mlp").rglob("*.zarr.zip")), tmp_path / "tile.zarr.zip"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a document says, its checksum included."""
    values = json.loads(path.read_bytes())
    change(values)
    path.write_bytes(to_document(values))


def forge_tile(path: Path, change: Callable[[Entries], None], infos: Callable[[list], None] = lambda _: None) -> None:
    """Change the entries of a tile, and what its directory says of them, with all checksums in order."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content)
        infos(archive.filelist)
        archive.comment = directory_mark(archive.filelist)


def forge_version(folder: Path, table: pa.Table | None = None) -> None:
    """Make a version's tables, manifest and release agree with its tiles, or with another table of tiles."""
    if table is None:
        table = pq.read_table(folder / TILE_TABLE)
        tiles = [folder / f"Norder={row['order']}/Dir=0/Npix={row['pixel']}.zarr.zip" for row in table.to_pylist()]
        tiles = [path if path.exists() else next(folder.rglob(path.name)) for path in tiles]
        for name, values in {"sha256": map(file_sha256, tiles), "n_bytes": (p.stat().st_size for p in tiles)}.items():
            number = table.schema.get_field_index(name)
            table = table.set_column(
                number, table.schema.field(number), pa.array(list(values), table.schema.types[number])
            )
    pq.write_table(table, folder / TILE_TABLE, compression="zstd")

    def agree(values: dict[str, Any]) -> None:
        values["content"] |= {"n_tiles": len(table)}
        values["content"]["tables"][TILE_TABLE] = table_digest(table.to_batches(), table.schema.names)
        values["files"][TILE_TABLE] = file_sha256(folder / TILE_TABLE)
        values["version"] = short(digest(values["content"]))

    agreed(folder, agree)


def agreed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a version's manifest and have its release name it."""
    rewrite(folder / MANIFEST, change)
    version = json.loads((folder / MANIFEST).read_bytes())["version"]
    rewrite(folder.parents[1] / MANIFEST, lambda values: values["catalogues"][folder.name].update(version=version))


def document(entries: Entries, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the metadata of a tile."""
    values = json.loads(entries["zarr.json"])
    change(values)
    entries["zarr.json"] = json.dumps(values).encode()


def arrays(values: dict[str, Any]) -> dict[str, Any]:
    return values["consolidated_metadata"]["metadata"]


def check_refused(path: Path, match: str) -> None:
    """Whoever verifies or reads a tile is told."""
    for read in (check_whole, lambda path: open_tile(path).rows(), read_tile):
        with pytest.raises(CorruptTile, match=rf"{path.name}: expected .* found .*{match}"):
            read(path)


def test_what_is_forged_without_harm_passes(release):
    """What the other tests forge is refused for the harm in it, not for being forged."""
    version = release / "catalogues" / "mlp"
    for path in version.rglob("*.zarr.zip"):
        forge_tile(path, lambda entries: document(entries, lambda values: values["attributes"].update(note="new")))
    forge_version(version)
    assert verify(release).ok and len(open_catalogue(version).to_xarray()["objectId"].compute()) == 300


def add_name(values: dict[str, Any], where: str, name: str) -> None:
    values[where][name] = next(iter(values[where].values()))


NAMES = ["../x", "/etc/passwd", "a/../../b", "a\\b", "a\nb", "", ".", "..", "a//b", "a/", "\x1b[2J", "‮x"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_elsewhere_are_refused(release, name):
    for path, where in ((release, "files"), (release, "catalogues"), (release / "catalogues" / "mlp", "files")):
        kept = (path / MANIFEST).read_bytes()
        rewrite(path / MANIFEST, partial(add_name, where=where, name=name))
        [problem] = [one for one in verify(release).problems if one.path == path / MANIFEST]
        assert problem.kind == "corrupt" and "expected" in problem.found and where in problem.found
        assert problem.found.isprintable()
        (path / MANIFEST).write_bytes(kept)


def test_a_pointer_that_leads_elsewhere_is_refused(release):
    values = {"skymill_format": 1, "catalogue": "mlp", "version": "../mlp", "groups": []}
    (release / "current.json").write_bytes(to_document(values))
    with pytest.raises(StoreError, match=r"current\.json: 'version': String should match"):
        open_catalogue(release)


@pytest.mark.parametrize(
    "content", [b"[" * 10**6, b'{"a":' * 10**5, b"9" * 10**6, b"null", b"[]", b"\xff", b'"\\ud800"']
)
def test_documents_that_are_none_are_refused(release, content):
    for path in (release / MANIFEST, release / "catalogues" / "mlp" / MANIFEST):
        kept = path.read_bytes()
        path.write_bytes(content)
        assert path in {problem.path for problem in verify(release).problems}
        path.write_bytes(kept)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"manifest\.json: expected a catalogue"):
        open_catalogue(path.parent)


@pytest.mark.parametrize("values", [{"files": []}, {"content": {}}, {"version": 7}, {"content": []}])
def test_documents_of_another_form_are_refused(release, values):
    path = release / "catalogues" / "mlp" / MANIFEST
    rewrite(path, lambda found: found.update(values))
    assert path in {problem.path for problem in verify(release).problems}
    with pytest.raises(StoreError, match=r"manifest\.json: .*do not use it"):
        open_catalogue(path.parent)


def test_devices_and_pipes_are_not_opened(release):
    """Reading a pipe would wait for ever."""
    for path in (release / MANIFEST, release / "gate.json", release / "catalogues" / "mlp" / "moc.fits"):
        kept = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        assert path in {problem.path for problem in verify(release).problems}
        path.unlink()
        path.write_bytes(kept)


@pytest.mark.parametrize(("order", "pixel"), [(-1, 0), (30, 0), (127, 5), (3, -1), (3, 12 * 4**3)])
def test_tiles_that_are_not_on_the_sky_are_refused(release, order, pixel):
    folder = release / "catalogues" / "mlp"
    row = {**pq.read_table(folder / TILE_TABLE).to_pylist()[0], "order": order, "pixel": pixel}
    forge_version(folder, pa.Table.from_pylist([row], pq.read_schema(folder / TILE_TABLE)))
    with pytest.raises(StoreError, match=r"tiles\.parquet: expected pixels of HEALPix orders 0 to 29"):
        open_catalogue(folder)
    assert not verify(release).ok


def test_tables_of_another_form_are_refused(release):
    folder = release / "catalogues" / "mlp"
    forge_version(folder, pq.read_table(folder / TILE_TABLE).drop_columns(["key"]))
    with pytest.raises(StoreError, match=r"tiles\.parquet: expected the columns .*'key'"):
        open_catalogue(folder)
    assert [problem.path for problem in verify(release).problems if "expected the columns" in problem.found] == [folder]


def packed(path: Path) -> None:
    """Pack the entries of a tile with deflate."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)
        archive.comment = directory_mark(archive.filelist)


def overlap(infos: list) -> None:
    infos[1].header_offset = infos[0].header_offset


def beyond(infos: list) -> None:
    infos[-1].file_size = infos[-1].compress_size = 1 << 40


def past(infos: list) -> None:
    infos[-1].file_size = infos[-1].compress_size = infos[-1].file_size + 1


def before(infos: list) -> None:
    infos[1].header_offset = 5


def twice(infos: list) -> None:
    infos[1].filename = infos[0].filename


@pytest.mark.parametrize(
    ("infos", "match"),
    [
        (overlap, "over another entry"),
        (beyond, r"1,099,511,627,776 bytes of 'zarr\.json'"),
        (past, "entries that reach beyond it"),
        (before, "over another"),
        (twice, "twice"),
    ],
)
def test_directories_that_lie_are_refused(tile, infos, match):
    forge_tile(tile, lambda entries: None, infos)
    check_refused(tile, match)


def test_a_packed_tile_is_refused(tile):
    packed(tile)
    check_refused(tile, "packed")


def shape(name: str, *sizes: int) -> Callable[[dict[str, Any]], None]:
    return lambda values: arrays(values)[name].update(shape=list(sizes))


def codec(name: str) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        arrays(values)["objectId"]["codecs"][-1] = {"name": name, "configuration": {}}

    return change


def rows(n: int) -> Callable[[dict[str, Any]], None]:
    """Let all arrays claim more rows."""

    def change(values: dict[str, Any]) -> None:
        values["attributes"]["n_rows"] = n
        for array in arrays(values).values():
            if array["dimension_names"][0] == "source":
                array["shape"][0] = n

    return change


METADATA: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "rows": (rows(10**15), "zones of"),
    "one array": (shape("objectId", 10**15), "'objectId' of shape"),
    "width": (shape("probabilities", 10, 10**12), "'probabilities' of shape"),
    "names": (shape("class_name", 10**15), "chunks of 'class_name'"),
    "gzip": (codec("gzip"), "codecs"),
    "blosc": (codec("blosc"), "codecs"),
    "negative": (shape("objectId", -5), "number -5"),
    "text": (lambda values: values["attributes"].update(n_rows="many"), "'many'"),
    "float": (lambda values: values["attributes"].update(chunk_rows=1.5), r"1\.5"),
    "huge zone": (lambda values: values["attributes"].update(zones=[["9" * 30, "0"]]), "OverflowError"),
    "group": (lambda values: arrays(values)["flags"].update(node_type="group"), "group"),
    "type": (lambda values: arrays(values)["flags"].update(data_type="object"), "type 'object'"),
    "nothing": (lambda values: values.pop("attributes"), "KeyError"),
    "receipt": (lambda values: values["attributes"].update(receipt=[]), "no receipt"),
    "no array": (lambda values: arrays(values).pop("flags"), "flags"),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_that_a_file_cannot_hold_is_refused(tile, name):
    change, match = METADATA[name]
    forge_tile(tile, lambda entries: document(entries, change))
    check_refused(tile, match)


@pytest.mark.parametrize("content", [b"[" * 10**6, b"null", b"9" * 10**6, b"{}"])
def test_metadata_that_are_none_are_refused(tile, content):
    forge_tile(tile, lambda entries: entries.update({"zarr.json": content}))
    for read in (check_whole, open_tile):
        with pytest.raises(CorruptTile, match=r"tile\.zarr\.zip: expected .* found"):
            read(tile)


def terabytes(exponent: int = 42) -> bytes:
    """A zstd frame that says it holds 4 TiB."""
    return b"\x28\xb5\x2f\xfd" + bytes([0b11100000]) + (1 << exponent).to_bytes(8, "little") + b"\x03\x00\x00" + b"\0"


def many_names() -> bytes:
    return bytes(Zstd(level=1).encode((2**32 - 1).to_bytes(4, "little") + b"\0" * 12))


CHUNKS = {
    "terabytes": ("objectId/c/0", terabytes(), "4398046511104 bytes, unpacked"),
    "bomb": ("objectId/c/0", bytes(Zstd(level=1).encode(bytes(1 << 24))), "16777216 bytes, unpacked"),
    "no size": ("objectId/c/0", b"\x28\xb5\x2f\xfd\x00\x58" + b"\x03\x00\x00\0", "None bytes, unpacked"),
    "no frame": ("flags/c/0", b"nothing of the kind", "None bytes, unpacked"),
    "float": ("coord_ra/c/0", bytes(1 << 20), "1,048,576 bytes as chunk"),
    "large": ("objectId/c/0", bytes(1 << 20), "1,048,576 bytes as chunk"),
    "names": ("class_name/c/0", many_names(), "4,294,967,295 names"),
    "long names": ("class_name/c/0", terabytes(), "4398046511104 bytes, unpacked"),
    "unknown": ("other/c/0", b"", "no arrays of it"),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_chunks_that_unpack_to_more_than_declared_are_refused(tile, name):
    entry, content, match = CHUNKS[name]
    forge_tile(tile, lambda entries: entries.update({entry: content}))
    for read in (check_whole, read_tile):
        with pytest.raises(CorruptTile, match=match):
            read(tile)
    if not entry.startswith("class_name"):  # which rows do not have
        with pytest.raises(CorruptTile, match=match):
            open_tile(tile).rows()


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 65_535, 65_791, 65_792, 10**6])
def test_the_size_of_a_frame_is_read_from_its_header(n):
    for encoded in (Zstd(level=1, checksum=True).encode(bytes(n)), Zstd(level=9).encode(os.urandom(n))):
        assert frame_size(bytes(encoded)) == n


def test_a_forged_tile_of_a_release_is_named(release):
    version = release / "catalogues" / "mlp"
    path = sorted(version.rglob("*.zarr.zip"))[1]
    forge_tile(path, lambda entries: entries.update({"objectId/c/0": terabytes()}))
    forge_version(version)
    [problem] = verify(release).problems
    assert (problem.path, problem.kind) == (path, "corrupt") and "4398046511104 bytes" in problem.found
    with pytest.raises(CorruptTile, match=path.name):
        open_catalogue(version).to_xarray(["objectId"]).compute(scheduler="synchronous")


def external(attribute: bool) -> bytes:
    """A model whose weights stand in a file elsewhere: as an initialiser, or deep in the attribute of a node."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="../../../../etc/passwd")
    node = helper.make_node("Constant", [], ["w"], value=weights)
    inner = helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("w", 1, [4])])
    branch = helper.make_node("If", ["b"], ["y"], then_branch=inner, else_branch=inner)
    add = helper.make_node("Add", ["x", "w"], ["y"])
    inputs = [helper.make_tensor_value_info("x", 1, [4]), helper.make_tensor_value_info("b", 9, [])]
    outputs = [helper.make_tensor_value_info("y", 1, [4])]
    graph = helper.make_graph([branch if attribute else add], "g", inputs, outputs, [] if attribute else [weights])
    return helper.make_model(graph).SerializeToString()


@pytest.mark.parametrize("attribute", [False, True])
def test_a_model_that_reads_another_file_is_refused(release, attribute):
    path = release / "models" / "mlp" / "model.onnx"
    path.write_bytes(external(attribute))
    rewrite(release / MANIFEST, lambda values: values["files"].update({"models/mlp/model.onnx": file_sha256(path)}))
    [problem] = verify(release).problems
    assert (problem.path, problem.kind) == (path, "wrong") and "keeps its weights in another file (w)" in problem.found
    with pytest.raises(ModelFileError, match="keeps its weights in another file"):
        open_session(path.read_bytes(), provider="cpu", source=str(path))


IN_BOUNDS = """
import resource, sys
from pathlib import Path
from skymill.release import verify
from skymill.store import StoreError, open_catalogue
import mocpy, xarray, zarr
in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + (1 << 31),) * 2)  # threads reserve addresses that they do not use
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for release in map(Path, sys.argv[1:]):
    for problem in verify(release).problems:
        print(problem)
    for path in (release / "catalogues").iterdir():
        try:
            open_catalogue(path).to_xarray().compute(scheduler="synchronous")
        except StoreError as error:
            print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
MOST_KB = 500_000
"""What the largest document that is read at all may take in memory."""


def sparse(path: Path, n_bytes: int) -> None:
    with path.open("wb") as file:
        file.truncate(n_bytes)


def many_rows(folder: Path) -> None:
    """A table of 10^6 equal tiles in a few kilobytes."""
    row = pq.read_table(folder / TILE_TABLE).slice(0, 1)
    index = pa.array(np.zeros(10**6, np.int32))
    table = pa.Table.from_arrays([column.combine_chunks().take(index) for column in row.columns], schema=row.schema)
    with pq.ParquetWriter(folder / TILE_TABLE, row.schema, compression="zstd") as writer:
        writer.write_table(table)

    def agree(values: dict[str, Any]) -> None:
        values["content"] |= {"n_tiles": 10**6}
        values["files"][TILE_TABLE] = file_sha256(folder / TILE_TABLE)
        values["version"] = short(digest(values["content"]))

    agreed(folder, agree)


def bomb(folder: Path) -> None:
    """A tile of 2^31 numbers in less than a megabyte."""
    path = next(folder.rglob("*.zarr.zip"))
    n, size = 1 << 31, 1 << 22
    chunk = bytes(Zstd(level=1).encode(bytes(8 * size)))

    def change(entries: Entries) -> None:
        values = json.loads(entries["zarr.json"])
        values["attributes"] |= {"n_rows": n, "chunk_rows": size, "zones": [["0", "0"]] * (n // size)}
        array = arrays(values)["objectId"]
        array["shape"], array["chunk_grid"]["configuration"]["chunk_shape"] = [n], [size]
        values["consolidated_metadata"]["metadata"] = {"objectId": array}
        entries.clear()
        entries |= {f"objectId/c/{number}": chunk for number in range(n // size)}
        entries["zarr.json"] = json.dumps(values).encode()

    forge_tile(path, change)
    forge_version(folder)


HEAVY: dict[str, tuple[Callable[[Path], None], str]] = {
    "release": (
        lambda release: sparse(release / MANIFEST, 1 << 40),
        f"expected a file of at most {LARGEST_DOCUMENT:,} bytes, found 1,099,511,627,776",
    ),
    "version": (lambda release: sparse(release / "catalogues" / "mlp" / MANIFEST, 1 << 40), "found 1,099,511,627,776"),
    "nested": (lambda release: write(release / MANIFEST, b"[" * LARGEST_DOCUMENT), "found brackets in brackets"),
    "rows": (lambda release: many_rows(release / "catalogues" / "mlp"), "found 1,000,000 rows"),
    "bomb": (lambda release: bomb(release / "catalogues" / "mlp"), "17,179,869,184 bytes, unpacked, in a file of"),
}


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def test_refusing_costs_no_memory(honest, tmp_path):
    for name, (forge, _) in HEAVY.items():
        forge(Path(shutil.copytree(honest, tmp_path / name)))
    command = [sys.executable, "-c", IN_BOUNDS, *(str(tmp_path / name) for name in HEAVY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < MOST_KB
    for name, (_, named) in HEAVY.items():
        told = [line for line in done.stdout.splitlines() if f"{tmp_path / name}/" in line]
        assert any(named in line for line in told), (name, told)
