"""`skymill diff` and `skymill release`: what moved between two versions, and publishing."""

from __future__ import annotations

import getpass
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from skymill.cli.chain import Chain
from skymill.cli.console import Console, say
from skymill.cli.operating.commands import DEFAULT, AsJson, ConfigFile
from skymill.cli.operating.inputs import input_tables
from skymill.config import read_yaml

if TYPE_CHECKING:
    from skymill.release import Content

app = typer.Typer(no_args_is_help=True, help="Publish a finished run as a release, look at releases, go back to one.")
Run = Annotated[Path, typer.Option("--run", help="The folder that the run wrote.")]
Name = Annotated[str, typer.Argument(help="The release, like DR1.")]
RESULTS = Path("results")
Workers = Annotated[int | None, typer.Option(help="Processes; default one a core.", min=1)]


def diff(
    before: Annotated[str, typer.Argument(help="A release, a catalogue or a version of one: name, folder or URL.")],
    after: Annotated[str, typer.Argument(help="The one to compare it with.")],
    output: Annotated[Path, typer.Option(help="Folder for the page, diff.json, map.parquet and the delta.")] = Path(
        "diff"
    ),
    features_before: Annotated[str, typer.Option(help="Its catalogue of features, for results by magnitude.")] = "",
    features_after: Annotated[str, typer.Option(help="The same of AFTER; default that of BEFORE.")] = "",
    magnitude: Annotated[str, typer.Option(help="Feature to bin by.")] = "i_asinh_mag",
    radius_arcsec: Annotated[
        float | None, typer.Option(help="Match by position within this radius, where ids changed.", min=1e-3, max=60)
    ] = None,
    epochs: Annotated[
        tuple[float, float] | None, typer.Option(help="Julian years of the positions BEFORE and AFTER.")
    ] = None,
    motions: Annotated[str, typer.Option(help="BEFORE's catalogue of sources, which has proper motions.")] = "",
    pm: Annotated[tuple[str, str], typer.Option(help="Names of its values: mu_alpha cos(delta), mu_delta.")] = (
        "pm_ra",
        "pm_dec",
    ),
    least_change: Annotated[float, typer.Option(help="|Δp| from which a row is in the delta.", min=0, max=1)] = 0.01,
    run: Run = RESULTS,
    workers: Workers = None,
) -> None:
    """Say what moved between two versions of a catalogue of classes or of numbers with errors, or two releases.

    Of releases (`DR1 DR2`, of the run's folder, or folders of releases) every model that both have is compared, each
    into a folder of its own below OUTPUT; of catalogues of images it is counted how many tiles changed.

    Sources are matched by objectId, or by position. Counted are those added, removed and changed, transitions between
    classes, the change of probabilities by magnitude and over the sky, and flips against what the models themselves
    held possible; the most surprising flips are named. Numbers that have errors (sizes, magnitudes, fractions of
    votes) are compared in units of these. Tiles that both versions share are not read.

    OUTPUT/delta/*.parquet holds the changed rows with both answers, in the order of the sky.
    """
    from skymill import release
    from skymill.release.diffing.motions import Motions
    from skymill.report.diffing import diff_page

    features = features_before, features_after or features_before
    if (epochs is None) == bool(motions):
        raise ValueError("diff: --epochs and --motions belong together; give both, or neither")
    moving = Motions(motions, *pm, epochs[1] - epochs[0]) if epochs else None
    console = Console(markup=False, highlight=False)
    for sides in release.compared(before, after, run, features=features):
        if sides.of_images:
            told = release.tile_changes(sides.before, sides.after)
            console.print(f"{sides.name or sides.after}: {told}; sources are not compared one by one")
            continue
        folder = output / sides.name
        content = release.diff(
            sides.before,
            sides.after,
            folder,
            features=sides.features,
            magnitude=magnitude,
            radius_arcsec=radius_arcsec,
            motions=moving,
            least_change=least_change,
            workers=workers or len(os.sched_getaffinity(0)),
        )
        _show_rows(content, console)
        if len(content["classes"]) > 1:
            _show_transitions(content, console)
        _show_numbers(content, console)
        _show_surprising(content, console)
        page = diff_page(content, folder)
        console.print(f"{page}; diff.json, map.parquet and delta/ beside it")


def _show_rows(content: dict[str, Any], console: Console) -> None:
    rows, flips, change = content["rows"], content["flips"], content["change"]
    console.print(
        f"{content['before']['catalogue']} {content['before']['version']} -> {content['after']['catalogue']} "
        f"{content['after']['version']}, matched by {content['matched_by']}",
    )
    table = Table(show_header=False)
    for name, n in rows.items():
        table.add_row(name.replace("_", " "), f"{n:,}")
    if flips["n"]:
        table.add_row("flips", f"{flips['count']:,} ({100 * flips['value']:.3f} %)")
        quantiles = ", ".join(f"{change[name]:.3f} ({float(name):.1%})" for name in change if name != "largest")
        table.add_row("|Δp| at most", f"{quantiles}, largest {change['largest']:.3f}")
    console.print(table)


def _show_transitions(content: dict[str, Any], console: Console) -> None:
    table = Table("before \\ after", *content["classes"])
    for name, counts in zip(content["classes"], content["transitions"], strict=True):
        table.add_row(name, *(f"{n:,}" for n in counts))
    console.print(table)


def _show_numbers(content: dict[str, Any], console: Console) -> None:
    """Show by how much numbers moved, in units of their errors."""
    if not content["numbers"]:
        return
    table = Table("|Δ| / error", "n", "50 %", "90 %", "99 %", "beyond 3", "mean")
    for name, one in content["numbers"].items():
        if not one["n"]:
            continue
        levels = (one["shift"][level] for level in ("0.5", "0.9", "0.99"))
        told = ["> 10" if level is None else f"{level:.2f}" for level in levels]
        table.add_row(name, f"{one['n']:,}", *told, f"{one['beyond_3']['value']:.2%}", f"{one['mean_shift']:+.3f}")
    console.print(table)


def _show_surprising(content: dict[str, Any], console: Console, most: int = 5) -> None:
    if not content["surprising"]:
        return
    table = Table(
        Column("objectId", no_wrap=True, min_width=19),
        "ra",
        "dec",
        Column("before", no_wrap=True),
        Column("after", no_wrap=True),
        "surprise",
    )
    for one in content["surprising"][:most]:
        table.add_row(
            str(one["objectId"]),
            f"{one['ra']:.4f}",
            f"{one['dec']:.4f}",
            f"{one['before']} {one['probability_before']:.3f}",
            f"{one['after']} {one['probability_after']:.3f}",
            f"{one['surprise']:.1f}",
        )
    console.print(table)


@app.command()
def publish(
    name: Name,
    configfile: ConfigFile = DEFAULT,
    override: Annotated[str, typer.Option(help="Publish although the gate refuses: the reason, which is kept.")] = "",
    author: Annotated[str, typer.Option(help="Who overrides; default the user's name.")] = "",
    workers: Workers = None,
) -> None:
    """Make what a finished run sealed the current release, if it keeps within the limits of `release.gate`.

    Models' catalogues are compared with those of the current release. Where a limit is not kept nothing is published,
    and the rule and the worst offenders are named. Readers of earlier releases are not disturbed.

    Exit status 0 when published, 1 otherwise.
    """
    from skymill import release
    from skymill.report.diffing import diff_page

    chain = Chain.from_config(read_yaml(configfile), [configfile])
    told = release.publish(
        content_of(chain),
        name,
        gate=chain.run.release.gate,
        page=diff_page,
        override=release.Override(override, author or getpass.getuser()) if override else None,
        compute=chain.run.compute,
        workers=workers or len(os.sched_getaffinity(0)),
    )
    _show_release(told, Console(markup=False, highlight=False))
    say(f"{chain.output}/releases/{name} is published; {chain.output}/releases/current leads to it")


@app.command("list")
def list_releases(run: Run = RESULTS) -> None:
    """List the releases and what was done with them, oldest first."""
    from skymill import release

    releases = release.Releases(run)
    table = Table("release", "", "sources", "gate", "before it")
    for name in releases.names():
        told = releases.read(name)
        sources = told["catalogues"].get("sources", {}).get("n_rows", 0)
        gate = "kept" if told["gate"]["kept"] else "overridden"
        table.add_row(name, "current" if name == releases.current else "", f"{sources:,}", gate, told["previous"] or "")
    console = Console(markup=False, highlight=False)
    console.print(table)
    for line in releases.history():
        more = line.get("reason") or (line.get("override") or {}).get("reason") or ""
        text = f"{line['time']}  {line['action']}, current {line['current']}" + (f": {more}" if more else "")
        console.print(text)


@app.command()
def show(name: Name, run: Run = RESULTS, as_json: AsJson = False) -> None:
    """Show what a release holds and how it passed the gate."""
    from skymill import release

    told = release.Releases(run).read(name)
    if as_json:
        typer.echo(json.dumps(told, indent=1))
    else:
        _show_release(told, Console(markup=False, highlight=False))


EXIT = {"published": 0, "unchanged": 0, "refused": 4}
"""Exit status of `skymill release status`; 1 for everything else."""


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="The release that should have been made.")] = None,
    run: Run = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Say how the last `snakemake release` ended.

    Exit status 0 when it published or nothing was new, 4 when the gate refused, 1 when it failed, was killed, still
    runs, was not asked to publish, or was to make another release than NAME.
    """
    from skymill.release.scheduled import read_summary

    told = read_summary(run)
    if as_json:
        typer.echo(json.dumps(told, indent=1))
    else:
        current = told["current"] or "none"
        say(f"{told['time']}  release {told['release']}: {told['status']}; current is {current}")
        for rule in told.get("rules", []):
            if not rule["kept"]:
                say(f"  {rule['catalogue']}: {rule['rule']} is {rule['found']:.6g}, limit {rule['limit']:g}")
    raise typer.Exit(EXIT.get(told["status"], 1) if name in (None, told["release"]) else 1)


@app.command()
def rollback(
    name: Annotated[str | None, typer.Argument(help="Default: the release that was current before.")] = None,
    run: Run = RESULTS,
    reason: Annotated[str, typer.Option(help="Kept in the history.")] = "",
) -> None:
    """Make an earlier release the current one; the same command leads forward again."""
    from skymill import release

    say(f"{run}/releases/current leads to {release.rollback(run, name, reason=reason)}")


@app.command()
def copy(
    name: Name,
    target: Annotated[Path, typer.Argument(help="A new folder, or a new file that ends in .tar.")],
    run: Run = RESULTS,
    tar: Annotated[bool, typer.Option("--tar", help="Write one tar file, whatever its name.")] = False,
) -> None:
    """Copy a release with all its tiles to hand it over: a folder or a tar file that needs no other file.

    Every file is held against its digest on the way; what stands under the name in the end is whole. A copy may be
    moved and renamed, opened, compared and put on a web server, and `skymill verify` checks it.
    """
    from skymill import release

    members = release.copy_release(run, name, target, tar=tar)
    n_bytes = sum(member.n_bytes for member in members)
    say(f"{target}: release {name}, {len(members):,} files, {n_bytes / 1e6:,.1f} MB")


@app.command()
def verify(name: Name, run: Run = RESULTS) -> None:
    """Recompute every digest of a release, its tiles included.

    Exit status 0 when all is well, 1 otherwise.
    """
    from skymill import release

    report = release.verify_release(run, name)
    for line in report.lines():
        say(line)
    raise typer.Exit(0 if report.ok else 1)


def content_of(chain: Chain) -> Content:
    """Give what a run publishes."""
    from skymill.features import magnitude_feature
    from skymill.release import Content

    magnitude = magnitude_feature(chain.survey.config.bands)
    configuration = chain.run.model_dump(mode="json")
    return Content(
        Path(chain.output),
        chain.catalogues,
        chain.published,
        configuration,
        magnitude,
        chain.run.release.citation,
        input_tables(chain),
        chain.published_segmenters if chain.has_images else [],
    )


def _show_release(told: dict[str, Any], console: Console) -> None:
    table = Table("catalogue", "version", "sources", "tiles", title=told["release"])
    for name, about in told["catalogues"].items():
        table.add_row(name, about["version"], f"{about['n_rows']:,}", f"{about['n_tiles']:,}")
    console.print(table)
    rules = Table("rule", "catalogue", "limit", "found", "")
    for rule in told["gate"]["rules"]:
        found = f"{rule['found']:,.6g}"
        rules.add_row(rule["rule"], rule["catalogue"], f"{rule['limit']:g}", found, "" if rule["kept"] else "broken")
    console.print(rules)
    if told["gate"]["override"]:
        by = told["gate"]["override"]
        console.print(f"published by {by['author']} all the same: {by['reason']}")
