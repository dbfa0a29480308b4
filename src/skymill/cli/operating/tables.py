"""What the commands print, for terminals of any width."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from skymill.cli.chain import RESERVED
from skymill.cli.console import Console
from skymill.cli.operating.costs import Costs, StageCost
from skymill.cli.operating.status import QuarantinedTile, StageStatus, Status
from skymill.cli.operating.why import Explanation

NARROW = 76
"""Below this many characters, columns that can be done without are left out."""
WIDE = 110
"""From this many characters on, the costs are shown in full."""
SHOWN = 20
REASONS = 3
MANY = 8
VERDICTS = {
    "done": "[green]what is asked for[/]",
    "perhaps": "[yellow]perhaps no longer what is asked for[/]",
    "stale": "[yellow]not what is asked for[/]",
    "missing": "[yellow]not what is asked for[/]",
}
BYTES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def show_status(status: Status, console: Console) -> None:
    """Print how a run stands."""
    console.print(_stage_table(status.stages, narrow=console.width < NARROW))
    for stage in status.stages:
        reasons = [(words, n) for words, n in stage.reasons.items() if not words.startswith("follows ")]
        for words, n in reasons[:REASONS]:
            times = f"{n} jobs: " if n > 1 else ""
            console.print(f"[yellow]{_job(stage)}[/]: {times}{escape(words)}")
        if len(reasons) > REASONS:
            console.print(f"[yellow]{_job(stage)}[/]: and for {len(reasons) - REASONS} more reasons")
    console.print()
    for item in status.catalogues:
        if not item.version:
            console.print(f"[bold]{item.name}[/]: not sealed yet", highlight=False)
            continue
        why = f" ({escape(item.why)})" if item.state == "missing" else ""
        sealed = f"version {item.version}, {item.tiles:,} tiles, {item.rows:,} rows"
        console.print(f"[bold]{item.name}[/]: {sealed}, {VERDICTS[item.state]}{why}", highlight=False)
    for pinned in status.pinned:
        console.print(f"[bold]{pinned.model}[/]: pinned to fit {pinned.fit}, {escape(pinned.words)}", highlight=False)
    if status.quarantined:
        console.print(f"\n[red]{len(status.quarantined)} quarantined tiles[/]")
        _show_quarantined(status.quarantined, console)
        console.print("`skymill retry` has them tried again")
    kinds = ", ".join(f"{kind} {size_of(size)}" for kind, size in status.disk.items() if size)
    console.print(f"\nDisk: {size_of(sum(status.disk.values()))} ({kinds})", highlight=False)
    listed = ", ".join(f"{rule} {n}" for rule, n in status.listed.items())
    console.print(f"`snakemake -n` lists: {listed}" if listed else "Nothing to be done", highlight=False)


def show_costs(costs: Costs, console: Console) -> None:
    """Print what a run will cost."""
    sky, about = costs.sky, "" if costs.sky.certain else "about "
    console.print(
        f"{sky.n_in:,} rows in {sky.parts:,} parts, {about}{sky.n_tiles:,} tiles in {about}{len(sky.groups):,} groups, "
        f"{about}{sky.labels:,} labelled; from {sky.how}{'' if sky.certain else ': tiles and groups are estimated'}",
        highlight=False,
    )
    console.print(_cost_table(costs, narrow=console.width < WIDE))
    if console.width < WIDE:
        console.print("A wider terminal shows tiles, files, bytes and memory too", style="dim")
    for words, jobs in _rates(costs).items():
        console.print(f"[dim]{', '.join(jobs)}: {escape(words)}[/]", highlight=False)
    console.print(
        f"\nIn all: {costs.total('jobs'):,.0f} jobs, {costs.total('files'):,.0f} files, "
        f"{size_of(costs.total('n_bytes'))}, {_hours(costs.total('core_hours'))} of one core, "
        f"{_hours(costs.total('gpu_hours'))} of a GPU, {_hours(costs.total('wall_hours'))} by the clock on "
        f"{costs.cores} cores, one stage after the other",
        highlight=False,
    )


def show_quarantined(manifests: Mapping[Any, Sequence[QuarantinedTile]], console: Console) -> None:
    """Print the tiles to try again, manifest by manifest."""
    for manifest, tiles in manifests.items():
        console.print(escape(str(manifest)), highlight=False)
        _show_quarantined(tiles, console)


def show_explanation(found: Explanation, console: Console) -> None:
    """Print why a file is there, or why not."""
    there = "is there" if found.exists else "[red]is not there[/]"
    console.print(f"[bold]{escape(found.path)}[/] {there}", highlight=False)
    console.print(f"  what: {escape(found.kind)}", highlight=False)
    for name, value in dict(found.made_of).items():
        console.print(f"  made of {name}: {escape(_short(value))}", highlight=False)
    console.print(f"  again: {escape(found.again)}", highlight=False)
    if found.then:
        jobs = ", ".join(f"{rule} {n}" for rule, n in dict(found.then).items())
        console.print(f"  read, directly or not, by: {jobs}", highlight=False)
    for note in found.notes:
        console.print(f"  note: {escape(note)}", highlight=False)
    for line in found.log:
        console.print(f"  log: {escape(line)}", style="red", highlight=False)


def size_of(n_bytes: float) -> str:
    """Give a number of bytes for people."""
    for unit, size in BYTES:
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes:.0f} B"


def _stage_table(stages: Sequence[StageStatus], *, narrow: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("jobs of", no_wrap=not narrow)
    for heading in ("done", "stale", "missing", "perhaps"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in () if narrow else ("tiles", "rows"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in stages:
        numbers = [stage.done, stage.stale, stage.missing, stage.perhaps]
        counts = [] if narrow else [stage.tiles, stage.rows]
        cells = [f"{n:,}" if n else "·" for n in [*numbers, *counts]]
        table.add_row(_job(stage), *cells)
    return table


def _cost_table(costs: Costs, *, narrow: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("jobs of", no_wrap=not narrow)
    headings = ["jobs", "rows", "core time", "by the clock"]
    gpu = ["GPU time"] if costs.total("gpu_hours") else []
    wide = [] if narrow else [*gpu, "tiles", "files", "bytes", "memory"]
    for heading in [*headings, *wide, "rate from"]:
        table.add_column(heading, justify="left" if heading == "rate from" else "right", no_wrap=True)
    for stage in costs.stages:
        times = [_hours(stage.core_hours), _hours(stage.wall_hours)]
        more = [
            *([_hours(stage.gpu_hours)] if gpu else []),
            f"{stage.tiles:,}" if stage.tiles else "·",
            f"{stage.files:,}",
            size_of(stage.n_bytes),
            f"{stage.memory_mb:,.0f} MB",
        ]
        rows = f"{stage.rows:,}" if stage.rows else "·"
        table.add_row(_job(stage), f"{stage.jobs:,}", rows, *times, *([] if narrow else more), stage.rate_from)
    return table


def _rates(costs: Costs) -> dict[str, list[str]]:
    """Give each rate in words, and what it is of."""
    found: dict[str, list[str]] = {}
    for stage in costs.stages:
        documented = stage.rate_from == "documented"
        words = "documented, see docs/operating.md" if documented else f"{stage.rate_from}, {stage.rate}"
        name = stage.rule if documented else _job(stage)
        jobs = found.setdefault(words, [])
        jobs.extend([name] if name not in jobs else [])
        if stage.bytes_from:
            found.setdefault(f"bytes of a row {stage.bytes_from}", []).append(stage.subject)
    return found


def _hours(hours: float) -> str:
    """Give a time for people."""
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:.1f} min" if hours >= 1 / 60 else f"{hours * 3600:.0f} s"


def _show_quarantined(tiles: Sequence[QuarantinedTile], console: Console) -> None:
    for tile in tiles[:SHOWN]:
        text = f"  {tile.catalogue} {tile.tile} ({tile.rows:,} rows): {tile.reason}"
        console.print(escape(text), highlight=False)
    if len(tiles) > SHOWN:
        console.print(f"  and {len(tiles) - SHOWN} more; see --json")


def _job(item: StageStatus | StageCost) -> str:
    """Name a rule and what it works for, where the rule does not tell."""
    tells = item.subject in RESERVED and item.rule != "release_seal"
    return item.rule if tells else f"{item.rule} {item.subject}".strip()


def _short(value: Any) -> str:
    if isinstance(value, dict) and len(value) > MANY:
        return f"{len(value)} entries, see --json"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:297]}..."
