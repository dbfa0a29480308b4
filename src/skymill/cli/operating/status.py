"""How a run stands: stages, catalogues, sealed versions, quarantined tiles, disk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from skymill.cli.operating.ingredients import NOTHING, segmenter_fit, training_fit
from skymill.cli.operating.jobs import STAGES, Workflow
from skymill.cli.operating.judge import Verdict, judge
from skymill.cli.operating.receipts import Difference, Receipt, compare, receipt_path
from skymill.inference.kernel import NO_PIXELS
from skymill.sky import Tile
from skymill.store.paths import CURRENT, MANIFEST, VERSIONS

UNSEEN = "images of its sources could not be read"


@dataclass(frozen=True)
class StageStatus:
    """The jobs of one rule for one catalogue or model."""

    stage: str
    rule: str
    subject: str
    done: int
    stale: int
    missing: int
    perhaps: int
    tiles: int
    quarantined: int
    rows: int
    n_bytes: int
    reasons: Mapping[str, int]
    """Why jobs have to run, and how many for each reason."""


@dataclass(frozen=True)
class CatalogueStatus:
    """The sealed version of a catalogue."""

    name: str
    version: str
    """Empty where none is sealed."""
    tiles: int
    rows: int
    state: str
    """`done` where it is what the present settings, data and models ask for; else as of a job."""
    why: str


@dataclass(frozen=True)
class QuarantinedTile:
    """A tile that could not be made."""

    catalogue: str
    group: str
    tile: str
    rows: int
    reason: str

    @property
    def is_cause(self) -> bool:
        """Whether it failed here, and not for want of a tile of an earlier stage."""
        return not self.reason.startswith(("no sources: ", "no features: "))


@dataclass(frozen=True)
class PinnedModel:
    """A model that keeps to a fit."""

    model: str
    fit: str
    asked: str
    """The fit that data and settings ask for; empty while there is no training set."""
    reasons: tuple[Difference, ...]
    """What differs between the two."""

    @property
    def words(self) -> str:
        """How the fit stands to what is asked for."""
        if self.asked in ("", self.fit):
            return "what is asked for" if self.asked else "no training set yet"
        return "stale: " + ("; ".join(map(str, self.reasons)) or f"{self.asked} is asked for")


@dataclass(frozen=True)
class Status:
    """Everything that `skymill status` shows."""

    output: str
    stages: tuple[StageStatus, ...]
    catalogues: tuple[CatalogueStatus, ...]
    pinned: tuple[PinnedModel, ...]
    quarantined: tuple[QuarantinedTile, ...]
    disk: Mapping[str, int]
    """Bytes by kind; `tiles` are those that the present manifests name."""
    listed: Mapping[str, int]
    """Jobs by rule that `snakemake -n` lists now."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return not self.listed

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return {"done": self.is_done, **asdict(self)}


@dataclass(frozen=True)
class GroupCounts:
    """What one manifest holds."""

    tiles: int
    rows: int
    n_bytes: int
    quarantined: tuple[QuarantinedTile, ...]
    unseen: tuple[QuarantinedTile, ...] = ()
    """Finished tiles with sources whose images could not be read; `rows` are these."""


def read_status(workflow: Workflow) -> Status:
    """Find out how a run stands from manifests and receipts alone; takes no lock and changes nothing of the run."""
    verdicts = judge(workflow)
    counts = {name: _counts(Path(item.job.output)) for name, item in verdicts.items() if item.job.group}
    stages = tuple(_stages(verdicts, counts))
    listed = Counter(item.job.rule for item in verdicts.values() if item.listed)
    return Status(
        output=str(workflow.results),
        stages=stages,
        catalogues=tuple(_catalogue(name, workflow, verdicts) for name in workflow.chain.catalogues),
        pinned=tuple(_pinned(workflow)),
        quarantined=tuple(tile for found in counts.values() if found for tile in found.quarantined),
        disk=_disk(workflow.results, sum(stage.n_bytes for stage in stages)),
        listed={rule: listed[rule] for rule in STAGES if listed[rule]},
    )


def read_counts(path: Path) -> GroupCounts:
    """Count what a group's manifest holds, without making an object of each of its tiles.

    Raises
    ------
    ValueError
        If it is not a group manifest.
    """
    try:
        manifest = json.loads(path.read_bytes())
        tiles = manifest["tiles"]
        quarantined = tuple(
            QuarantinedTile(
                catalogue=manifest["catalogue"],
                group=manifest["group"],
                tile=tile_name(tile),
                rows=tile["n_in"],
                reason=tile["reason"],
            )
            for tile in manifest["quarantined"]
        )
        unseen = tuple(
            QuarantinedTile(manifest["catalogue"], manifest["group"], tile_name(tile), n, UNSEEN)
            for tile in tiles
            if (n := tile["accounting"]["flagged"].get(NO_PIXELS.name, 0))
        )
        rows, size = sum(tile["n_rows"] for tile in tiles), sum(tile["n_bytes"] for tile in tiles)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected a group manifest, found {error!r}; delete it and run snakemake") from error
    return GroupCounts(len(tiles), rows, size, quarantined, unseen)


def tile_name(entry: Mapping[str, Any]) -> str:
    """Name the tile, of images or of the sky, that an entry of a manifest is about."""
    return str(entry["image"] if "image" in entry else Tile(entry["order"], entry["pixel"]))


def _counts(path: Path) -> GroupCounts | None:
    return read_counts(path) if path.is_file() else None


def _stages(verdicts: Mapping[str, Verdict], counts: Mapping[str, GroupCounts | None]) -> Iterator[StageStatus]:
    """Sum over the groups of each catalogue; in the order of the chain."""
    parts: dict[tuple[str, str], list[Verdict]] = {}
    for item in verdicts.values():
        parts.setdefault((item.job.rule, item.job.subject), []).append(item)
    for (rule, subject), items in sorted(parts.items(), key=lambda part: list(STAGES).index(part[0][0])):
        states = Counter(item.state for item in items)
        found = [count for item in items if (count := counts.get(item.job.name))]
        yield StageStatus(
            stage=STAGES[rule],
            rule=rule,
            subject=subject,
            done=states["done"],
            stale=states["stale"],
            missing=states["missing"],
            perhaps=states["perhaps"],
            tiles=sum(count.tiles for count in found),
            quarantined=sum(len(count.quarantined) for count in found),
            rows=sum(count.rows for count in found),
            n_bytes=sum(count.n_bytes for count in found),
            reasons=dict(Counter(item.words for item in items if item.words)),
        )


def _catalogue(name: str, workflow: Workflow, verdicts: Mapping[str, Verdict]) -> CatalogueStatus:
    root = workflow.results / "catalogues" / name
    verdict = verdicts[f"release_seal {name}"]
    if not (root / CURRENT).is_file():
        return CatalogueStatus(name, "", 0, 0, verdict.state, verdict.words)
    version = json.loads((root / CURRENT).read_bytes())["version"]
    manifest = root / VERSIONS / version / MANIFEST
    if not manifest.is_file():
        return CatalogueStatus(
            name, version, 0, 0, "missing", f"its folder is gone; delete {root / CURRENT} to seal it"
        )
    content = json.loads(manifest.read_bytes())["content"]
    return CatalogueStatus(name, version, content["n_tiles"], content["n_rows"], verdict.state, verdict.words)


def _pinned(workflow: Workflow) -> Iterator[PinnedModel]:
    """Compare each fit that a model keeps to with the one that it would have."""
    made = workflow.training_set
    for model, fit in workflow.chain.pinned.items():
        if model in workflow.chain.segmenters:
            asked = segmenter_fit(workflow.chain, model)
        else:
            asked = training_fit(workflow.chain, model, made) if made else NOTHING
        manifest = workflow.results / "training" / model / fit / MANIFEST
        receipt = Receipt.read(receipt_path(workflow.results, manifest))
        reasons = compare(receipt.explains, asked.explains) if receipt and asked.decides else []
        yield PinnedModel(model, fit, asked.decides.get("fit", ""), tuple(reasons))


def _disk(results: Path, tiles: int) -> dict[str, int]:
    """Add up the files beside the catalogues; tiles by their manifests, for looking at each would take long."""
    kinds = ("tiling", "training", "models", "report", "logs", "benchmarks", "receipts")
    return {"tiles": tiles, **{kind: _size(path.stat().st_size for path in _files(results / kind)) for kind in kinds}}


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _size(sizes: Iterable[int]) -> int:
    """Add; a running workflow may take a file away meanwhile."""
    return sum(sizes)
