"""A model: what it learns from, how it is fitted, calibrated and checked."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from skymill.config.base import FileSettings, Settings
from skymill.config.survey import Name

PSF_PX = 15
"""Side of the images of the PSFs that a model of `task: structure` takes beside stamps."""


class ParitySettings(Settings):
    """Limits of the export gate: ONNX against the model it was made from."""

    rows: int = Field(10_000, ge=10_000)
    """Rows compared, besides the hard ones (NaN, infinite, negative flux, extreme)."""
    max_probability_difference: float = Field(1e-4, gt=0)
    """Largest difference of any class probability of any row."""
    max_flip_rate: float = Field(1e-3, ge=0)
    """Share of rows whose class may differ."""
    max_fraction_difference: float = Field(1e-4, gt=0)
    """Of a model that tells votes: largest difference of any answer's fraction, or of its error, of any row."""
    max_ece_shift: float = Field(1e-3, ge=0)
    """Change of the expected calibration error on the rows with labels."""
    max_map_difference: float = Field(1e-2, gt=0)
    """Of a segmenter: largest difference of any pixel's offset (px) or log-odds, beyond 1 in parts of it."""
    max_distance_difference: float = Field(1e-3, gt=0)
    """Largest difference of any row's distance from the training rows, in parts of that distance or, below 1, of 1."""
    max_quantile_difference: float = Field(1e-2, gt=0)
    """For `task: structure`: largest difference of any quantile of any row, in units of half its 68 % interval."""


class ExportSettings(Settings):
    """In which precision a model of pixels is exported, and what it may cost against float32."""

    precision: Literal["auto", "fp32", "fp16", "int8"] = "auto"
    """`auto` takes the fastest for `inference.provider` that stays below the limits: int8 on a CPU, fp16 on a GPU, else
    fp32."""
    max_flip_rate: float = Field(5e-3, ge=0)
    """Share of the stamps whose class may differ, and whose `outside_training` may; more is too many where chance alone
    would hardly make it so."""
    max_ece_shift: float = Field(5e-3, ge=0)
    """Most that the expected calibration error may rise, on stamps of the test split."""
    min_cosine: float = Field(0.99, le=1)
    """Least mean cosine of the embeddings."""
    max_fraction_difference: float = Field(1e-2, gt=0)
    """Of a model that tells votes: largest mean difference of the fractions of answers."""


class TrainingDistanceSettings(Settings):
    """When a source counts as outside the range of the training rows."""

    quantile: float = Field(0.999, ge=0.5, lt=1)
    """Share of the validation rows that are inside; a lower one flags more sources, of both kinds."""


class StampSettings(Settings):
    """What a model of pixels looks at: a square of the image around each source."""

    size_px: int = Field(32, ge=8, le=512)
    """Side of the square."""
    pixel_scale_arcsec: float = Field(0.2, gt=0)
    """Of its pixels: images of other pixels are refused, since a model cannot know that things look larger there."""
    bands: list[str] = []
    """In their order; all of the survey's where none is named."""


class ModelConfig(FileSettings):
    """One model of the run."""

    name: Name
    """Of the model and of its catalogue."""
    kind: str
    """A model of the zoo (docs/models.md), or `onnx` for a file made elsewhere."""
    task: Literal["classification", "segmentation", "structure"] = "classification"
    """What is learnt: classes of sources; which pixels of an image belong to which source (kind `unet`); or sizes and
    shapes of galaxies (kind `structure`), from `labels.targets` of the run."""
    features: list[str] = Field(default=["photometric", "shape", "missing"], min_length=1)
    """Feature names, or groups of the feature registry (`photometric`, `shape`, `missing`)."""
    stamps: StampSettings | None = None
    """For kinds that look at pixels: the model takes stamps of the survey's images in place of `features`."""
    settings: dict[str, Any] = {}
    """Hyperparameters; each kind declares its own, see docs/models.md."""
    class_weight: Literal["balanced", "none"] = "none"
    """`balanced` weighs classes by inverse frequency while fitting; calibration undoes its effect on probabilities."""
    importance_weighting: bool = False
    """Weigh rows to learn from by how many sources like them the survey has. New sky then trains the model again."""
    importance_clip: float = Field(10.0, gt=1)
    """Largest such weight, before their mean is made 1: the lower, the less one rare row can decide."""
    calibration: Literal["auto", "temperature", "isotonic", "none"] = "auto"
    """`auto` takes the one with the lower cross-validated log-loss on the validation split."""
    conformal_coverage: float = Field(0.9, gt=0.5, lt=1)
    """Least share of the sources of each class whose conformal set holds it; a catalogue has such a set per source."""
    training_distance: TrainingDistanceSettings = TrainingDistanceSettings()
    parity: ParitySettings = ParitySettings()
    export: ExportSettings = ExportSettings()
    code: str | None = None
    """A Python file with the class of `kind`, for a kind of your own (`skymill new-model` writes one)."""
    path: str | None = None
    """For kind `onnx`: the file."""
    catalogue: bool = True
    """false: fitted, judged and compared in the report, but not run over the survey: a baseline, or only a member."""
    pin: str | None = Field(None, pattern="^[0-9a-f]{12}$")
    """Keep to this fit (a folder of `training/<model>/`), whatever becomes of labels, settings and code."""
    allow_features: list[str] = []
    """Features the leakage audit suspects and you vouch for."""

    @model_validator(mode="after")
    def _path_of_onnx(self) -> ModelConfig:
        if (self.kind == "onnx") != (self.path is not None):
            raise ValueError("`path` is needed for kind 'onnx' and for no other")
        return self

    @model_validator(mode="after")
    def _code_of_own_kind(self) -> ModelConfig:
        if self.kind == "onnx" and self.code is not None:
            raise ValueError("`code`: kind 'onnx' is a file made elsewhere, no code of yours; take one of the two out")
        return self

    @model_validator(mode="after")
    def _kind_of_task(self) -> ModelConfig:
        if (self.task == "structure") != (self.kind == "structure"):
            raise ValueError(f"`task: {self.task}` is nothing that kind '{self.kind}' learns; correct one of them")
        return self

    @model_validator(mode="after")
    def _some_use(self) -> ModelConfig:
        if self.kind == "onnx" and not self.catalogue:
            raise ValueError("`catalogue: false`: a model of kind 'onnx' is not fitted here, so nothing is left to do")
        return self

    @model_validator(mode="after")
    def _fit_to_keep(self) -> ModelConfig:
        if self.kind == "onnx" and self.pin is not None:
            raise ValueError("`pin`: a model of kind 'onnx' is not fitted here; its file is what `path` says")
        return self

    @model_validator(mode="after")
    def _rows_to_weigh(self) -> ModelConfig:
        if self.importance_weighting and self.kind in ("onnx", "ensemble"):
            raise ValueError(
                f"`importance_weighting`: kind '{self.kind}' learns from no rows of its own; "
                + ("weigh those of its members" if self.kind == "ensemble" else "take it out")
            )
        return self

    @model_validator(mode="after")
    def _precision_of_pixels(self) -> ModelConfig:
        if self.export.precision in ("fp16", "int8") and (self.stamps is None or self.kind == "onnx"):
            raise ValueError(
                f"`export.precision`: '{self.export.precision}' is for models of pixels that are fitted here; take "
                "'auto' or 'fp32'"
            )
        return self
