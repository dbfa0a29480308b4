"""What a run will cost, stage by stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from skymill.cli.operating.counts import Sky, count_sky
from skymill.cli.operating.jobs import STAGES, Workflow
from skymill.cli.operating.rates import Rate, find_rates, row_bytes

THREADS = 16
"""Cores of a job that spreads its tiles over workers, as the rules declare; the others take one."""
SPREAD = ("tiling_plan", "tiling_partition", "features_compute", "inference_run")
IMAGE_BYTES = 1.6e6
"""Of a segmentation tile of 1024 x 1024 pixels and 1,700 sources."""
MEASURING = ("features_measure", "segmenter_measure")
TILE_RULES = ("tiling_partition", "features_compute", "inference_run")


@dataclass(frozen=True)
class StageCost:
    """The cost of one rule for one catalogue or model.

    Attributes
    ----------
    rule, subject : str
    jobs, tiles, rows, files : int
        `files`: what is left on disk, links and manifests included.
    n_bytes : float
    core_hours, gpu_hours, wall_hours : float
        `wall_hours`: alone on the cores asked about.
    memory_mb : float
        Of one worker.
    rate_from, bytes_from : str
        `benchmarks`, `measured` or `documented`.
    """

    rule: str
    subject: str
    jobs: int
    tiles: int
    rows: int
    files: int
    n_bytes: float
    core_hours: float
    gpu_hours: float
    wall_hours: float
    memory_mb: float
    rate_from: str
    rate: str
    bytes_from: str


@dataclass(frozen=True)
class Costs:
    """Everything that `skymill plan` shows."""

    sky: Sky
    cores: int
    stages: tuple[StageCost, ...]

    def total(self, name: str) -> float:
        """Sum one number over the stages."""
        return float(sum(getattr(stage, name) for stage in self.stages))

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        names = ("jobs", "files", "n_bytes", "core_hours", "gpu_hours", "wall_hours")
        return {**asdict(self), "total": {name: self.total(name) for name in names}}


def estimate(workflow: Workflow, measured: Mapping[str, Rate], *, cores: int) -> Costs:
    """Estimate the cost of a whole run, done or not.

    Parameters
    ----------
    workflow : Workflow
    measured : mapping
        Rates measured on this machine; may be empty.
    cores : int
        For the wall time.

    Raises
    ------
    ValueError
        If there is no core.
    """
    if cores < 1:
        raise ValueError(f"--cores: expected one or more, found {cores}")
    sky = count_sky(workflow)
    rates = find_rates(workflow, measured)
    sizes = {name: (size, source) for name, size, source in row_bytes(workflow)}
    stages = (_stage(key, rate, sky, sizes, workflow, cores) for key, rate in rates.items())
    return Costs(sky, cores, tuple(sorted(stages, key=lambda stage: list(STAGES).index(stage.rule))))


def _stage(
    key: str, rate: Rate, sky: Sky, sizes: Mapping[str, tuple[float, str]], workflow: Workflow, cores: int
) -> StageCost:
    rule, _, subject = key.partition(" ")
    loads = list(_loads(rule, rate.unit, sky))
    core_s = rate.core_s(len(loads), sum(loads))
    on_gpu = rule == "inference_run" and workflow.chain.run.inference.provider != "cpu"
    tiles = sky.n_tiles if rule in (*TILE_RULES, "release_seal") else 0
    size, source = sizes[subject] if rule in TILE_RULES else (0.0, "")
    n_bytes = size * sky.n_rows if rule in TILE_RULES else _other_bytes(rule, sky, workflow)
    return StageCost(
        rule=rule,
        subject=subject,
        jobs=len(loads),
        tiles=tiles,
        rows=0 if rate.unit in ("labels", "job", "images") else sky.n_in if rule == "tiling_plan" else sky.n_rows,
        files=_files(rule, len(loads), sky),
        n_bytes=n_bytes,
        core_hours=core_s / 3600,
        gpu_hours=core_s / 3600 if on_gpu else 0.0,
        wall_hours=_wall_s(rule, rate, loads, sky, cores) / 3600,
        memory_mb=rate.memory_mb,
        rate_from=rate.source,
        rate=f"{_round(rate.per_core_s)} {rate.unit}/s of a core, {rate.start_s:.1f} s to start; {rate.basis}",
        bytes_from=source,
    )


def _loads(rule: str, unit: str, sky: Sky) -> Iterator[float]:
    """Give the work of each job of a rule, in the unit of its rate."""
    if rule in TILE_RULES:
        yield from sky.groups.values()
    elif unit == "images":
        yield from sky.images.values()
    elif rule == "tiling_plan":
        yield sky.n_in
    else:
        yield {"rows": sky.n_rows, "labels": sky.labels, "tiles": sky.n_tiles, "job": 1}[unit]


def _wall_s(rule: str, rate: Rate, loads: Sequence[float], sky: Sky, cores: int) -> float:
    """Give the time on some cores; a job of few tiles cannot use many of them."""
    threads = min(THREADS, cores) if rule in SPREAD else 1
    at_once = max(1, min(len(loads), cores // threads))
    pieces = sky.parts if rule == "tiling_plan" else math.ceil(sky.n_tiles / max(1, len(sky.groups)))
    width = max(1, min(threads, pieces))
    return sum(rate.start_s + load / (rate.per_core_s * width) for load in loads) / at_once


def _other_bytes(rule: str, sky: Sky, workflow: Workflow) -> float:
    """Bytes of what is no tile: the spill of the plan, training sets, tables of a version, the report."""
    from skymill.features.plan import names

    if rule == "tiling_plan":  # sorted rows, and an index of 16 bytes each
        return sky.n_in * (workflow.chain.survey.schema.row_bytes + 16)
    if rule in MEASURING:
        return IMAGE_BYTES * sum(sky.images.values())
    if rule == "training_set":
        return sky.labels * (4 * 8 + 9 + 4 * len(names(workflow.chain.run, workflow.chain.survey.config)))
    sizes = {"training_fit": 5e5, "export_onnx": 1e6, "training_shift": 4e4, "report_page": 2e6, "tiling_images": 1e4}
    sizes |= {"segmenter_fit": 2e7, "segmenter_export": 6e5}
    return 150.0 * sky.n_tiles if rule == "release_seal" else sizes[rule]


def _files(rule: str, jobs: int, sky: Sky) -> int:
    """Count files: tiles, links, manifests, and for each job its log, benchmark and receipt."""
    beside = 3 * jobs
    if rule in TILE_RULES:
        locks = 2 if rule != "tiling_partition" else 3  # manifest, lock and, of the partition, the quarantined rows
        return sky.n_tiles + locks * jobs + beside
    if rule in MEASURING:
        return sum(sky.images.values()) + 2 * jobs + beside
    if rule == "tiling_plan":
        return 5 * sky.parts + len(sky.groups) + 4 + beside
    if rule == "release_seal":
        return 6 + sky.n_tiles + beside
    few = {
        "training_set": 2,
        "training_fit": 9,
        "export_onnx": 3,
        "training_shift": 2,
        "report_page": 1,
        "tiling_images": 3,
        "segmenter_fit": 5,
        "segmenter_export": 3,
    }
    return few[rule] + beside


def _round(value: float) -> str:
    """Give three digits."""
    return f"{float(f'{value:.3g}'):,.10g}"
