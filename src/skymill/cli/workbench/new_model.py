"""`skymill new-model`: a working model of one's own to begin with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from skymill.cli.console import say
from skymill.models import KINDS

YAML = """name: {name}
kind: {name}
code: {code}
features: [photometric, shape, missing]
settings:
  width: 32
"""
STAMP_YAML = """name: {name}
kind: {name}
code: {code}
stamps:
  size_px: 32              # side of the square around each source
  pixel_scale_arcsec: 0.2
settings:
  epochs: 20
"""


def new_model(
    name: Annotated[str, typer.Argument(help="Of the kind and of the model: small letters, digits, underscores.")],
    folder: Annotated[Path, typer.Option(help="Where the files go.")] = Path("models"),
    stamps: Annotated[bool, typer.Option(help="It looks at stamps of the survey's images.")] = False,
) -> None:
    """Write a model of your own: NAME.py with its class, NAME.yaml, and test_NAME.py, which passes as it is.

    The class is a small network on features, with --stamps one on pixels; change it as you like. Name NAME.yaml among
    the `models` of a run, and the whole chain takes it: fit, calibration, metrics, ONNX, the parity gate and its
    catalogue.
    """
    for path in write_model(name, folder, stamps=stamps):
        say(path)
    typer.echo()
    say(f"Try it     pytest {folder / f'test_{name}.py'}")
    say(f"Train it   skymill train {name}, once {folder / f'{name}.yaml'} is among the models of your run")


def write_model(name: str, folder: Path, *, stamps: bool = False) -> list[Path]:
    """Write the three files of a kind on features, or on stamps, and name them.

    Raises
    ------
    ValueError
        If the name cannot be a kind's, or the zoo has it.
    FileExistsError
        If a file is there already.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ValueError(f"'{name}': expected small letters, digits and underscores, beginning with a letter")
    if name in (*KINDS, "onnx"):
        raise ValueError(f"'{name}' is a kind of the zoo already; choose another name")
    here, called = Path(__file__).parent, "".join(part.capitalize() for part in name.split("_"))
    which = "stamp_skeleton" if stamps else "skeleton"
    contents = {
        folder / target: (here / source).read_text().replace("skeleton", name).replace("Skeleton", called)
        for target, source in ((f"{name}.py", f"{which}.py"), (f"test_{name}.py", f"{which}_test.py"))
    }
    contents[folder / f"{name}.yaml"] = (STAMP_YAML if stamps else YAML).format(name=name, code=folder / f"{name}.py")
    for path in contents:
        if path.exists():
            raise FileExistsError(f"{path}: there already; choose another name, or move it away")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        path.write_text(content)
    return list(contents)
