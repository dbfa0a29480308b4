"""Why a file of a run is there, or why not: what it was made from, and whether it would be made again."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from skymill.cli.operating.jobs import STAGES, Job, Workflow
from skymill.cli.operating.judge import Verdict, followers, judge
from skymill.cli.operating.receipts import FOLDER, Receipt, compare, receipt_path
from skymill.cli.operating.status import tile_name
from skymill.release.sealing import SEAL
from skymill.sky import AnyTile, ImageTile, Tile
from skymill.store import StoreError
from skymill.store.paths import CURRENT, GROUPS, SUFFIX, VERSIONS, version_file

TILE = re.compile(r"catalogues/(?P<catalogue>\w+)/tiles/(?P<place>[^/]+=.*)/(?P<key>\w+)[^/]*")
PIXEL = re.compile(r"Norder=(?P<order>\d+)/Dir=\d+/Npix=(?P<pixel>\d+)")
LOG_LINES = 5


@dataclass(frozen=True)
class Explanation:
    """What is known of a file.

    Attributes
    ----------
    path, kind : str
        The file (what a link leads to) and what it is.
    exists : bool
    job : str
        The job that makes it; empty where no job of the present configuration does.
    made_of : mapping
        What it was made from, by name.
    again : str
        Whether it would be made again, and why.
    then : mapping
        Jobs that read it, directly or not, by rule.
    notes : tuple of str
        What else there is to say.
    log : tuple of str
        The last lines of a log that ends in an error.
    """

    path: str
    kind: str
    exists: bool
    job: str = ""
    made_of: Mapping[str, Any] = ()  # type: ignore[assignment]
    again: str = ""
    then: Mapping[str, int] = ()  # type: ignore[assignment]
    notes: tuple[str, ...] = ()
    log: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return {**asdict(self), "made_of": dict(self.made_of), "then": dict(self.then)}


def explain(path: str | Path, workflow: Workflow) -> Explanation:
    """Explain a file of a run, whether it is there or not.

    Raises
    ------
    ValueError
        If it is not below the run's folder, or nothing that a run makes.
    """
    path = Path(path)
    real = path.resolve() if path.is_symlink() else path.absolute()
    results = workflow.results.resolve()
    try:
        inside = (real if path.is_symlink() else real.parent.resolve() / real.name).relative_to(results)
    except ValueError:
        raise ValueError(f"{path}: not below {workflow.results}, the folder of this run; see --configfile") from None
    verdicts = judge(workflow)
    found = TILE.fullmatch(str(inside))
    if found:
        pixel = PIXEL.fullmatch(found["place"])
        tile = Tile(int(pixel["order"]), int(pixel["pixel"])) if pixel else ImageTile(found["place"])
        return _explain_tile(workflow.results / inside, found["catalogue"], tile, found["key"], workflow, verdicts)
    verdict, note = _job_of(inside, workflow, verdicts)
    if verdict is None:
        return _explain_former(workflow.results / inside, workflow, note)
    return _explain_output(workflow.results / inside, verdict, workflow, note)


def _explain_output(path: Path, verdict: Verdict, workflow: Workflow, note: str) -> Explanation:
    """Explain a file that a job of the present configuration makes."""
    job = verdict.job
    receipt = Receipt.read(receipt_path(workflow.results, job.output)) if job.output else None
    notes = [note] if note else []
    if receipt is None and path.exists():
        notes.append("no receipt: it was made by a skymill that wrote none, so what has changed cannot be told")
    if job.group:
        notes += [f"quarantined: {entry}" for entry in _quarantined(Path(job.output))]
    if not path.exists() and verdict.state == "done":
        notes.append(f"its job counts as done, for {job.output} is there; delete that file to have both made again")
    return Explanation(
        path=str(path),
        kind=f"made by {job.name}, stage {job.stage}",
        exists=path.exists(),
        job=job.name,
        made_of=_made_of(receipt),
        again=_again(verdict),
        then=_by_rule(followers(job.name, workflow)),
        notes=tuple(notes),
        log=() if job.output and Path(job.output).exists() else _failed_log(job, workflow),
    )


def _explain_former(path: Path, workflow: Workflow, note: str) -> Explanation:
    """Explain a file that the present configuration does not ask for."""
    receipt = Receipt.read(receipt_path(workflow.results, path))
    if receipt is None and not path.exists():
        raise ValueError(f"{path}: no such file, and nothing that this run makes; see `skymill where`")
    again = "no: the present configuration asks for another file in its place"
    if receipt is not None:
        twin = _twin(path, receipt, workflow)
        if twin is not None:
            differences = "; ".join(map(str, compare(receipt.explains, twin.ingredients.explains)))
            again = f"no: {twin.output or twin.name} is asked for in its place ({differences})"
    return Explanation(str(path), note or "of former settings", path.exists(), made_of=_made_of(receipt), again=again)


def _explain_tile(
    path: Path, catalogue: str, tile: AnyTile, key: str, workflow: Workflow, verdicts: Mapping[str, Verdict]
) -> Explanation:
    group = workflow.group_of(tile)
    verdict = next((v for v in verdicts.values() if v.job.group == group and v.job.subject == catalogue), None)
    if verdict is None:
        known = ", ".join(workflow.chain.catalogues)
        raise ValueError(f"{path}: no catalogue '{catalogue}' or no group of {tile} in this run; catalogues: {known}")
    manifest = Path(verdict.job.output)
    named_by = _named_by(workflow.results / "catalogues" / catalogue, path.name, tile, key, group)
    here = str(manifest) in named_by
    notes = [f"named by {name}" for name in named_by]
    if path.exists():
        if not named_by:
            notes.append("garbage: no manifest and no version names it")
        base, again = _read_tile(path), _tile_again(verdict, here)
    else:
        base, again = {}, _missing_tile(verdict, tile, key, named_by, notes)
    return replace(
        Explanation(str(path), f"tile {tile} of catalogue {catalogue}, group {group}", path.exists()),
        job=verdict.job.name,
        made_of=base,
        again=again,
        then=_by_rule(followers(verdict.job.name, workflow)),
        notes=tuple(notes),
        log=() if manifest.exists() else _failed_log(verdict.job, workflow),
    )


def _tile_again(verdict: Verdict, here: bool) -> str:
    if verdict.state == "done":
        return "no" if here else "no: the present manifest of its group names another tile in its place"
    kept = "; its job makes it again only if its key is another by then" if here else ""
    return f"{_again(verdict)}{kept}"


def _missing_tile(verdict: Verdict, tile: AnyTile, key: str, named_by: list[str], notes: list[str]) -> str:
    """Say why a tile is not there."""
    manifest = Path(verdict.job.output)
    if str(manifest) in named_by:
        return (
            f"no: Snakemake does not look at tiles. Delete {manifest} and run snakemake: the same tile comes back "
            "(`skymill verify` finds every tile that is missing)"
        )
    if not manifest.exists():
        return _again(verdict)
    content = json.loads(manifest.read_bytes())
    for entry in content["quarantined"]:
        if tile_name(entry) == str(tile):
            notes.append(f"quarantined: {entry['reason']}")
            return "not by itself: `skymill retry` has it tried again"
    for entry in content["tiles"]:
        if tile_name(entry) == str(tile):
            return f"no: the tile of this place has key {entry['key'][:12]}, asked for was {key[:12]}"
    return f"no: the plan has no tile at {tile}"


def _job_of(inside: Path, workflow: Workflow, verdicts: Mapping[str, Verdict]) -> tuple[Verdict | None, str]:
    """Find the job that makes a file, itself or beside what it declares."""
    output = workflow.results / inside
    for verdict in verdicts.values():
        if verdict.job.output and Path(verdict.job.output) == output:
            return verdict, ""
    parts = inside.parts
    head, name = parts[0], parts[1] if len(parts) > 1 else ""
    export = "segmenter_export" if name in workflow.chain.segmenters else "export_onnx"
    beside = {"tiling": "tiling_plan", "report": "report_page", "models": f"{export} {name}"}
    if head == "catalogues" and len(parts) > 2 and parts[2] in (VERSIONS, CURRENT, SEAL):
        return _seal_of(inside, workflow, verdicts)
    if head == "models" and inside.suffix == ".onnx" and inside.stem != workflow.onnx(name):
        return None, f"ONNX file of model {name}, of a former export"
    if head in beside and beside[head] in verdicts:
        return verdicts[beside[head]], f"written beside {verdicts[beside[head]].job.output}"
    if head == "training":
        return _training_of(inside, workflow, verdicts)
    if head in ("logs", "benchmarks", FOLDER):
        return None, f"{head}: written while a job ran; no job reads it"
    return None, ""


def _seal_of(inside: Path, workflow: Workflow, verdicts: Mapping[str, Verdict]) -> tuple[Verdict | None, str]:
    catalogue, rest = inside.parts[1], inside.parts[3:]
    seal = verdicts.get(f"release_seal {catalogue}")
    if seal is None or not rest:
        return seal, ""
    current = workflow.results / "catalogues" / catalogue / CURRENT
    version = json.loads(current.read_bytes())["version"] if current.is_file() else ""
    if rest[0] != version:
        return None, f"of version {rest[0]} of {catalogue}; the current one is {version or 'not sealed'}"
    return seal, f"of version {version}, the current one of {catalogue}"


def _training_of(inside: Path, workflow: Workflow, verdicts: Mapping[str, Verdict]) -> tuple[Verdict | None, str]:
    made = workflow.training_set
    if inside.parts[1] == "sets":
        if made is None or made["file"] != "/".join(inside.parts[1:]):
            return None, "a former training set"
        return verdicts.get("training_set"), "the present training set"
    if inside.parts[1] == "shift" and len(inside.parts) > 2:
        shift = verdicts.get(f"training_shift {inside.parts[2]}")
        return shift, f"written beside {shift.job.output}" if shift else "of a former model"
    rule = "segmenter_fit" if inside.parts[1] in workflow.chain.segmenters else "training_fit"
    fit = verdicts.get(f"{rule} {inside.parts[1]}")
    if fit and fit.job.output and Path(fit.job.output).parent.name in inside.parts:
        return fit, f"written beside {fit.job.output}"
    return None, f"of a former fit of {inside.parts[1]}"


def _twin(path: Path, receipt: Receipt, workflow: Workflow) -> Job | None:
    """Find the job that now makes what stands in the place of a former output."""
    parts = path.relative_to(workflow.results).parts
    subject = parts[1] if receipt.rule != "training_set" else ""
    group = path.stem if GROUPS in parts else ""
    jobs = workflow.jobs.values()
    return next((j for j in jobs if (j.rule, j.subject, j.group) == (receipt.rule, subject, group)), None)


def _named_by(root: Path, file: str, tile: AnyTile, key: str, group: str) -> list[str]:
    """Name the manifests and versions of a catalogue that hold a tile of a key."""
    found = []
    for manifest in sorted(root.glob(f"{GROUPS}/*/{group}.json")):
        entries = json.loads(manifest.read_bytes())["tiles"]
        if any(tile_name(e) == str(tile) and e["key"].startswith(key[:12]) for e in entries):
            found.append(str(manifest))
    current = json.loads((root / CURRENT).read_bytes())["version"] if (root / CURRENT).is_file() else ""
    for folder in sorted((root / VERSIONS).glob("*")):
        link = folder / version_file(tile)
        if link.is_symlink() and link.readlink().name == file:
            found.append(f"version {folder.name}{' (current)' if folder.name == current else ''}")
    return found


def _read_tile(path: Path) -> dict[str, Any]:
    """Give a tile's receipt, or say that it cannot be read."""
    from skymill.store import open_tile

    if not path.name.endswith(SUFFIX):
        return {}
    try:
        receipt = open_tile(path).receipt
    except (StoreError, OSError) as error:
        return {"damaged": str(error)}
    return {name: receipt[name] for name in ("key", "ingredients", "accounting", "versions")}


def _quarantined(manifest: Path) -> list[str]:
    if not manifest.is_file():
        return []
    entries = json.loads(manifest.read_bytes())["quarantined"]
    return [f"{tile_name(entry)} ({entry['n_in']:,} rows): {entry['reason']}" for entry in entries]


def _made_of(receipt: Receipt | None) -> dict[str, Any]:
    return {} if receipt is None else {**receipt.explains, "inputs": receipt.inputs, "versions": receipt.versions}


def _again(verdict: Verdict) -> str:
    word = {"done": "no", "stale": "yes", "missing": "yes", "perhaps": "perhaps"}[verdict.state]
    return f"{word}: {verdict.words}" if verdict.words else word


def _by_rule(jobs: list[Job]) -> dict[str, int]:
    counts = Counter(job.rule for job in jobs)
    return {rule: counts[rule] for rule in STAGES if counts[rule]}


def _failed_log(job: Job, workflow: Workflow) -> tuple[str, ...]:
    """Give the end of a job's log where it ended in an error."""
    path = workflow.results / "logs" / f"{job.stem}.log"
    lines = path.read_text(errors="replace").splitlines() if job.output and path.is_file() else []
    return tuple(lines[-LOG_LINES:]) if any(" ERROR " in line or " CRITICAL " in line for line in lines) else ()
