"""Fitted models to ONNX, with parity gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from skymill.config import ModelConfig
from skymill.export.settings import settings_digest

if TYPE_CHECKING:
    from skymill.features.recipe import Recipe

__all__ = ["segmenter_to_onnx", "settings_digest", "to_onnx"]


def to_onnx(
    fit_manifest: str | Path | None,
    *,
    output: str | Path,
    model: ModelConfig,
    recipe: Recipe | None = None,
    provider: str = "cpu",
) -> Path:
    """Export a model; see `skymill.export.stage.to_onnx`, which is imported late since it needs onnx and pyarrow."""
    from skymill.export import stage

    return stage.to_onnx(fit_manifest, output=output, model=model, recipe=recipe, provider=provider)


def segmenter_to_onnx(fit_manifest: str | Path, *, output: str | Path, model: ModelConfig) -> Path:
    """Export a segmenter; see `skymill.export.segmenting.segmenter_to_onnx`, which is imported late as well."""
    from skymill.export import segmenting

    return segmenting.segmenter_to_onnx(fit_manifest, output=output, model=model)
