"""`skymill diff`: what moved between two versions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

Workers = Annotated[int | None, typer.Option(help="Processes; default one a core.", min=1)]


def diff(
    before: Annotated[str, typer.Argument(help="A catalogue or a version of one: a folder, or a URL.")],
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
    least_change: Annotated[float, typer.Option(help="|Δp| from which a row is in the delta.", min=0, max=1)] = 0.01,
    workers: Workers = None,
) -> None:
    """Say what moved between two versions of a classification catalogue.

    Sources are matched by objectId, or by position. Counted are those added, removed and changed, transitions between
    classes, the change of probabilities by magnitude and over the sky, and flips against what the models themselves
    held possible; the most surprising flips are named. Tiles that both versions share are not read.

    OUTPUT/delta/*.parquet holds the changed rows with both answers, in the order of the sky.
    """
    from skymill import release
    from skymill.report.diffing import diff_page

    content = release.diff(
        before,
        after,
        output,
        features=(features_before, features_after or features_before),
        magnitude=magnitude,
        radius_arcsec=radius_arcsec,
        least_change=least_change,
        workers=workers or len(os.sched_getaffinity(0)),
    )
    console = Console()
    _show_rows(content, console)
    _show_transitions(content, console)
    _show_surprising(content, console)
    page = diff_page(content, output)
    console.print(f"{page}; diff.json, map.parquet and delta/ beside it", markup=False, highlight=False)


def _show_rows(content: dict[str, Any], console: Console) -> None:
    rows, flips, change = content["rows"], content["flips"], content["change"]
    console.print(
        f"{content['before']['catalogue']} {content['before']['version']} -> {content['after']['catalogue']} "
        f"{content['after']['version']}, matched by {content['matched_by']}",
        markup=False,
        highlight=False,
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
