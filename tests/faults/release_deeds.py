"""What is done to the releases of a small run, to be disturbed: publish, go back, collect garbage, copy.

The run has two versions of a model's catalogue, `SAID`, which alternate, so that each publication compares two.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from answers import Answers, make_run, other_answers
from fault_sizes import LONG

from skymill.config import ComputeSettings
from skymill.config.run import GateSettings
from skymill.release import Asked, Content, collect_garbage, copy_release, publish, rollback
from skymill.store import file_sha256, short
from skymill.store.document import to_document
from skymill.store.durable import write_bytes

FIRST = Answers.draw(60, seed=5, spread_deg=0.6)
SAID = (FIRST, other_answers(FIRST, 0.1))


def page(told: Mapping[str, Any], folder: Path) -> Path:
    """Write the page of a comparison; its plots, which take most of a publication's time, in long tests only."""
    if LONG:
        from skymill.report.diffing import diff_page

        return diff_page(told, folder)
    write_bytes(folder / "index.html", json.dumps(told["rows"]).encode())
    return folder / "index.html"


def seal(run: Path, answers: Answers) -> Content:
    """Seal what a model says, and make its file anew."""
    shutil.rmtree(run / "models", ignore_errors=True)
    content = make_run(run, answers)
    model = run / "models" / "mlp"
    sha256 = file_sha256(model / "model.onnx")
    named = (model / "model.onnx").rename(model / f"{short(sha256)}.onnx")
    told = {"fit": None, "onnx": named.stem, "files": {named.name: sha256}}
    write_bytes(model / "manifest.json", to_document(told))
    return content


def prepare(run: Path) -> None:
    """A run, published as DR1."""
    publish(seal(run, SAID[0]), "DR1", gate=GateSettings(), page=page)


def rehearse() -> None:
    """Do what can be done without a cluster once, for what is imported and looked up then."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder, "results"))
        copying(Path(folder), "DR1", "copy")
        collecting(Path(folder))
        rolling_back(Path(folder), "DR1")


def publishing(lab: Path, name: str, scheduler: str) -> None:
    """Publish what is sealed."""
    publish(
        Content(lab / "results", ["features", "mlp"], ["mlp"], {"name": "lab"}, "i_asinh_mag"),
        name,
        gate=GateSettings(flip_rate=None),
        page=page,
        compute=ComputeSettings(scheduler=scheduler),
    )


def first_publishing(lab: Path) -> None:
    """Publish what is sealed, where there is nothing to compare it with."""
    publishing(lab, "DR1", "")


def second_publishing(lab: Path) -> None:
    """Publish the same catalogues, but no model, so that there is nothing to compare."""
    publish(Content(lab / "results", ["features", "mlp"], []), "DR2", gate=GateSettings(), page=page)


def rolling_back(lab: Path, name: str) -> None:
    """Make a release the current one."""
    rollback(lab / "results", name)


def collecting(lab: Path) -> None:
    """Delete all that nothing names."""
    collect_garbage(lab / "results", Asked({}, ()), older_than_days=0)


def copying(lab: Path, name: str, target: str) -> None:
    """Copy a release."""
    copy_release(lab / "results", name, lab / target)
