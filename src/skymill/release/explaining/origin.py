"""Which input files a source came from, as narrowly as the run knows."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skymill.release.explaining.finding import Place, key_at
from skymill.sky import Tile
from skymill.store import Catalogue, GroupManifest
from skymill.store.paths import CURRENT
from skymill.tiling.files import TilingFiles
from skymill.tiling.grouping import Group
from skymill.tiling.spill import PartRecord, holders

PART_OF_FILE = re.compile(r"(.+)\[\d+:\d+\]")
SIMULATION = "simulation"


@dataclass(frozen=True)
class InputPart:
    """A part of the input that holds a row of a source.

    Attributes
    ----------
    part, file : str
        The part (of a table, its rows or bytes), and the file that it is a part of.
    sha256 : str
        Of the file; empty where the run does not tell.
    """

    part: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Origin:
    """Where a source's rows were read.

    Attributes
    ----------
    group : str
        The group of its tile; empty where the present plan has none there.
    plan : str
        Digest of the group in the plan.
    parts : tuple of InputPart
    note : str
        Why nothing more is known, where that is so.
    """

    group: str = ""
    plan: str = ""
    parts: tuple[InputPart, ...] = ()
    note: str = ""


def origin_of(run: Path, sources: Catalogue, place: Place, object_id: int, tables: Mapping[str, str]) -> Origin:
    """Find the parts of the input that hold a source's rows.

    Parameters
    ----------
    run : Path
        The run's folder.
    sources : Catalogue
        The version of the source catalogue that the source stands in.
    place : Place
    object_id : int
    tables : mapping of str to str
        SHA-256 of each table that the plan was made from; empty where that is not known.
    """
    manifest = _manifest(run, sources, place.tile)
    if manifest is None:
        return Origin(
            note="the run has been planned or sealed anew since: it no longer tells which rows this tile is of"
        )
    group, digest, files = manifest.group, str(manifest.inputs["group"]), TilingFiles(run)
    planned = files.group(group, digest)
    if not planned.is_file():
        return Origin(group, digest, note=f"{planned} is gone: which parts of the input the group is of is not known")
    keys = [key for key in holders(Group.read(planned).buckets, files) if _holds(files.part(key).index, object_id)]
    parts = [PartRecord.read(files.part(key).record).part for key in keys]
    return Origin(group, digest, tuple(_part(name, tables) for name in sorted(parts)))


def _manifest(run: Path, sources: Catalogue, tile: Tile) -> GroupManifest | None:
    """Give the manifest of the group that made a tile, if the run still has it."""
    root = run / "catalogues" / sources.name
    key = key_at(sources, tile)
    for name in json.loads((root / CURRENT).read_bytes())["groups"]:
        manifest = GroupManifest.read(root / name)
        if any(entry.tile == tile and entry.key == key for entry in manifest.tiles):
            return manifest
    return None


def _holds(index: Path, object_id: int) -> bool:
    """Tell whether a part has rows of an id, from its index, which is sorted by id."""
    ids = np.load(index, mmap_mode="r", allow_pickle=False)["objectId"]
    at = bisect_left(ids, object_id)
    return at < len(ids) and int(ids[at]) == object_id


def _part(name: str, tables: Mapping[str, str]) -> InputPart:
    match = PART_OF_FILE.fullmatch(name)
    file = match[1] if match else SIMULATION
    return InputPart(name, file, tables.get(file, ""))
