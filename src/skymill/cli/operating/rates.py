"""How fast the stages are: by the benchmarks of earlier runs, else measured on this machine, else as documented."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from skymill.cli.operating.jobs import Job, Workflow
from skymill.cli.operating.status import read_counts


@dataclass(frozen=True)
class Rate:
    """What one core does of a rule's work.

    Attributes
    ----------
    unit : str
        What is counted: `rows` of the group, `labels`, `tiles`, or the `job`.
    per_core_s : float
        Units in a second of one core.
    start_s : float
        Seconds of one core that a job costs besides.
    memory_mb : float
        Resident memory of a process that works.
    source : str
        `benchmarks`, `measured` or `documented`.
    basis : str
        What it was measured on.
    """

    unit: str
    per_core_s: float
    start_s: float
    memory_mb: float
    source: str = "documented"
    basis: str = "docs/operating.md"

    def core_s(self, jobs: int, units: float) -> float:
        """Seconds of one core for some jobs with some units in all."""
        return jobs * self.start_s + units / self.per_core_s


DOCUMENTED: Mapping[str, Rate] = {
    "tiling_images": Rate("job", 1.0, 2.0, 300),
    "features_measure": Rate("images", 0.25, 2.5, 900),
    "segmenter_fit": Rate("job", 0.012, 3.0, 1400),
    "segmenter_export": Rate("job", 0.5, 3.0, 540),
    "segmenter_measure": Rate("images", 0.14, 2.5, 1360),
    "tiling_plan": Rate("rows", 4.4e5, 2.5, 570),
    "tiling_partition": Rate("rows", 6.0e5, 2.0, 570),
    "features_compute": Rate("rows", 5.4e5, 1.8, 440),
    "training_set": Rate("labels", 2.9e3, 3.0, 340),
    "training_fit": Rate("labels", 7.7e2, 3.0, 760),
    "export_onnx": Rate("labels", 1.7e3, 3.0, 610),
    "inference_run": Rate("rows", 1.7e5, 2.2, 230),
    "release_seal": Rate("tiles", 9.0e3, 1.0, 240),
    "training_shift": Rate("job", 0.15, 2.0, 350),
    "report_page": Rate("job", 0.2, 1.6, 480),
}
"""Figures of docs/operating.md, where the machine is named; of fit, export and inference those of the slower model."""
STAMPS: Mapping[str, Rate] = {
    "training_fit": Rate("labels", 90, 6.0, 1500),
    "export_onnx": Rate("job", 0.08, 3.0, 930),
    "inference_run": Rate("rows", 6.0e3, 2.2, 1300),
}
"""The same of a model that looks at stamps of `STAMP_PX` pixels a side, in six bands; a fit's of 20 epochs."""
STAMP_PX = 32
SIMULATED = 1.77e5
"""Rows of the embedded survey that a core generates and reads in a second."""
ENOUGH: Mapping[str, int] = {"images": 4, "rows": 1_000_000, "labels": 5_000, "tiles": 50, "job": 1}
"""Units in all that benchmarks must have seen before a rate is taken from them."""
TELLS = 0.6
"""Share of the time beyond starting that benchmarks must hold: small jobs say nothing of the work."""
ENOUGH_BYTES = 100_000
"""Rows from which a catalogue tells the bytes of a row."""
MADE = re.compile(r"(?P<made>\d+) of (?P<all>\d+) (?:tiles to make|parts are new)")


def find_rates(workflow: Workflow, measured: Mapping[str, Rate]) -> dict[str, Rate]:
    """Give the rate of each rule and subject.

    Parameters
    ----------
    workflow : Workflow
    measured : mapping
        By `rule` or `rule model`, as `measure` found them.

    Returns
    -------
    dict
        By `rule subject`.
    """
    found: dict[str, Rate] = {}
    for key, jobs in jobs_by_rule(workflow).items():
        rule, _, subject = key.partition(" ")
        known = measured.get(key) or _of_stamps(rule, subject, workflow) or measured.get(rule)
        known = known or _documented(rule, workflow)
        found[key] = _from_benchmarks(jobs, known, workflow) or known
    return found


def _documented(rule: str, workflow: Workflow) -> Rate:
    """Give a documented rate; a simulated survey is not only read but generated."""
    simulated = rule == "tiling_plan" and workflow.chain.survey.config.format == "simulated"
    return replace(DOCUMENTED[rule], per_core_s=SIMULATED) if simulated else DOCUMENTED[rule]


def _of_stamps(rule: str, model: str, workflow: Workflow) -> Rate | None:
    """Give the documented rate of a model of stamps, whose work goes by their pixels; None for other jobs."""
    stamps = workflow.chain.models[model].stamps if model in workflow.chain.models else None
    if stamps is None or rule not in STAMPS:
        return None
    rate = STAMPS[rule]
    return rate if rate.unit == "job" else replace(rate, per_core_s=rate.per_core_s * (STAMP_PX / stamps.size_px) ** 2)


def jobs_by_rule(workflow: Workflow) -> dict[str, list[Job]]:
    """Put jobs of the same rule and subject together."""
    found: dict[str, list[Job]] = {}
    for job in workflow.jobs.values():
        found.setdefault(f"{job.rule} {job.subject}".strip(), []).append(job)
    # Without a plan no group is known, and the rules of groups have no job yet.
    found.setdefault("tiling_partition sources", [])
    found.setdefault("features_compute features", [])
    for model in workflow.chain.published:
        found.setdefault(f"inference_run {model}", [])
    return found


def _from_benchmarks(jobs: list[Job], known: Rate, workflow: Workflow) -> Rate | None:
    """Take a rate from jobs that did all of their work; None where they did too little to tell."""
    units, cpu_s, n_jobs = 0.0, 0.0, 0
    for job in jobs:
        seen = _cpu_s(workflow.results / "benchmarks" / f"{job.stem}.tsv") if job.output else None
        if seen is not None and _made_all(workflow.results / "logs" / f"{job.stem}.log"):
            units, cpu_s, n_jobs = units + _units(job, known.unit, workflow), cpu_s + seen, n_jobs + 1
    work_s = cpu_s - n_jobs * known.start_s
    if units < ENOUGH[known.unit] or work_s < TELLS * cpu_s:
        return None
    basis = f"{units:,.0f} {known.unit} in {n_jobs} jobs"
    return Rate(known.unit, units / work_s, known.start_s, known.memory_mb, "benchmarks", basis)


def _cpu_s(path: Path) -> float | None:
    """Give the CPU seconds of a Snakemake benchmark, children included; None where there is none."""
    if not path.is_file():
        return None
    with path.open() as file:
        values = [row.get("cpu_time") for row in csv.DictReader(file, delimiter="\t")]
    numbers = [float(value) for value in values if value and value not in ("NA", "-")]
    return numbers[-1] if numbers else None


def _made_all(log: Path) -> bool:
    """Tell whether a job took nothing over from the pool; jobs without tiles always did all their work."""
    found = MADE.search(log.read_text(errors="replace")) if log.is_file() else None
    return found is None or found["made"] == found["all"]


def _units(job: Job, unit: str, workflow: Workflow) -> float:
    if unit == "job":
        return 1
    if unit == "images":
        return int(workflow.image_groups[job.group]["n_tiles"])
    if unit == "labels":
        made = workflow.training_set
        return made["sources"]["used"] if made else 0
    if unit == "tiles":
        return sum(about["n_tiles"] for about in (workflow.groups or {}).values())
    if job.group:
        return read_counts(Path(job.output)).rows if Path(job.output).is_file() else 0
    return sum(about["n_rows"] for about in (workflow.groups or {}).values())


def row_bytes(workflow: Workflow) -> Iterator[tuple[str, float, str]]:
    """Give for each catalogue the bytes of a row on disk, and where the figure is from."""
    survey = workflow.chain.survey
    for catalogue in workflow.chain.catalogues:
        counts = [read_counts(Path(path)) for path in workflow.manifests(catalogue) if Path(path).is_file()]
        rows = sum(count.rows for count in counts)
        if rows >= ENOUGH_BYTES:
            yield catalogue, sum(count.n_bytes for count in counts) / rows, "benchmarks"
        else:
            yield catalogue, _width(workflow, catalogue, survey.schema.row_bytes), "documented"


def _width(workflow: Workflow, catalogue: str, source_bytes: int) -> float:
    """Bytes of a row before compression, which gains little on measurements."""
    from skymill.features.plan import names

    identity = 4 * 8 + 4
    if catalogue == "sources":
        return source_bytes
    if catalogue == "features":
        return identity + 4 * len(names(workflow.chain.run, workflow.chain.survey.config))
    labels = workflow.chain.run.labels
    return identity + 4 * (len(labels.classes) if labels else 3) + 1 + 4


def read_rates(path: Path) -> dict[str, Rate]:
    """Read measured rates; none where there are none.

    Raises
    ------
    ValueError
        If the file does not hold rates.
    """
    if not path.is_file():
        return {}
    try:
        return {name: Rate(**values) for name, values in json.loads(path.read_bytes()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected measured rates, found {error}; delete it and measure again") from error
