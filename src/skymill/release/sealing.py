"""The entry of rule `release_seal`: one version of a catalogue from the manifests of all its groups."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skymill import store
from skymill.store import Accounting, GroupManifest, StoreError
from skymill.store.durable import write_bytes
from skymill.store.kinds import IMAGES, kind_of_tiles

SOURCES = "sources"
SEAL = "seal.json"
"""What the rule declares. Snakemake deletes it at will, so readers follow another file."""
BATCH_ROWS = 65_536
ROWS = pa.schema(
    [
        ("objectId", pa.int64()),
        ("coord_ra", pa.float64()),
        ("coord_dec", pa.float64()),
        ("reason", pa.string()),
        ("part", pa.string()),
        ("row", pa.int64()),
        ("tile", pa.string()),
    ]
)
"""A quarantined source: where it stood in the input (refused by the gate) or in which tile it would be (duplicates)."""


def seal(
    catalogue: str,
    manifests: Iterable[str | Path],
    *,
    sources: Iterable[str | Path],
    output: str | Path,
    features: Iterable[str | Path] = (),
    settings: str | None = None,
    data: str | None = None,
    own_sources: bool = False,
) -> str:
    """Seal a catalogue of a run, make the version its current one, and name it in `seal.json`.

    Every catalogue accounts for every row of the survey: rows that never reached a tile (no position, not primary) and
    rows that the source catalogue put aside (duplicates) are counted with it. Where the survey has images, its rows are
    the detections on all of them, which the tiles of the segmentation catalogue hold every one. What a segmenter finds
    beside them is its own: such a catalogue accounts for that, on every image.

    Parameters
    ----------
    catalogue : str
        Its name below `<output>/catalogues`.
    manifests : iterable of Path
        The catalogue's manifests, of all groups.
    sources : iterable of Path
        The source catalogue's manifests, of all groups.
    output : Path
        Folder of the run.
    features : iterable of Path, optional
        The feature catalogue's manifests, of all groups: what a model's catalogue was made from.
    settings : str, optional
        The catalogue's `settings12`; needed where the survey has no source, hence no group.
    data : str, optional
        Digest of the survey's tables as they are now.
    own_sources : bool
        Whether its sources are not the survey's, but those that a segmenter has found.

    Returns
    -------
    str
        The version.

    Raises
    ------
    AccountingError
        If rows are missing or counted twice, or those put aside are not listed.
    StoreError
        If tiles are missing or overlap, if the survey is not the one that was planned, or if a group was not made from
        what its manifest's neighbours hold now.
    """
    source_manifests = [Path(path) for path in sources]
    plan = json.loads((Path(output) / "tiling" / "plan.json").read_text())
    if data is not None and plan["data"] != data:
        raise StoreError(
            f"{output}/tiling/plan.json: expected the plan of a survey of digest {data}, found that of {plan['data']}: "
            "the tables changed since; run `snakemake --forcerun tiling_plan`"
        )
    groups = [GroupManifest.read(path) for path in manifests]
    entries = [entry for group in groups for entry in (*group.tiles, *group.quarantined)]
    of_images = kind_of_tiles(entries, catalogue) is IMAGES
    planned = {name: group["digest"] for name, group in (_image_plan(output) if of_images else plan)["groups"].items()}
    _check_inputs(groups, {"group": planned, "sources": _digests(source_manifests), "features": _digests(features)})
    unplaced = Accounting() if of_images else _unplaced(catalogue, plan["gate"], source_manifests)
    root = Path(output) / "catalogues" / catalogue
    version = store.seal(
        root,
        groups,
        settings=settings,
        unplaced=unplaced,
        n_in=sum(group.accounting.n_in for group in groups) if own_sources else plan["gate"]["n_in"],
        about={"survey": plan["survey"]},
        quarantined_rows=QuarantinedRows(Path(output), source_manifests) if catalogue == SOURCES else None,
    )
    write_bytes(root / SEAL, store.canonical_json({"catalogue": catalogue, "version": version}) + b"\n")
    return version


def _image_plan(output: str | Path) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads((Path(output) / "tiling" / "images.json").read_text())
    return plan


def _unplaced(catalogue: str, gate: Mapping[str, Any], sources: Iterable[Path]) -> Accounting:
    """Count the rows that no tile of the sky holds: refused by the gate and, beyond the sources, put aside there."""
    refused = {"quarantined": gate["quarantined"], "excluded": gate["excluded"]}
    parts = [Accounting(n_in=gate["n_in"] - gate["n_rows"], **refused)]
    if catalogue != SOURCES:
        parts += [_put_aside(GroupManifest.read(path)) for path in sources]
    return Accounting.total(parts)


def _digests(manifests: Iterable[str | Path]) -> dict[str, str]:
    """Give the SHA-256 of group manifests, by group."""
    return {Path(path).stem: store.file_sha256(path) for path in manifests}


def _check_inputs(groups: Iterable[GroupManifest], upstream: Mapping[str, Mapping[str, str]]) -> None:
    """Hold what each group was made from against what stands upstream, as far as that is known."""
    for group in groups:
        for name, found in group.inputs.items():
            expected = upstream.get(name, {}).get(group.group, found)
            if found != expected:
                raise StoreError(
                    f"{group.catalogue}: group {group.group} was made from {name} of digest {found}, found {expected}; "
                    f"delete its manifest (groups/{group.settings}/{group.group}.json) and run again"
                )


class QuarantinedRows:
    """The rows refused by the gate and those with an ambiguous id, in one order; never all in memory.

    Parameters
    ----------
    output : Path
        Folder of the run.
    sources : iterable of Path
        The source catalogue's manifests.
    """

    schema = ROWS

    def __init__(self, output: Path, sources: Iterable[Path]) -> None:
        # The version must not depend on the order in which the groups are given.
        ambiguous = sorted(path.with_suffix(".quarantine.parquet") for path in sources)
        self._tables = [output / "tiling" / "quarantine.parquet", *ambiguous]

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """Read the tables; what one does not know is null."""
        for path in self._tables:
            for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS):
                if "kind" in batch.schema.names:
                    batch = batch.filter(pc.equal(batch.column("kind"), "quarantined"))
                yield pa.record_batch([_column(batch, field) for field in ROWS], schema=ROWS)


def _column(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    if field.name not in batch.schema.names:
        return pa.nulls(len(batch), field.type)
    return batch.column(field.name).cast(field.type)


def _put_aside(sources: GroupManifest) -> Accounting:
    """Count the rows that the tiles of a group of sources do not hold; a failed tile is counted where it is missing."""
    parts = [entry.accounting for entry in sources.tiles]
    return Accounting.total(
        Accounting(n_in=part.n_quarantined + part.n_excluded, quarantined=part.quarantined, excluded=part.excluded)
        for part in parts
    )
