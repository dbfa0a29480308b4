"""Classification catalogues of drawn answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from skies import group_of_all

from skymill.release import Content
from skymill.sky import Tile, at_order, order29
from skymill.store import Accounting, Pool, TileEntry, Variable, digest, seal, write_tile

CLASSES = ("GALAXY", "QSO", "STAR")


@dataclass(frozen=True)
class Answers:
    """Sources in any order, with what a model says of them."""

    object_id: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    probabilities: np.ndarray
    scored: np.ndarray
    magnitude: np.ndarray

    @classmethod
    def draw(cls, n: int, seed: int, *, spread_deg: float = 3.0) -> Answers:
        """Draw sources around (0, 0), where RA wraps; a tenth of them not scored or without magnitude."""
        rng = np.random.default_rng(seed)
        ra, dec = rng.uniform(-spread_deg, spread_deg, n) % 360, rng.uniform(-spread_deg, spread_deg, n)
        magnitude = np.where(rng.random(n) < 0.1, np.nan, rng.uniform(9, 31, n)).astype(np.float32)
        p = rng.dirichlet([0.4] * 3, n).astype(np.float32)
        return cls(2**60 + rng.permutation(n), ra, dec, p, rng.random(n) > 0.1, magnitude)

    def __len__(self) -> int:
        return len(self.object_id)

    def __getitem__(self, rows: Any) -> Answers:
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @property
    def kind(self) -> np.ndarray:
        """Most probable class, -1 = not scored."""
        return np.where(self.scored, self.probabilities.argmax(axis=1), -1)

    @property
    def size(self) -> np.ndarray:
        """A number that goes with the answers; NaN = not told."""
        return np.where(self.scored, 1 + self.probabilities[:, 0], np.nan).astype(np.float32)

    @property
    def size_err(self) -> np.ndarray:
        """Its error."""
        return np.where(self.scored, 0.02 + 0.3 * self.probabilities[:, 1], np.nan).astype(np.float32)

    @property
    def healpix29(self) -> np.ndarray:
        return order29(self.ra, self.dec)


def write_answers(
    root: Path,
    answers: Answers,
    *,
    order_of: Callable[[int], int] = lambda _: 6,
    classes: tuple[str, ...] = CLASSES,
    sizes: bool = False,
) -> str:
    """Write and seal a catalogue of answers, and beside it one of features; give the version of the first.

    `order_of` gives the order of the tiles below each pixel of order 4. A tile of the same content has the same key.
    With `sizes` there is a number with its error too; without `classes` nothing else.
    """
    entries, features = [], []
    for tile, rows in _tiles(answers.healpix29, order_of):
        part = answers[rows]
        part = part[np.lexsort([part.object_id, part.healpix29])]
        entries.append(_write(root, tile, _identity(part) | _answers(part, classes, sizes)))
        features.append(_write(root.parent / "features", tile, _identity(part) | _features(part)))
    seal(root.parent / "features", [group_of_all(root.parent / "features", features)])
    return seal(root, [group_of_all(root, entries)])


def write_motions(root: Path, answers: Answers, motions: np.ndarray, *, unit: str) -> None:
    """Write and seal a catalogue of sources with proper motions, (n, 2), among their values."""
    entries = []
    for tile, rows in _tiles(answers.healpix29, lambda _: 5):
        rows = rows[np.lexsort([answers.object_id[rows], answers.healpix29[rows]])]
        values = np.column_stack([np.zeros(len(rows)), motions[rows]]).astype(np.float32)
        about = {"column_units": ["mag", unit, unit]}
        columns = {"values": Variable(values, ("source", "value"), about, ("ebv", "pmRA", "pmDec"))}
        entries.append(_write(root, tile, _identity(answers[rows]) | columns))
    seal(root, [group_of_all(root, entries)])


def _tiles(healpix29: np.ndarray, order_of: Callable[[int], int]) -> Iterable[tuple[Tile, np.ndarray]]:
    coarse = at_order(healpix29, 4)
    for pixel in np.unique(coarse).tolist():
        order = order_of(pixel)
        below = np.where(coarse == pixel, at_order(healpix29, order), -1)
        for number in np.unique(below[below >= 0]).tolist():
            yield Tile(order, number), np.flatnonzero(below == number)


def _identity(part: Answers) -> dict[str, Variable]:
    return {
        "objectId": Variable(part.object_id),
        "_healpix_29": Variable(part.healpix29),
        "coord_ra": Variable(part.ra, attrs={"units": "deg"}),
        "coord_dec": Variable(part.dec, attrs={"units": "deg"}),
        "flags": Variable(np.zeros(len(part), np.int32)),
    }


def _answers(part: Answers, classes: tuple[str, ...], sizes: bool) -> dict[str, Variable]:
    p = np.where(part.scored[:, None], part.probabilities, np.nan).astype(np.float32)
    numbers = {"size": Variable(part.size), "size_err": Variable(part.size_err)} if sizes else {}
    if not classes:
        return numbers
    return numbers | {
        "probabilities": Variable(p, ("source", "class_name"), {"units": "1"}, classes),
        "class": Variable(part.kind.astype(np.int8)),
    }


def _features(part: Answers) -> dict[str, Variable]:
    columns = ("g_asinh_mag", "i_asinh_mag")
    values = np.column_stack([np.zeros(len(part), np.float32), part.magnitude])
    return {"features": Variable(values, ("source", "feature"), {}, columns)}


def _write(root: Path, tile: Tile, variables: dict[str, Variable]) -> TileEntry:
    content = {
        name: [hashlib.sha256(variable.data.tobytes()).hexdigest(), *variable.columns]
        for name, variable in variables.items()
    }
    ingredients = {"tile": str(tile), "content": content}
    n = len(variables["objectId"].data)
    key, accounting, pool = digest(ingredients), Accounting(n_in=n, n_ok=n), Pool(root)
    receipt = {"key": key, "ingredients": ingredients, "accounting": accounting.as_dict()}
    file = write_tile(pool.path(tile, key), variables, receipt=receipt, chunk_rows=64, staging=pool.staging)
    return TileEntry(*tile, key, file.sha256, file.n_bytes, n, accounting)


def make_run(folder: Path, answers: Answers) -> Content:
    """Seal catalogues of answers and of features, as a run whose model came from elsewhere does."""
    write_answers(folder / "catalogues" / "mlp", answers)
    model = folder / "models" / "mlp"
    model.mkdir(parents=True, exist_ok=True)
    (model / "manifest.json").write_text(json.dumps({"fit": None}))
    (model / "model.onnx").write_bytes(answers.probabilities.tobytes())
    return Content(folder, ["features", "mlp"], ["mlp"], {"name": "test"}, "i_asinh_mag")


def other_answers(answers: Answers, share: float) -> Answers:
    """Answers of a model that turns some of the sources round."""
    turned = np.random.default_rng(8).random(len(answers)) < share
    return replace(
        answers, probabilities=np.where(turned[:, None], answers.probabilities[:, ::-1], answers.probabilities)
    )
