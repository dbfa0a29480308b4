"""A fitted segmenter to one ONNX file that gives the same."""

from __future__ import annotations

import hashlib
import json
import logging
from importlib import import_module
from pathlib import Path

import numpy as np

from skymill.config import ModelConfig
from skymill.export.graph import to_bytes
from skymill.export.segmenter_parity import measure_segmenter_parity
from skymill.features.segmenting.contract import SegmenterCard
from skymill.features.segmenting.segmenter import Segmenter
from skymill.sessions.runtime import open_session
from skymill.store import short
from skymill.store.document import to_document
from skymill.store.durable import write_bytes
from skymill.survey.simulated.observe import PIXEL_ARCSEC
from skymill.training.segmenting import HELD_OUT_WINDOWS, SegmenterFit, load_segmenter_fit

FORMAT = 1
logger = logging.getLogger(__name__)


def segmenter_to_onnx(fit_manifest: str | Path, *, output: str | Path, model: ModelConfig) -> Path:
    """Export a segmenter, hold it against what was fitted, and write it.

    Parameters
    ----------
    fit_manifest : Path
        ``training/{model}/{fit12}/manifest.json``.
    output : Path
        Folder of everything the run writes.
    model : ModelConfig

    Returns
    -------
    Path
        ``models/{model}/manifest.json``, which names ``{onnx12}.onnx`` beside it; `parity.json` stands there too.

    Raises
    ------
    ParityError
        If the ONNX file is further from the fitted model than `model.parity` allows; nothing is then written.
    """
    folder = Path(output) / "models" / model.name
    fit = load_segmenter_fit(Path(fit_manifest).parent)
    card = card_of(fit)
    graph = import_module(f"skymill.export.{fit.manifest['kind']}").convert(fit.model, card)
    content = to_bytes(graph, card.model_dump(mode="json"))
    source = f"ONNX of model '{model.name}'"
    Segmenter(content, source=source)  # keeps the contract
    with np.load(fit.folder / HELD_OUT_WINDOWS) as held_out:
        windows = held_out["flux"], held_out["inverse_variance"]
    session = open_session(content, provider="cpu", source=source)
    parity = measure_segmenter_parity(fit.model, session, windows)
    parity.check(model.parity, model=model.name)
    logger.info("%s: parity on %d windows, %.2g", model.name, parity.windows, parity.max_probability_difference)
    sha256 = hashlib.sha256(content).hexdigest()
    told = {"limits": model.parity.model_dump(), **parity.as_dict()}
    beside = (json.dumps(told, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()
    files = {f"{short(sha256)}.onnx": content, "parity.json": beside}
    for name, each in files.items():
        write_bytes(folder / name, each)
    manifest = {
        "format": FORMAT,
        "onnx": short(sha256),
        "sha256": sha256,
        "n_bytes": len(content),
        "fit": fit.folder.name,
        "parity": parity.as_dict(),
        "card": card.model_dump(mode="json"),
        "files": {name: hashlib.sha256(each).hexdigest() for name, each in files.items()},
    }
    write_bytes(folder / "manifest.json", to_document(manifest))
    return folder / "manifest.json"


def card_of(fit: SegmenterFit) -> SegmenterCard:
    """Say of a fit what its file says of itself."""
    settings = fit.settings
    return SegmenterCard(
        format=1,
        task="segmentation",
        model=fit.manifest["name"],
        bands=settings.bands,
        pixel_scale_arcsec=PIXEL_ARCSEC,
        halo_px=settings.halo_px,
        window_px=settings.window_px,
        multiple_px=settings.multiple_px,
        min_centre=settings.min_centre,
        reach_px=settings.reach_px,
    )
