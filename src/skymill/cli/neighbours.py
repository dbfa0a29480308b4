"""`skymill neighbours`: the sources that look most like one."""

from __future__ import annotations

import json
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from skymill.cli.console import Console
from skymill.cli.explain import position
from skymill.cli.operating.commands import AsJson
from skymill.models import EMBED

SHOWN = ("objectId", "coord_ra", "coord_dec", "similarity", "class", "training_distance")


def neighbours(
    catalogue: Annotated[str, typer.Argument(help="One with embeddings: results/catalogues/contrastive, or an URL.")],
    object_id: Annotated[str, typer.Argument(metavar="OBJECTID", help="The source to compare with.")],
    count: Annotated[int, typer.Option("--count", "-k", help="Sources to show.", min=1)] = 10,
    near: Annotated[str, typer.Option(help="RA,DEC in degrees, where it stands: only there is it looked for.")] = "",
    radius_arcsec: Annotated[float, typer.Option(help="How near.", min=1e-3, max=36_000)] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Show the sources that look most like OBJECTID, by the angle between their embeddings.

    The vectors of all sources are looked at, so it takes as long as reading them: 128 bytes a source with 64 numbers.
    """
    from skymill.release.explaining import parse_id
    from skymill.release.explaining.finding import find
    from skymill.store import open_catalogue

    opened = open_catalogue(catalogue)
    if "embedding" not in opened.columns:
        raise ValueError(f"{catalogue}: has no embeddings; expected the catalogue of a model of {', '.join(EMBED)}")
    circle = (*position(near), radius_arcsec / 3600) if near else None
    place = find(opened, parse_id(object_id), near=circle)
    if place is None:
        raise ValueError(f"{catalogue}: source {object_id} is in no tile of version {opened.version}")
    [vector] = opened.reader_of(place.tile).rows(place.row, place.row + 1, ["embedding"])["embedding"]
    if not np.isfinite(vector).all():
        raise ValueError(f"{catalogue}: source {object_id} has no embedding: nothing could be seen of it")
    found = opened.nearest(vector, count + 1, [name for name in SHOWN if name in opened.columns])
    found = found.isel(source=found["objectId"].to_numpy() != int(object_id)).isel(source=slice(count))
    names = [name for name in SHOWN if name in found]
    rows = list(zip(*(found[name].to_numpy().tolist() for name in names)))
    if as_json:
        typer.echo(json.dumps([dict(zip(names, row)) for row in rows], indent=1))
        return
    classes = found["class"].attrs["flag_meanings"].split()[1:] if "class" in found else []
    table = Table(*names, title=f"nearest to {object_id}")
    for row in rows:
        told = dict(zip(names, row))
        if classes:
            told["class"] = classes[told["class"]] if told["class"] >= 0 else "not scored"
        table.add_row(*(f"{value:.5f}" if isinstance(value, float) else str(value) for value in told.values()))
    Console().print(table)
