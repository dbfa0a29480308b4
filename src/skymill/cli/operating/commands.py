"""`skymill plan`, `status`, `why` and `retry`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skymill.cli.chain import Chain
from skymill.cli.console import Console
from skymill.config import read_yaml

if TYPE_CHECKING:
    from skymill.cli.operating.jobs import Workflow

ConfigFile = Annotated[Path, typer.Option("--configfile", help="The run's file, as given to snakemake.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DEFAULT = Path("config/config.yaml")


def plan(
    configfile: ConfigFile = DEFAULT,
    cores: Annotated[int | None, typer.Option(help="For the wall time; default the cores of this machine.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure this machine first, about a minute.")] = False,
    as_json: AsJson = False,
) -> None:
    """Estimate what a whole run costs before anything runs.

    Tiles, groups, jobs, rows, files, bytes, core time, GPU time, memory of a worker, time by the clock. Rows are those
    of the plan, where there is one, else of the headers of the survey's files; tiles and groups are then estimated. A
    stage's rate is from the benchmarks of earlier jobs of this run, where they did enough to tell, else as measured on
    this machine with --measure (kept in your cache folder), else as documented; the table says which.
    """
    from skymill.cli.operating.costs import estimate
    from skymill.cli.operating.measure import cache_path, save
    from skymill.cli.operating.measure import measure as measure_stages
    from skymill.cli.operating.rates import read_rates
    from skymill.cli.operating.tables import show_costs

    workflow = _workflow(configfile)
    models = list(workflow.chain.models.values())
    cached = cache_path(models)
    if measure:
        save(measure_stages(models, Console(stderr=True).print), cached)
    costs = estimate(workflow, read_rates(cached), cores=cores or len(os.sched_getaffinity(0)))
    if as_json:
        typer.echo(json.dumps(costs.as_dict(), indent=1))
    else:
        show_costs(costs, Console())


def status(configfile: ConfigFile = DEFAULT, as_json: AsJson = False) -> None:
    """Show how a run stands: what is done, stale or missing, and which ingredient differs.

    Per stage and catalogue: jobs done; stale (made of other settings, code, data, labels or models than are asked for
    now); missing (never made); perhaps (made again if a checkpoint before them comes to another result). Then the
    sealed versions, the quarantined tiles with their reasons, and the disk used. Reads manifests, never tiles; may be
    used while the workflow runs. Exit status 0 when nothing is to be done, 3 otherwise.
    """
    from skymill.cli.operating.status import read_status
    from skymill.cli.operating.tables import show_status

    found = read_status(_workflow(configfile))
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1))
    else:
        show_status(found, Console())
    raise typer.Exit(0 if found.is_done else 3)


def why(
    path: Annotated[Path, typer.Argument(help="A tile, manifest, model, training set, version, report of the run.")],
    configfile: ConfigFile = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Say why a file of a run is there, or why it is not.

    What it was made from, whether the present configuration would have it made again and why, and which jobs read it.
    For a tile also which manifests and versions name it. For a file that is not there: which job makes it, whether it
    is quarantined, and the end of the log of a job that failed.
    """
    from skymill.cli.operating.tables import show_explanation
    from skymill.cli.operating.why import explain

    found = explain(path, _workflow(configfile))
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1))
    else:
        show_explanation(found, Console(soft_wrap=True))


def retry(
    configfile: ConfigFile = DEFAULT,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")] = False,
) -> None:
    """Have quarantined tiles, and sources whose images could not be read, tried again by the next run of snakemake.

    Drops the manifests of the groups that hold them. Their finished tiles stay in the pool and are taken over, so only
    what failed is computed; what was lost through it in later stages follows.
    """
    from skymill.cli.operating.retry import drop, retries
    from skymill.cli.operating.tables import show_quarantined

    found = retries(_workflow(configfile))
    n_tiles = sum(map(len, found.values()))
    if not found:
        typer.echo("No quarantined tiles, and no source without its image: nothing to try again")
        return
    show_quarantined(found, Console(soft_wrap=True))
    if not yes:
        typer.echo(f"Would drop these {len(found)} manifests ({n_tiles} tiles to try again); say --yes to do it")
        return
    drop(found)
    typer.echo(f"Dropped {len(found)} manifests; run snakemake to try {n_tiles} tiles again")


def _workflow(configfile: Path) -> Workflow:
    from skymill.cli.operating.jobs import Workflow

    return Workflow(Chain.from_config(read_yaml(configfile)))
