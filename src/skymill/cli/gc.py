"""`skymill gc`: delete what no release, no current version and no present setting of a run needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from skymill.cli.chain import Chain
from skymill.cli.console import Console
from skymill.cli.operating.commands import DEFAULT, AsJson, ConfigFile
from skymill.cli.operating.jobs import Workflow
from skymill.config import read_yaml

if TYPE_CHECKING:
    from skymill.release import Asked, Garbage
    from skymill.store.pruning import Share


def gc(
    configfile: ConfigFile = DEFAULT,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be deleted.")] = False,
    older_than: Annotated[float, typer.Option(help="Days; what was written to since stays.", min=0)] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Delete what nothing needs any more: versions, group manifests, tiles, fits, training sets, ONNX files, leftovers.

    Kept are all that a release, a catalogue's current version or the present configuration names, and what these name
    in turn. A catalogue in which that cannot be read is left as it is, and the file is named. No job may be at work
    meanwhile; one that starts waits. May be killed at any moment and called again.

    Exit status 0, or 1 where something could not be read.
    """
    from skymill import release

    chain = Chain.from_config(read_yaml(configfile), [configfile])
    act = release.collect_garbage if yes else release.find_garbage
    found = act(chain.output, asked_for(chain), older_than_days=older_than)
    if as_json:
        typer.echo(json.dumps({"done": yes, **found.as_dict()}, indent=1))
    else:
        _show(found, yes)
    raise typer.Exit(1 if found.refused else 0)


def asked_for(chain: Chain) -> Asked:
    """Give what the present configuration asks for, as far as finished checkpoints tell it."""
    from skymill.release import Asked

    workflow = Workflow(chain)
    groups = {}
    for name in chain.catalogues:
        root = workflow.results / "catalogues" / name
        known = workflow.settings(name) and _is_told(name, workflow)
        groups[name] = {str(Path(path).relative_to(root)) for path in workflow.manifests(name)} if known else None
    return Asked(groups, kept_fits(chain))


def _is_told(catalogue: str, workflow: Workflow) -> bool:
    """Whether plan and exported model are those that the configuration asks for, and so tell which groups it has."""
    chain, training_set = workflow.chain, workflow.training_set
    if chain.is_of_images(catalogue):
        planned = (workflow.results / "tiling" / f"images-{chain.images_name}.json").is_file()
        return planned and (catalogue not in chain.segmenters or _is_exported(catalogue, workflow))
    if not (workflow.results / "tiling" / f"plan-{chain.plan_name}.json").is_file():
        return False
    if catalogue not in chain.trained_models:
        return True
    manifest = json.loads((workflow.results / "models" / catalogue / "manifest.json").read_bytes())
    return training_set is not None and bool(manifest["fit"] == chain.fit_digest(catalogue, training_set))


def _is_exported(segmenter: str, workflow: Workflow) -> bool:
    """Whether the exported segmenter is that of the fit that the configuration asks for."""
    manifest = json.loads((workflow.results / "models" / segmenter / "manifest.json").read_bytes())
    return bool(manifest["fit"] == workflow.chain.segmenter_fit(segmenter))


def kept_fits(chain: Chain) -> set[tuple[str, str]] | None:
    """Give the models and fits that the present configuration asks for; None while there is no training set."""
    training_set = Workflow(chain).training_set
    if training_set is None:
        return None
    segmenters = {(name, chain.segmenter_fit(name)) for name in chain.segmenters}
    return segmenters | {(model, chain.fit_digest(model, training_set)) for model in chain.trained_models}


def _show(found: Garbage, deleted: bool) -> None:
    """Print what stays and why, and what goes."""
    console, learned = Console(soft_wrap=True), found.learned
    table = Table("", "", "kept", "deleted" if deleted else "to delete", "MB")
    for name, of in found.catalogues.items():
        _add(table, name, {"versions": of.versions, "files of groups": of.groups, "tiles": of.tiles})
    _add(
        table,
        "training",
        {"fits": learned.fits, "training sets": learned.training_sets, "ONNX files": learned.onnx_files},
    )
    _add(table, "", {"leftovers of killed writers": found.leftovers})
    console.print(table)
    kept = {f"{name} {version}": why for name, of in found.catalogues.items() for version, why in of.why.items()}
    for what, why in {**kept, **learned.why}.items():
        console.print(f"{what} stays: {', '.join(why)}", markup=False, highlight=False)
    for refused in found.refused:
        console.print(f"left as it is: {refused}", style="bold red", markup=False, highlight=False)
    size = f"{found.n_bytes / 1e6:,.1f} MB"
    console.print(f"{size} freed" if deleted else f"Would free {size}; say --yes to do it", highlight=False)


def _add(table: Table, name: str, shares: dict[str, Share]) -> None:
    """Add the rows of a catalogue, or of what is beside the catalogues."""
    for number, (kind, share) in enumerate(shares.items()):
        counts = f"{share.kept:,}", f"{len(share.deleted):,}", f"{share.n_bytes / 1e6:,.1f}"
        table.add_row("" if number else name, kind, *counts)
    table.add_section()
