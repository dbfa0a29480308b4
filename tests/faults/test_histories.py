"""Any history of a catalogue: written, damaged, sealed, read; against a model that is a dict."""

from __future__ import annotations

import shutil
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fault_sizes import HISTORIES, STEPS
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from skies import Sky, group_of_all, write_sky_tile

from skymill.sky import Tile, at_order, in_cone
from skymill.store import (
    CorruptTile,
    GroupManifest,
    Pool,
    StoreError,
    TileEntry,
    open_catalogue,
    open_tile,
    seal,
    verify,
)

SKY = Sky.draw(400, seed=10)
PIXELS = at_order(SKY.healpix29, 0)
MEMORY = Path("/dev/shm")
PLACES = st.integers(0, 11)


class Histories(RuleBasedStateMachine):
    """The model: which tiles stand whole in the pool, which were damaged, what the manifest and each version name."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="skymill-history-", dir=MEMORY if MEMORY.is_dir() else None))
        self.root = self.folder / "demo"
        self.pool = Pool(self.root)
        self.entries: dict[int, TileEntry] = {}  # of every tile that was ever written
        self.whole: set[int] = set()
        self.damaged: set[int] = set()
        self.named: set[int] = set()
        self.manifest: GroupManifest | None = None
        self.versions: dict[str, set[int]] = {}
        self.current: str | None = None

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def path(self, pixel: int) -> Path:
        return self.pool.path(Tile(0, pixel), self.entries[pixel].key)

    @property
    def lost(self) -> set[int]:
        """What a manifest or a version names and is not whole."""
        return set().union(self.named, *self.versions.values()) - self.whole

    @initialize(pixel=PLACES)
    def begin(self, pixel: int) -> None:
        self.write_tile(pixel)

    @rule(pixel=PLACES)
    def write_tile(self, pixel: int) -> None:
        """Write one; a second time gives the same bytes, over a damaged one it mends it."""
        entry = write_sky_tile(self.pool, SKY, Tile(0, pixel), chunk_rows=16)
        assert self.entries.setdefault(pixel, entry) == entry
        self.whole.add(pixel)
        self.damaged.discard(pixel)

    @precondition(lambda self: self.whole)
    @rule(data=st.data())
    def delete_tile(self, data: st.DataObject) -> None:
        pixel = data.draw(st.sampled_from(sorted(self.whole)))
        self.path(pixel).unlink()
        self.whole.discard(pixel)

    @precondition(lambda self: self.whole)
    @rule(data=st.data())
    def corrupt_tile(self, data: st.DataObject) -> None:
        """Flip a bit; a resuming run does not vouch for the tile, unless what it hit holds nothing that is read."""
        pixel = data.draw(st.sampled_from(sorted(self.whole)))
        content = bytearray(self.path(pixel).read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        self.path(pixel).write_bytes(content)
        self.whole.discard(pixel)
        self.damaged.add(pixel)

    @rule(pixel=PLACES)
    def resume(self, pixel: int) -> None:
        """What `pool.entry` gives is what was written, or nothing where it is damaged or gone."""
        if pixel not in self.entries:
            return
        try:
            found = self.pool.entry(Tile(0, pixel), self.entries[pixel].key)
        except CorruptTile:
            assert pixel in self.damaged
            return
        if pixel in self.whole:
            assert found == self.entries[pixel]
        elif found is not None:
            assert pixel in self.damaged  # the bit it hit is none that is read
            rows = open_tile(self.path(pixel)).rows()
            np.testing.assert_array_equal(rows["objectId"], SKY.object_id[pixel == PIXELS])
            np.testing.assert_array_equal(rows["probabilities"], SKY.probabilities[pixel == PIXELS])

    @precondition(lambda self: self.whole)
    @rule(data=st.data())
    def write_manifest(self, data: st.DataObject) -> None:
        self.named = set(data.draw(st.sets(st.sampled_from(sorted(self.whole)), min_size=1)))
        self.manifest = group_of_all(self.root, [self.entries[pixel] for pixel in self.named])

    @precondition(lambda self: self.manifest)
    @rule()
    def seal_version(self) -> None:
        """Sealing checks that tiles are there and of their length; the same tiles are the same version."""
        assert self.manifest
        gone = self.named - self.whole - self.damaged
        try:
            version = seal(self.root, [self.manifest], n_in=self.manifest.accounting.n_in)
        except StoreError as error:
            assert gone and "missing" in str(error)
            return
        assert not gone
        assert self.versions.setdefault(version, set(self.named)) == self.named
        self.current = version

    @precondition(lambda self: self.manifest)
    @rule()
    def seal_with_a_source_too_many(self) -> None:
        assert self.manifest
        try:
            seal(self.root, [self.manifest], n_in=self.manifest.accounting.n_in + 1)
        except StoreError:
            return
        raise AssertionError("a lost source was sealed")

    @precondition(lambda self: self.current)
    @rule()
    def read_all(self) -> None:
        """All rows as they were drawn, or a refusal where a tile was lost."""
        assert self.current
        sealed = self.versions[self.current]
        catalogue = open_catalogue(self.root)
        assert catalogue.version == self.current and set(catalogue.tiles["pixel"]) == sealed
        rows = np.isin(PIXELS, sorted(sealed))
        try:
            found = catalogue.to_xarray(["objectId", "probabilities"]).compute(scheduler="synchronous")
        except (CorruptTile, FileNotFoundError):
            assert sealed - self.whole
            return
        assert not sealed - self.whole - self.damaged
        np.testing.assert_array_equal(found["objectId"], SKY.object_id[rows])
        np.testing.assert_array_equal(found["probabilities"], SKY.probabilities[rows])

    @precondition(lambda self: self.current)
    @rule(ra=st.floats(0, 359), dec=st.floats(-90, 90), radius=st.floats(1, 60))
    def read_cone(self, ra: float, dec: float, radius: float) -> None:
        assert self.current
        sealed = self.versions[self.current]
        rows = np.isin(PIXELS, sorted(sealed)) & in_cone(SKY.ra, SKY.dec, ra, dec, radius)
        try:
            found = open_catalogue(self.root).cone(ra, dec, radius, ["objectId"])
        except (CorruptTile, FileNotFoundError):
            assert sealed - self.whole
            return
        np.testing.assert_array_equal(found["objectId"], SKY.object_id[rows])

    @rule()
    def verify_all(self) -> None:
        """All is well if and only if all that is named is whole."""
        report = verify(self.root)
        assert report.ok == (not self.lost), report.lines()
        bad = {problem.path for problem in report.problems}
        assert {self.path(pixel) for pixel in self.lost} <= bad

    @rule()
    def sweep(self) -> None:
        """A leftover of a dead writer goes, nothing else does."""
        leftover = self.pool.staging / f"{socket.gethostname()}-1-{0:032x}-tile"
        leftover.parent.mkdir(exist_ok=True)
        leftover.touch()
        assert self.pool.sweep() == [leftover]
        assert {pixel for pixel in self.entries if self.path(pixel).is_file()} == self.whole | self.damaged

    @precondition(lambda self: self.manifest)
    @rule()
    def name_a_tile_twice(self) -> None:
        """Tiles that overlap on the sky are refused."""
        assert self.manifest
        entry = self.manifest.tiles[0]
        child = replace(entry, order=1, pixel=4 * entry.pixel)
        try:
            seal(self.root, [replace(self.manifest, tiles=(*self.manifest.tiles, child))])
        except StoreError as error:
            assert "do not overlap" in str(error)
            return
        raise AssertionError("two tiles of one place were sealed")


TestHistories = pytest.mark.timeout(3600)(Histories.TestCase)
TestHistories.settings = settings(
    max_examples=HISTORIES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
)
