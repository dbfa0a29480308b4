"""Fit, calibrate and judge one model of structure on one training set."""

from __future__ import annotations

import io
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.config import ModelConfig
from skymill.features.pixels import pixels_digest
from skymill.models import Place, Watch, read_settings
from skymill.models.distance import TrainingDistance
from skymill.models.mixture import LEVELS, Mixture, Widths
from skymill.models.structure import Structure, StructureSettings
from skymill.store.keys import digest, file_sha256, short
from skymill.training.arrays import open_set
from skymill.training.distance import fit_distance
from skymill.training.fit_files import FORMAT, RESUME, as_csv, as_json, read_manifest, versions, write_fit
from skymill.training.identity import identity
from skymill.training.stamp_set import describe_vector
from skymill.training.structure_card import structure_card, structure_card_markdown
from skymill.training.structure_metrics import Judged, evaluate, judged
from skymill.training.structure_set import GalaxyRows, StructureSet

if TYPE_CHECKING:
    from skymill.features.stamps import SourceImages

LEAST_LEVEL = 1e-3
"""Of a quantile that stands for another: few rows say what lies beyond."""
WIDEST, STEEPEST = 4.0, 1.0
"""By so much the calibration may widen a posterior of the usual width, or narrow it, and with so high a power of the
width."""
SETTLED = ("factors", "powers", "levels")
"""What `calibration.json` has of each quantity."""
Array = NDArray[np.float64]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StructureFit:
    """A finished fit, read from its folder."""

    folder: Path
    model: Structure
    widths: Widths
    """What the calibration makes of the widths of the posteriors along each quantity."""
    levels: Array
    """(q, 5), the levels of the marginals whose quantiles are told in place of `LEVELS`."""
    distance: TrainingDistance
    manifest: dict[str, Any]

    @property
    def quantities(self) -> list[str]:
        """Names of what it tells, in order."""
        return list(self.manifest["quantities"])

    def posteriors(self, vectors: NDArray[np.float32]) -> Mixture:
        """Give calibrated posteriors of vectors (n, vector): what an exported file must equal."""
        return _posteriors(self.model, vectors, self.widths)


def fit_structure(
    set_path: str | Path,
    model: ModelConfig,
    *,
    seed: int,
    output_folder: str | Path,
    images: SourceImages,
    device: str = "auto",
    threads: int = 1,
    watch: Watch | None = None,
) -> None:
    """Fit a model of `task: structure` and write everything about it.

    The test split is read once, after the model and its calibration are settled.

    Parameters
    ----------
    set_path : path
        A training set (Parquet) with targets.
    model : ModelConfig
    seed : int
        With the same seed, the same machine gives the same bytes.
    output_folder : path
        Gets the model's files, `calibration.json`, `distance.json`, `metrics.json`, `predictions.parquet`,
        `history.csv`, `held_out_stamps.npz`, `card.json`, `card.md` and, last, `manifest.json`. A killed fit goes on
        from its `.resume`.
    images : SourceImages
        That the stamps and PSFs are taken of.
    device : {'auto', 'cpu', 'cuda'}
    threads : int
        CPU threads; no result depends on them.
    watch : Watch, optional
        Where the training logs, and who is told of its epochs.

    Raises
    ------
    TrainingSetError
        If the set cannot teach the model: no targets, no such class, or too few galaxies of known structure.
    ConfigError
        If the model's settings are wrong.
    ImageError
        If images cannot be read, or have pixels of another size than the model takes.
    """
    assert model.stamps is not None  # the configuration demands it of the kind
    folder, table = Path(output_folder), open_set(set_path, model.features)
    pixels = pixels_digest(images.survey, images.digest(images.numbers(table.object_ids()).tolist()))
    known = identity(model, set_sha256=file_sha256(table.path), seed=seed, images=pixels)
    settings = read_settings(model.kind, model.settings, source=model.where)
    assert isinstance(settings, StructureSettings)
    place = Place(folder / RESUME / short(digest(known)), device, threads, watch=watch or Watch())
    place.workdir.mkdir(parents=True, exist_ok=True)
    whole = StructureSet.of(table, images, model.stamps, place.workdir / "stamps").named(settings.galaxies)

    (train, train_left_out), (validation, validation_left_out) = (whole.of_split(s) for s in ("train", "validation"))
    fitted = Structure.fit(train.galaxies, validation.galaxies, settings, seed=seed, place=place)
    vectors = [fitted.encode(rows.galaxies.stamps, rows.galaxies.psf) for rows in (train, validation)]
    calibration = _calibrate(fitted, vectors[1], validation, whole.quantities, how=model.calibration)
    length = vectors[0].shape[1]
    distance, told = fit_distance(*vectors, indicator=np.zeros(length, bool), quantile=model.training_distance.quantile)

    test, test_left_out = whole.of_split("test")
    seen = fitted.encode(test.galaxies.stamps, test.galaxies.psf)
    factors, powers, levels = (np.array(list(calibration[name].values())) for name in SETTLED)
    rows = judged(_posteriors(fitted, seen, Widths(factors, powers)), test.galaxies.targets, whole.quantities, levels)
    metrics = evaluate(rows, test.magnitude, test.block, quantities=whole.quantities, seed=seed)
    logger.info("%s: log score %.3f", model.name, metrics["overall"]["log_score"]["value"])
    manifest = {
        "format": FORMAT,
        "name": model.name,
        "kind": model.kind,
        "task": model.task,
        "classes": [],
        "quantities": whole.quantities,
        "features": describe_vector(length),
        **whole.described(),
        **known,
        "rows": {"train": len(train), "validation": len(validation), "test": len(test)},
        "unscorable": {"train": train_left_out, "validation": validation_left_out, "test": test_left_out},
        "calibration": calibration["method"],
        "training_distance": {**told, "test_outside": int((distance(seen) > 1).sum())},
        "versions": versions(),
    }
    card = structure_card(manifest, metrics, calibration, table.metadata)
    files = {
        "calibration.json": as_json(calibration),
        "distance.json": as_json(distance.as_dict()),
        "metrics.json": as_json(metrics),
        "predictions.parquet": _predictions(test, rows, whole.quantities),
        "history.csv": as_csv(fitted.history()),
        "card.json": as_json(card),
        "card.md": structure_card_markdown(card).encode(),
        **whole.held_out(),
    }
    write_fit(folder, fitted, files, manifest)
    shutil.rmtree(folder / RESUME)


def load_structure(folder: str | Path) -> StructureFit:
    """Read a finished fit.

    Raises
    ------
    FileNotFoundError
        If the folder holds no manifest.
    TrainingSetError
        If a file is missing or its digest is not the manifest's.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    settled = json.loads((folder / "calibration.json").read_text())
    distance = TrainingDistance.from_dict(json.loads((folder / "distance.json").read_text()))
    factors, powers, levels = (np.array([settled[name][q] for q in manifest["quantities"]]) for name in SETTLED)
    return StructureFit(folder, Structure.load(folder), Widths(factors, powers), levels, distance, manifest)


def fit_widths(mixture: Mixture, targets: NDArray[np.floating]) -> Widths:
    """Give the change of the posteriors' widths under which true values (n, q) have the highest log-density.

    A temperature (Guo et al. 2017, arXiv:1706.04599) for each quantity that goes by a power of the width itself: a
    network is too sure of some sources and not sure enough of others.
    """
    from scipy.optimize import minimize

    true = np.asarray(targets, dtype=np.float64)
    limit, n = np.log(WIDEST), true.shape[1]
    usual = np.log(np.median(mixture.sigma, axis=(0, 1)))  # about which factors and powers are told apart

    def widths(place: Array) -> Widths:
        logs, powers = np.split(place, 2)
        return Widths(np.exp(logs - powers * usual), powers)

    found = minimize(
        lambda place: -mixture.widened(widths(place)).log_density(true).mean(),
        np.zeros(2 * n),
        method="L-BFGS-B",
        bounds=[(-limit, limit)] * n + [(-STEEPEST, STEEPEST)] * n,
    )
    return widths(found.x)


def fit_levels(mixture: Mixture, targets: NDArray[np.floating]) -> Array:
    """Give the levels of the marginals below whose quantiles the shares `LEVELS` of true values (n, q) lie, (q, 5).

    The recalibration of Kuleshov, Fenner & Ermon (2018, arXiv:1807.00263), at five levels.
    """
    pit = mixture.cumulative(np.asarray(targets, dtype=np.float64))
    return np.asarray(np.clip(np.quantile(pit, LEVELS, axis=0).T, LEAST_LEVEL, 1 - LEAST_LEVEL))


def _calibrate(
    model: Structure, vectors: NDArray[np.float32], rows: GalaxyRows, quantities: list[str], *, how: str
) -> dict[str, Any]:
    """Settle widths and then levels on the validation split; `calibration: none` leaves both."""
    n, targets = len(quantities), rows.galaxies.targets
    plain = _posteriors(model, vectors, Widths.unchanged(n))
    widths = Widths.unchanged(n) if how == "none" else fit_widths(plain, targets)
    true, settled = targets.astype(np.float64), plain.widened(widths)
    levels = np.tile(LEVELS, (n, 1)) if how == "none" else fit_levels(settled, targets)
    return {
        "method": "none" if how == "none" else "widths and levels",
        "levels": dict(zip(quantities, levels.tolist(), strict=True)),
        **{name: dict(zip(quantities, own.tolist(), strict=True)) for name, own in widths._asdict().items()},
        "validation_log_score": {
            "before": float(-plain.log_density(true).mean()),
            "after": float(-settled.log_density(true).mean()),
        },
    }


def _posteriors(model: Structure, vectors: NDArray[np.float32], widths: Widths) -> Mixture:
    return Mixture.unpacked(model.posteriors(vectors), len(widths.factors)).widened(widths)


def _predictions(test: GalaxyRows, rows: Judged, quantities: list[str]) -> bytes:
    """Give truth, quantiles and PIT of each test galaxy, on the scales of the quantities."""
    columns: dict[str, Any] = {"objectId": test.object_id, "magnitude": test.magnitude}
    for number, name in enumerate(quantities):
        columns[f"{name}_true"] = test.galaxies.targets[:, number]
        columns |= {
            f"{name}_q{level:g}": rows.quantiles[:, number, place].astype(np.float32)
            for place, level in enumerate(LEVELS)
        }
        columns[f"{name}_pit"] = rows.pit[:, number].astype(np.float32)
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()
