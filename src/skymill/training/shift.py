"""The entry of rule `training_shift`: how the survey differs from the rows that a model learned from.

It reads what training and inference have made and nothing in their path reads it: new sky never makes a model retrain.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.config import RunConfig
from skymill.features import magnitude_feature
from skymill.sky import at_order
from skymill.store import Accounting, Catalogue, open_catalogue
from skymill.store.document import to_document
from skymill.store.durable import write_bytes
from skymill.store.keys import file_sha256
from skymill.training.arrays import Rows, open_set
from skymill.training.card import card_markdown
from skymill.training.metrics import CONFIDENCE, magnitude_bins, share_with_interval
from skymill.training.survey_sample import SurveySample, draw_survey
from skymill.training.two_sample import tell_apart

FORMAT = 1
FLAG = "outside_training"
TEST_ROWS = 20_000
"""Of both samples together, for the classifier two-sample test."""
NORMAL_QUARTILES = 1.349
"""Between the quartiles of a normal distribution, in standard deviations."""
Floats = NDArray[np.float32]
logger = logging.getLogger(__name__)


def measure_shift(
    fit_manifest: str | Path, set_path: str | Path, *, run: RunConfig, bands: Sequence[str], output_folder: str | Path
) -> None:
    """Compare the survey with the train split of one model, and write its card with what was found.

    Parameters
    ----------
    fit_manifest : path
        Of the model's fit; its `card.json` stands beside it.
    set_path : path
        The training set that it was fitted on.
    run : RunConfig
        Its `output` holds the sealed catalogues of the features and of the model.
    bands : sequence of str
        The survey's; the reference band's magnitude bins the results.
    output_folder : path
        Gets `shift.json` and `card.md`.

    Raises
    ------
    TrainingSetError
        If no source of the survey can be scored.
    StoreError
        If the catalogues do not belong together.
    """
    fit_manifest, folder = Path(fit_manifest), Path(output_folder)
    manifest = json.loads(fit_manifest.read_text())
    looks = "stamps" in manifest  # its vectors stand in no catalogue, so sky and rows are compared by what is measured
    taken = [feature["name"] for feature in manifest["features"]]
    data = open_set(set_path, manifest["model"]["features"] if looks else taken)
    catalogues = Path(run.output) / "catalogues"
    scored = open_catalogue(catalogues / manifest["name"])
    survey = draw_survey(
        open_catalogue(catalogues / "features"),
        data.features,
        magnitude=magnitude_feature(bands),
        scored=scored,
        flag=FLAG,
    )
    train, _ = data.rows("train")
    found = compare(train, survey, data.features, order=data.metadata["split"]["order"], seed=run.seed)
    content = {"format": FORMAT, "model": manifest["name"], "fit": file_sha256(fit_manifest), **found}
    content |= {"catalogue": scored.version, "survey": _counts(scored)}
    logger.info("%s: %s", manifest["name"], _told(content))
    card = json.loads((fit_manifest.parent / "card.json").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / "card.md", card_markdown(card, shift=content).encode())
    write_bytes(folder / "shift.json", to_document(content))


def compare(
    train: Rows, survey: SurveySample, features: Sequence[Mapping[str, Any]], *, order: int, seed: int
) -> dict[str, Any]:
    """Say how a sample of the survey differs from the rows that a model learned from.

    Parameters
    ----------
    train : Rows
    survey : SurveySample
    features : sequence of mappings, (f,)
        `name` of the columns.
    order : int
        Of the blocks of sky.
    seed : int

    Returns
    -------
    dict
        What `shift.json` holds: `two_sample`, `features` with the worst first, `outside`.
    """
    block = at_order(survey.healpix29, order)
    names = [feature["name"] for feature in features]
    return {
        "rows": {"train": len(train.labels), "survey": len(survey), "drawn": survey.n_drawn},
        "blocks": {"order": order, "train": len(np.unique(train.block)), "survey": len(np.unique(block))},
        "two_sample": _two_sample(train.features, train.block, survey.features, block, seed=seed),
        "features": feature_shifts(train.features, survey.features, names),
        "outside": _outside(survey, block, seed=seed),
    }


def feature_shifts(train: Floats, survey: Floats, names: Sequence[str]) -> list[dict[str, Any]]:
    """Say of each feature how its distribution differs, the worst first.

    Parameters
    ----------
    train, survey : ndarray of float32, (n, f) and (m, f)
        NaN and infinite: not measured.
    names : sequence of str, (f,)

    Returns
    -------
    list of dict
        `ks`, the largest difference of the two cumulative distributions of what is measured (Smirnov 1948); `distance`,
        the mean way from one distribution to the other (Wasserstein-1) in units of `spread`, the distance of the train
        split's quartiles over 1.349, or where these are equal its standard deviation; `measured`, the share that is
        measured, of both. None where nothing is measured or nothing varies. Worst is what has the largest of `ks` and
        the difference of the measured shares.
    """
    found = [_feature_shift(name, train[:, column], survey[:, column]) for column, name in enumerate(names)]
    return sorted(found, key=lambda one: (-_worst(one), one["name"]))


def _worst(one: Mapping[str, Any]) -> float:
    return max(one["ks"] or 0.0, abs(one["measured"]["survey"] - one["measured"]["train"]))


def _feature_shift(name: str, train: Floats, survey: Floats) -> dict[str, Any]:
    from scipy.stats import ks_2samp, wasserstein_distance

    here, there = (values[np.isfinite(values)].astype(np.float64) for values in (train, survey))
    measured = {"train": float(np.isfinite(train).mean()), "survey": float(np.isfinite(survey).mean())}
    nothing = {"name": name, "ks": None, "distance": None, "spread": None, "measured": measured}
    if not len(here) or not len(there):
        return nothing
    spread = _spread(here)
    ks = float(ks_2samp(here, there, method="asymp").statistic)
    distance = float(wasserstein_distance(here, there)) / spread if spread else None
    return {**nothing, "ks": ks, "distance": distance, "spread": spread or None}


def _spread(values: NDArray[np.float64]) -> float:
    low, high = np.quantile(values, [0.25, 0.75])
    return float((high - low) / NORMAL_QUARTILES) or float(values.std())


def _two_sample(
    train: Floats, train_block: NDArray[np.int64], survey: Floats, survey_block: NDArray[np.int64], *, seed: int
) -> dict[str, Any] | None:
    """As many rows of both, evenly over the sky, against each other."""
    size = min(len(train), len(survey), TEST_ROWS // 2)
    here, there = (np.linspace(0, len(rows) - 1, size).astype(int) for rows in (train, survey))
    found = tell_apart(
        np.concatenate([train[here], survey[there]]),
        np.repeat([False, True], size),
        np.concatenate([train_block[here], survey_block[there]]),
        seed=seed,
        most_rows=TEST_ROWS,
    )
    if found is None:
        logger.warning("too few blocks of sky to tell whether training set and survey are alike; a higher split.order")
        return None
    low, high = found.band
    return {**asdict(found), "low": low, "high": high, "near_chance": found.near_chance, "rows": size}


def _outside(survey: SurveySample, block: NDArray[np.int64], *, seed: int) -> dict[str, Any]:
    """The share of the sources with the flag, in all and by magnitude, with intervals over blocks of sky."""
    bins = []
    for low, high in magnitude_bins(survey.magnitude):
        rows = (survey.magnitude >= low) & (survey.magnitude < high)
        share = share_with_interval(survey.outside[rows], block[rows], seed=seed)
        bins.append({"low": low, "high": high, "n": int(rows.sum()), "share": share})
    overall = share_with_interval(survey.outside, block, seed=seed)
    return {"confidence": CONFIDENCE, "overall": overall, "by_magnitude": bins}


def _counts(scored: Catalogue) -> dict[str, int]:
    """What the whole catalogue says: sources, and those with the flag."""
    account = Accounting.from_dict(scored.manifest["accounting"])
    return {"n_rows": account.n_rows, "outside": account.flagged.get(FLAG, 0)}


def _told(content: Mapping[str, Any]) -> str:
    test, worst = content["two_sample"], content["features"][0]
    auc = f"AUC {test['auc']:.3f} (chance {test['low']:.3f} to {test['high']:.3f})" if test else "AUC not measured"
    share = 100 * content["outside"]["overall"]["value"]
    return f"survey against training rows: {auc}; {share:.2f} % outside; most shifted: {worst['name']}"
