"""A run: which survey, which labels, which models, and the settings of each stage."""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal

from pydantic import ByteSize, Field, TypeAdapter, field_validator, model_validator

from skymill.config.base import FileSettings, Settings
from skymill.config.citation import CitationSettings
from skymill.config.images import MeasureSettings
from skymill.config.survey import AngleColumn, IdColumn, Name, TableFormat
from skymill.config.votes import answer_names

MEMORY = TypeAdapter(ByteSize)
RELEASE_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
NO_RELEASE = ("current", "history.jsonl", "summary")
"""Names of other things beside releases and beside what is said of them."""


class TilingSettings(Settings):
    """Bounds of a HEALPix tile and of a group of tiles."""

    max_rows: int = Field(1_000_000, ge=100)
    """A tile with more rows is split into its four children."""
    max_bytes: int = Field(512_000_000, ge=100_000)
    """The same bound in bytes of the source columns held in memory."""
    lowest_order: int = Field(0, ge=0, le=12)
    """Order of the largest tiles, from which dense ones are split."""
    highest_order: int = Field(10, ge=0, le=20)
    """Order of the count map; a pixel still over the bounds at this order is deepened further where it stands."""
    group_order: int = Field(2, ge=0, le=10)
    """A group, the unit of a Snakemake job, is the ancestor of its tiles at this order."""
    part_rows: int = Field(1_000_000, ge=1_000)
    """Rows of the input that one task reads."""
    max_quarantined_share: float = Field(0.5, ge=0, le=1)
    """A plan that had to put aside a larger share of all rows fails: a unit or a column is probably wrong."""

    @model_validator(mode="after")
    def _orders_rise(self) -> TilingSettings:
        if self.lowest_order > self.highest_order:
            raise ValueError(
                f"expected lowest_order <= highest_order, found {self.lowest_order} > {self.highest_order}; "
                "lower the first"
            )
        return self


class FeatureSettings(Settings):
    """How features are made from fluxes."""

    colour_flux: str | None = None
    """Photometry of magnitudes and colours; the survey's first where null."""
    size_flux: str | None = None
    """A second photometry, compared with the first to tell extended sources; the survey's second where null."""
    softening_nJy: dict[str, float] | None = None
    """Softening of the asinh magnitudes per band, nJy; where null the survey's value is used."""
    deredden: bool = True
    """Subtract Galactic extinction where the survey gives E(B-V)."""
    measure: MeasureSettings = MeasureSettings()
    """How sources are found and measured, where the survey has images."""


class LabelSettings(Settings):
    """Where true classes come from and how they are joined to sources."""

    format: TableFormat | Literal["simulated"] = "parquet"
    """Of the table; `simulated` are the labels that come with the simulated survey."""
    path: str | None = None
    """File or folder, relative to the working directory; `${VARIABLE}` and `${VARIABLE:-default}` are put in."""
    column: str
    """The column that holds the class."""
    classes: list[str] = Field(min_length=2)
    """In the order of the model's outputs; labels outside this list are excluded and counted."""
    match: Literal["id", "sky"] = "id"
    """Join by identifier (needs `id`) or by position (needs `ra` and `dec`)."""
    id: IdColumn | None = None
    """Made as the survey's `id` is, of the label table's columns."""
    ra: AngleColumn | None = None
    """For match `sky`: right ascension in the label table."""
    dec: AngleColumn | None = None
    """For match `sky`: declination in the label table."""
    radius_arcsec: float = Field(1.0, gt=0, le=60)
    """For match `sky`: the largest separation."""
    ambiguity: Literal["nearest", "drop"] = "drop"
    """For match `sky`: what becomes of a label with several sources within the radius."""
    pm_ra: str | None = None
    """Column of mu_alpha* = mu_alpha cos(delta), mas/yr, to carry labels to the survey's epoch."""
    pm_dec: str | None = None
    """Column of mu_delta, mas/yr."""
    epoch: float | None = None
    """Julian year of the label positions."""
    targets: list[str] = []
    """Columns of the label table that models of `task: structure` learn, named as in docs/models.md; empty cells are no
    fault, the row teaches classes alone."""
    votes: dict[Name, dict[Name, str]] = {}
    """What volunteers were asked: of each question its answers, and of each answer the column of the label table that
    counts who gave it; an empty cell is no vote. Models of kind `cnn` learn the fractions beside the classes."""

    @model_validator(mode="after")
    def _answers_differ(self) -> LabelSettings:
        for question, answers in self.votes.items():
            if len(answers) < 2:
                raise ValueError(f"votes.{question}: expected two answers or more, found {list(answers)}")
        names = answer_names(self.votes)
        columns = [column for answers in self.votes.values() for column in answers.values()]
        for what, given in (("a column", columns), ("a name (question_answer)", names)):
            if twice := sorted({each for each in given if given.count(each) > 1}):
                raise ValueError(f"votes: each answer has {what} of its own, found {', '.join(twice)} more than once")
        return self

    @model_validator(mode="after")
    def _targets_differ(self) -> LabelSettings:
        if len(set(self.targets)) != len(self.targets):
            raise ValueError(f"targets must differ, found {self.targets}")
        return self

    @model_validator(mode="after")
    def _complete(self) -> LabelSettings:
        if self.format == "simulated":
            return self
        needed = ["path", "id"] if self.match == "id" else ["path", "ra", "dec"]
        missing = [key for key in needed if getattr(self, key) is None]
        if missing:
            raise ValueError(f"labels matched by {self.match} need {', '.join(missing)}")
        if (self.pm_ra is None) != (self.pm_dec is None):
            raise ValueError("give both pm_ra and pm_dec, or neither")
        if self.pm_ra is not None and self.epoch is None:
            raise ValueError("pm_ra and pm_dec need epoch, the Julian year of the label positions")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes must differ, found {self.classes}")
        return self


class SplitSettings(Settings):
    """Train, validation and test are blocks of sky."""

    order: int = Field(6, ge=0, le=14)
    """HEALPix order of a block (6: 0.9 deg)."""
    validation: float = Field(0.2, gt=0, lt=0.5)
    """Share of the blocks that decide when training stops and that calibrate."""
    test: float = Field(0.2, gt=0, lt=0.5)
    """Share of the blocks that measure the finished models."""
    guard_arcsec: float = Field(30.0, ge=0)
    """Sources closer than this to a block of another split are left out; wider than a stamp."""
    seed: int = Field(0, ge=0)
    """Another seed deals the blocks anew."""


class ComputeSettings(Settings):
    """How work is spread; nothing here changes a result, so nothing here enters a key."""

    scheduler: str = "local"
    """`local` starts `threads` workers in each job; an address (tcp://..., tls://...) joins a running cluster."""
    memory_per_worker: str = "3GB"
    """Limit of a local worker, a number with its unit: `3GB`, `500MB`, `2GiB`. At 95 % of it the worker is killed. A
    job asks a cluster for so much for each of its threads."""
    retries: int = Field(1, ge=0, le=10)
    """How often a tile that raised is tried again before it is quarantined."""
    max_quarantined_tiles: int = Field(0, ge=0)
    """More quarantined tiles than this in one group fail its rule."""
    batch_rows: int = Field(500_000, ge=1)
    """Small tiles are put together into one task up to this many rows."""
    task_timeout_s: float = Field(3600, gt=0)
    """A task that takes longer is taken for hung: its worker is killed and its tiles are suspects."""
    scratch: str | None = None
    """Node-local folder for Dask; the system's temporary folder (TMPDIR) where null."""

    @property
    def worker_bytes(self) -> int:
        """`memory_per_worker` in bytes."""
        return MEMORY.validate_python(self.memory_per_worker)

    @field_validator("memory_per_worker")
    @classmethod
    def _has_unit(cls, value: str) -> str:
        if not re.fullmatch(r"\d+(\.\d+)? ?[kMGT]i?B", value) or MEMORY.validate_python(value) <= 0:
            raise ValueError("expected a number with its unit: '3GB', '500MB' or '2GiB'")
        return value


class InferenceSettings(Settings):
    """How a model is run over a tile."""

    block_rows: int = Field(2048, ge=1, le=1_048_576)
    """Rows given to ONNX Runtime at once."""
    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    """Execution provider; an asked-for GPU that is not there is an error."""


Share = Annotated[float, Field(ge=0, le=1)]


class GateSettings(Settings):
    """What a run has to keep within before it may be published; a limit that is null is not looked at."""

    flip_rate: Share | None = 0.1
    """Largest share of a catalogue's sources that change class against the current release."""
    moved_share: Share | None = 0.1
    """Largest share of a catalogue's sources of which a number that has an error (a size, a magnitude, a vote fraction)
    moves by more than three errors against the current release."""
    removed_share: Share | None = 0.01
    """Largest share of the current release's sources that are in none of the new tiles."""
    quarantined_share: Share | None = 0.05
    """Largest share of a catalogue's sources that are quarantined."""
    rows_per_tile: int | None = Field(None, ge=1)
    """Most rows of a tile of the sky."""
    ece: Share | None = None
    """Largest calibration error of a model on its locked test set."""
    parity: Share | None = None
    """Largest difference of any class probability between a model's ONNX file and what was fitted."""
    completeness: dict[str, Share] = {}
    """By class: least completeness on the locked test set."""
    outside_share: Share | None = None
    """Largest share of a catalogue's sources that are unlike all rows that its model learned from."""
    two_sample_auc: Share | None = None
    """Largest AUC of a classifier that tells the survey from the training rows."""


class ReleaseSettings(Settings):
    """How a run is published."""

    name: str | None = Field(None, pattern=f"^{RELEASE_NAME}$")
    """What `snakemake release` publishes; `--config release=DR2` says the same on the command line."""
    gate: GateSettings = GateSettings()
    notify: list[str] = []
    """Command, word by word, that is run when `snakemake release` has ended, with the summary as its input."""
    citation: CitationSettings = CitationSettings()

    @field_validator("name")
    @classmethod
    def _free_name(cls, value: str | None) -> str | None:
        if value in NO_RELEASE:
            raise ValueError(f"'{value}' is the name of something else there; choose another, like DR1")
        return value


class RunConfig(FileSettings):
    """One run of skymill."""

    name: Name
    """Of the run: letters, digits and _, beginning with a letter."""
    survey: str
    """Path of the survey's file."""
    models: list[Annotated[str, Field(min_length=1)]] = []
    """Paths of the models' files."""
    output: str = "results"
    """Folder of everything the run writes."""
    seed: int = Field(42, ge=0, lt=2**32)
    """Of everything random in training."""
    tiling: TilingSettings = TilingSettings()
    features: FeatureSettings = FeatureSettings()
    labels: LabelSettings | None = None
    """Needed where a model is trained."""
    split: SplitSettings = SplitSettings()
    inference: InferenceSettings = InferenceSettings()
    release: ReleaseSettings = ReleaseSettings()
    compute: ComputeSettings = ComputeSettings()

    @field_validator("output")
    @classmethod
    def _one_spelling(cls, value: str) -> str:
        return os.path.normpath(value)
