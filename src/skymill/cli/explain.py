"""`skymill explain`: where the answers on a source come from, or where a tile does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from skymill.cli.chain import Chain
from skymill.cli.console import Console
from skymill.cli.operating.commands import DEFAULT, AsJson, ConfigFile
from skymill.cli.operating.inputs import input_tables
from skymill.config import read_yaml
from skymill.store.paths import SUFFIX


def explain(
    subject: Annotated[str, typer.Argument(metavar="OBJECTID|TILE", help="A source's id, or a tile's file.")],
    near: Annotated[str, typer.Option(help="RA,DEC in degrees, where it stands: only there is it looked for.")] = "",
    radius_arcsec: Annotated[float, typer.Option(help="How near.", min=1e-3, max=36_000)] = 60.0,
    configfile: ConfigFile = DEFAULT,
    release: Annotated[str | None, typer.Option(help="As it is in this release; default as sealed last.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model's catalogue; default all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say where the answers on one source come from, or where one tile comes from.

    Of a source: its tile, the input files, its features, of each model the ONNX file, fit and training set, the
    probabilities before and after calibration, computed again and compared with what is stored, its flags in words,
    and what each release said of it, with the release that changed it last. Without --near the ids of all tiles are
    read. Rows of the id that were put aside are named with their reason.

    Of a tile (*.zarr.zip, wherever it lies): the digests of data, code, model and configuration that it was made from.
    """
    from skymill.release.explaining import explain_tile, parse_id

    console = Console(soft_wrap=True, highlight=False)
    if subject.endswith(SUFFIX):
        found = explain_tile(subject)
        show = _show_tile
    else:
        found = _source(parse_id(subject), near, radius_arcsec, configfile, release, model)
        show = _show_source
    if as_json:
        typer.echo(json.dumps(_json(found), indent=1, allow_nan=False))
    else:
        show(found, console)


def _source(
    object_id: int, near: str, radius_arcsec: float, configfile: Path, release: str | None, models: list[str] | None
) -> dict[str, Any]:
    from skymill.release import Releases
    from skymill.release.explaining import explain_source

    chain = Chain.from_config(read_yaml(configfile), [configfile])
    run = Path(chain.output)
    held = list(Releases(run).read(release)["catalogues"]) if release else chain.catalogues
    others = {*chain.own_catalogues, *(set(chain.published) - set(chain.classifiers))}
    known = [name for name in held if name not in others]
    unknown = sorted(set(models or ()) - set(known))
    if unknown:
        raise ValueError(f"--model: expected one of {', '.join(known) or 'no model'}, found {', '.join(unknown)}")
    circle = (*position(near), radius_arcsec / 3600) if near else None
    return explain_source(
        run, object_id, models=models or known, release=release, near=circle, tables=input_tables(chain)
    )


def position(text: str) -> tuple[float, float]:
    try:
        ra, dec = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--near: expected RA,DEC in degrees, like 53.1,-27.8, found '{text}'") from None
    return ra, dec


def _show_tile(told: dict[str, Any], console: Console) -> None:
    console.print(f"[bold]{escape(told['path'])}[/]: {told['tile']} of catalogue {told['catalogue']}")
    console.print(f"  {told['n_rows']:,} rows; the file has sha256 {told['sha256']} and is whole")
    fits = "and is the digest of what it is made of" if told["fits"] else "[red]but what it is made of has another[/]"
    console.print(f"  key {told['key']}, {fits}")
    for role, digest in told["digests"].items():
        console.print(f"  {role}: {digest or 'none has a part in it'}")
    if "model" in told:
        console.print(f"  model {told['model']}, kind {told['model_kind']}, training set {told['training_set']}")
    console.print(f"  made of: {escape(json.dumps(told['ingredients'], ensure_ascii=False))}")
    console.print(f"  packages: {', '.join(f'{name} {version}' for name, version in told['versions'].items())}")


def _show_source(told: dict[str, Any], console: Console) -> None:
    for row in told["put_aside"]:
        where = f"row {row['row']} of {row['part']}" if row["part"] else f"a row of {row['tile']}"
        place = f"RA {row['coord_ra']}, Dec {row['coord_dec']}"
        console.print(f"[yellow]put aside[/]: {escape(where)}, {place}: {row['reason']}: {row['meaning']}")
    if "place" not in told:
        console.print(f"[bold]source {told['objectId']}[/] is in no tile")
        return
    place, origin = told["place"], told["origin"]
    console.print(
        f"[bold]source {told['objectId']}[/] at RA {place['ra']:.6f}, Dec {place['dec']:.6f}: {place['tile']}, "
        f"row {place['row']}, sources version {told['source']['version']}"
    )
    _show_origin(origin, console)
    _show_flags(told["source"]["flags"], console)
    _show_features(told["features"], console)
    for name, model in told["models"].items():
        _show_model(name, model, console)


def _show_origin(origin: Mapping[str, Any], console: Console) -> None:
    for part in origin["parts"]:
        sha256 = f"sha256 {part['sha256']}" if part["sha256"] else "whose digest the run does not tell"
        console.print(f"  from {escape(part['part'])} of {escape(part['file'])}, {sha256}")
    if origin["group"]:
        console.print(f"  group {origin['group']}, planned as {origin['plan']}")
    if origin["note"]:
        console.print(f"  [yellow]{escape(origin['note'])}[/]")


def _show_flags(flags: Mapping[str, str], console: Console) -> None:
    for name, meaning in flags.items():
        console.print(f"  flag {name}: {meaning}")


def _show_features(features: Mapping[str, Any] | None, console: Console) -> None:
    if features is None:
        console.print("  [yellow]the feature catalogue does not hold it[/]")
        return
    table = Table("feature", "value", "unit", box=None, pad_edge=False)
    for one in features["values"]:
        table.add_row(one["name"], f"{one['value']:.6g}", one["unit"])
    console.print(table)


def _show_model(name: str, model: Mapping[str, Any], console: Console) -> None:
    console.print(f"\n[bold]{name}[/] version {model['version']}")
    answer = model["answer"]
    if answer is None:
        console.print("  [yellow]does not hold the source[/]")
    else:
        console.print(f"  ONNX {model['onnx']}, kind {model['kind']}")
        console.print(f"  fit {model['fit'] or 'not known'}, training set {model['training_set'] or 'not known'}")
        console.print(f"  class {answer['class'] or 'none: not scored'}, tile {model['key'][:12]}")
        _show_probabilities(answer, model["recomputed"], console)
        if model.get("note"):
            console.print(f"  [yellow]{escape(model['note'])}[/]")
        if "conformal_set" in answer:
            console.print(f"  cannot be excluded: {', '.join(answer['conformal_set']) or 'no class'}")
        if "training_distance" in answer:
            console.print(f"  distance from the training rows {answer['training_distance']:.3g}; above 1 is outside")
        _show_flags(answer["flags"], console)
    _show_releases(model, console)


def _show_probabilities(answer: Mapping[str, Any], again: Mapping[str, Any] | None, console: Console) -> None:
    raw = (again or {}).get("uncalibrated") or {}
    table = Table("class", "before calibration", "after", "stored", box=None, pad_edge=False)
    for kind, stored in answer["probabilities"].items():
        after = f"{again['probabilities'][kind]:.6f}" if again else ""
        table.add_row(kind, f"{raw[kind]:.6f}" if kind in raw else "", after, f"{stored:.6f}")
    console.print(table)
    if again:
        console.print(f"  computed again, it differs from what is stored by at most {again['difference']:.2g}")


def _show_releases(model: Mapping[str, Any], console: Console) -> None:
    if not model["releases"]:
        console.print("  not released yet")
        return
    columns = [Column(name, no_wrap=True) for name in ("release", "published", "version", "", "class", "probability")]
    table = Table(*columns, box=None, pad_edge=False)
    for step in model["releases"]:
        highest = step["probabilities"].get(step["kind"]) if step["kind"] else None
        probability = "" if highest is None else f"{highest:.4f}"
        changed = f"{step['state']}, changed" if step["changed"] else step["state"]
        table.add_row(step["release"], step["time"][:10], step["version"], changed, step["kind"] or "", probability)
    console.print(table)
    console.print(f"  changed last by {model['changed_last_by'] or 'no release'}")


def _json(value: Any) -> Any:
    """Give numbers that JSON does not know as text."""
    if isinstance(value, Mapping):
        return {name: _json(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(inner) for inner in value]
    return str(value) if isinstance(value, float) and not abs(value) < float("inf") else value
