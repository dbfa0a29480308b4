"""When the jobs of a run ran, and what they took: a Gantt chart from Snakemake's benchmark files.

A benchmark file is written as its job ends, so that its time of change is the end of the job, and the seconds in it
lead back to the start. Nothing but the page depends on it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from skymill.report.figures import COLOURS
from skymill.report.gather import Run, benchmark_files

WIDTH = 9.4
"""Inches: the whole page."""
MOST_LANES = 12
"""Jobs of a rule drawn below each other; more share lanes."""
IDLE_S = 60.0
"""A pause of all jobs that is longer is cut out."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """One job: its rule, when it ran (s since 1970), the most memory it held (MB) and its mean load (CPU cores)."""

    rule: str
    start: float
    end: float
    memory: float
    cores: float


@dataclass(frozen=True)
class Stage:
    """Rows and seconds of all jobs of one rule."""

    name: str
    jobs: int
    rows: int | None
    seconds: float

    @property
    def rate(self) -> float | None:
        """Rows per second, where the rule handles rows."""
        return self.rows / self.seconds if self.rows and self.seconds else None


def read_jobs(run: Run) -> dict[str, list[Job]]:
    """Give the jobs of each rule that the run now consists of."""
    files = benchmark_files(run)
    return {rule: [read_job(rule, path) for path in paths] for rule, (paths, _) in files.items()}


def stages_of(run: Run, jobs: Mapping[str, Sequence[Job]]) -> list[Stage]:
    """Add up the jobs of each rule."""
    files = benchmark_files(run)
    return [
        Stage(rule, len(each), files[rule][1], sum(job.end - job.start for job in each)) for rule, each in jobs.items()
    ]


def read_job(rule: str, path: Path) -> Job:
    """Read a benchmark file; `-` and `NA` stand for what Snakemake could not measure."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    seconds, end = sum(float(row["s"]) for row in rows), path.stat().st_mtime
    memory = max((_number(row.get("max_rss")) for row in rows), default=0.0)
    cores = max((_number(row.get("mean_load")) for row in rows), default=0.0) / 100
    return Job(rule, end - seconds, end, memory, cores)


def _number(text: str | None) -> float:
    return 0.0 if text in (None, "", "-", "NA") else float(str(text))


def without_pauses(jobs: Sequence[Job]) -> tuple[list[Job], list[float]]:
    """Put the start at 0 and cut out pauses of more than a minute, as between two runs; give also where they were."""
    moved: list[Job] = []
    cuts: list[float] = []
    shift, last = min(job.start for job in jobs), min(job.start for job in jobs)
    for job in sorted(jobs, key=lambda each: each.start):
        if job.start - last > IDLE_S:
            cuts.append(last - shift)
            shift += job.start - last
        moved.append(Job(job.rule, job.start - shift, job.end - shift, job.memory, job.cores))
        last = max(last, job.end)
    return moved, cuts


def lanes_of(jobs: Sequence[Job]) -> list[int]:
    """Give each job, in the order of their starts, the first lane that is free; the last where none is."""
    free: list[float] = []
    lanes = []
    for job in jobs:
        lane = next((number for number, end in enumerate(free) if end <= job.start), len(free))
        lane = min(lane, MOST_LANES - 1)
        free[lane : lane + 1] = [max(job.end, free[lane] if lane < len(free) else 0.0)]
        lanes.append(lane)
    return lanes


def at_once(jobs: Sequence[Job], amounts: Sequence[float]) -> tuple[Floats, Floats]:
    """Give the times of change and, from each on, the sum of what the jobs then running take."""
    times = np.array([job.start for job in jobs] + [job.end for job in jobs])
    steps = np.array([*amounts, *(-amount for amount in amounts)])
    changes, place = np.unique(times, return_inverse=True)
    return changes, np.cumsum(np.bincount(place, steps))


def draw_timeline(jobs: Mapping[str, Sequence[Job]]) -> Figure:
    """Draw the jobs of each rule as bars, and below them the cores and the memory of all together."""
    every, cuts = without_pauses([job for each in jobs.values() for job in each])
    rows: list[tuple[str, list[Job], list[int]]] = []
    for rule in jobs:
        own = [job for job in every if job.rule == rule]
        rows.append((rule, own, lanes_of(own)))
    heights = [0.16 + 0.14 * (max(lanes) + 1) for _, _, lanes in rows]
    figure = Figure(figsize=(WIDTH, sum(heights) + 2.6), layout="constrained")
    upper, cores, memory = figure.subplots(3, 1, sharex=True, height_ratios=(sum(heights), 0.9, 0.9))
    top, ticks = 0.0, []
    for number, ((_, own, lanes), height) in enumerate(zip(rows, heights, strict=True)):
        bars = [(job.start, job.end - job.start) for job in own]
        for lane in sorted(set(lanes)):
            mine = [bar for bar, place in zip(bars, lanes, strict=True) if place == lane]
            low = top + 0.08 + 0.14 * lane
            upper.broken_barh(mine, (low, 0.115), color=COLOURS[number % len(COLOURS)], alpha=0.85)
        ticks.append(top + height / 2)
        top += height
    upper.set_yticks(ticks, [rule for rule, _, _ in rows])
    upper.set_ylim(top, 0)
    upper.tick_params(axis="y", length=0)
    for axes, name, amounts in (
        (cores, "cores", [job.cores for job in every]),
        (memory, "memory (GB)", [job.memory / 1000 for job in every]),
    ):
        times, sums = at_once(every, amounts)
        axes.fill_between(times, sums, step="post", color="0.7", linewidth=0)
        axes.set_ylabel(name)
        axes.set_ylim(bottom=0)
    for axes in (upper, cores, memory):
        for cut in cuts:
            axes.axvline(cut, color="0.3", linewidth=1, linestyle=":")
    memory.set_xlabel("seconds since the first job" + (", without pauses (dotted)" if cuts else ""))
    memory.set_xlim(0, max(job.end for job in every))
    return figure
