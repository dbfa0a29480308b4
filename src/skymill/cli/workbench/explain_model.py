"""`skymill explain-model`: what a network of stamps looks at, and what its vectors know besides the class."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from skymill.cli.console import Console
from skymill.cli.operating.commands import DEFAULT, ConfigFile
from skymill.cli.workbench.inputs import Inputs
from skymill.cli.workbench.train import ModelName
from skymill.config.model import StampSettings

if TYPE_CHECKING:
    from skymill.features.stamps import SourceImages
    from skymill.report.explaining.page import Stamps


def explain_model(
    model: ModelName,
    configfile: ConfigFile = DEFAULT,
    out: Annotated[Path | None, typer.Option(help="Folder of the page; default in the run's folder.")] = None,
    fit: Annotated[Path | None, typer.Option(help="Folder of a fit; default the run's own.")] = None,
) -> None:
    """Show what a network of stamps looks at: a page of its test stamps.

    Integrated gradients and occlusion of right and wrong answers of each class, maps of the first stage, nearest
    training stamps, and the vectors in a plane (UMAP with `skymill[explain]`, else principal components) by class,
    magnitude, seeing and tile. Then how well seeing, noise and tile can be read from the vectors, against chance.

    It reads the test split: look at it when the model is settled.
    """
    from skymill.report.explaining.page import PAGE, write_explanation
    from skymill.store.durable import write_bytes
    from skymill.training import load_fit
    from skymill.training.arrays import open_set
    from skymill.training.stamp_set import StampSet

    inputs = Inputs.find(configfile, model, {})
    if inputs.images is None:
        raise ValueError(f"model '{model}' takes features: its importance and attributions are in the report already")
    own = inputs.chain.fit_digest(model, inputs.training_set)
    found = load_fit(fit or Path(inputs.chain.output) / "training" / model / own)
    stamps = StampSettings(**found.manifest["stamps"])
    folder = out or inputs.folder("explain", found.folder.name)
    folder.mkdir(parents=True, exist_ok=True)
    seeing = _seeing(inputs.images, stamps)
    with TemporaryDirectory(dir=folder, prefix=".stamps-") as waiting:
        data = StampSet.of(open_set(inputs.path, inputs.model.features), inputs.images, stamps, Path(waiting))
        test, train = (_stamps(data, inputs.images, seeing, split) for split in ("test", "train"))
        tiles = [tile.files.name for _, tile in sorted(inputs.images.tiles.items())]
        numbers = write_explanation(found, test, train, folder, tiles=tiles, seed=inputs.chain.run.seed)
    write_bytes(folder / "explanation.json", (json.dumps(numbers, indent=1, sort_keys=True) + "\n").encode())
    console = Console()
    for one in numbers["nuisances"]:
        told = "[yellow]shows[/]" if one["shows"] else "no more than by chance"
        interval = f"{one['low']:.3f} to {one['high']:.3f}; by chance {one['chance']:.3f}"
        console.print(
            f"{one['name']}: {one['measure']} {one['value']:.3f} ({interval}): {told}", highlight=False, soft_wrap=True
        )
    console.print(str(folder / PAGE), highlight=False, soft_wrap=True)


def _seeing(images: SourceImages, stamps: StampSettings) -> dict[int, float]:
    """Give the mean width of the PSF of each tile, arcsec; NaN where none is known."""
    widths = {}
    for number, tile in images.tiles.items():
        known = [psf.fwhm_px for psf in tile.read(stamps).psf.values()]
        widths[number] = float(np.mean(known)) * stamps.pixel_scale_arcsec if known else np.nan
    return widths


def _stamps(data: Any, images: SourceImages, seeing: dict[int, float], split: str) -> Stamps:
    from skymill.report.explaining.page import Stamps

    rows, _ = data.rows(split)
    numbers = images.numbers(rows.object_id)
    order = np.array(sorted(images.tiles))
    widths = np.array([seeing[number] for number in order.tolist()])
    tile = np.searchsorted(order, numbers)
    return Stamps(rows.features, rows.labels, rows.magnitude, tile, widths[tile])
