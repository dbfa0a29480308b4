"""What a learned segmenter's ONNX file says of itself, and the tensors that it takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from skymill.config.base import Settings
from skymill.config.errors import explain
from skymill.features.segmentation import CLASSES
from skymill.features.segmenting.windows import Windows
from skymill.sessions.entry import ENTRY, ModelFileError, read_entry

INPUTS = ("flux", "inverse_variance")
CHANNELS = {"classes": len(CLASSES), "centre": 1, "offset": 2}
"""The outputs and their channels."""
BLEND = "blend"
"""A further output, of one channel, that a file may have: log-odds that a pixel's source is an unrecognised blend."""
CONTRACT = "docs/measuring.md, 'A learned segmenter'"


class SegmenterCard(Settings):
    """The entry ``skymill`` of the file's metadata."""

    format: Literal[1]
    """Of the entry."""
    task: Literal["segmentation"]
    """What the file is for."""
    model: str = Field(min_length=1)
    """Name of the segmenter, for the tile's attributes."""
    bands: list[str] = Field(min_length=1)
    """Bands of the inputs, in their order; each one of the survey's."""
    pixel_scale_arcsec: float = Field(gt=0, allow_inf_nan=False)
    """Side of the pixels that it has learned from."""
    halo_px: int = Field(ge=0)
    """How far around a pixel it looks."""
    window_px: int = Field(ge=1)
    """Side of the windows that it is run on."""
    multiple_px: int = Field(1, ge=1)
    """What sides and corners of windows are multiples of: the product of its strides."""
    min_centre: float = Field(0.1, gt=0, le=1)
    """Value of `centre` from which a pixel can be the centre of a source."""
    reach_px: float = Field(16.0, gt=0, allow_inf_nan=False)
    """How far from a centre a pixel may point to belong to it."""

    @model_validator(mode="after")
    def _consistent(self) -> SegmenterCard:
        twice = sorted({band for band in self.bands if self.bands.count(band) > 1})
        if twice:
            raise ValueError(f"bands: expected each band once, found {', '.join(twice)} twice")
        if self.window_px % self.multiple_px:
            raise ValueError(
                f"window_px: expected a multiple of multiple_px = {self.multiple_px}, found {self.window_px}"
            )
        if self.windows.step < 1:
            raise ValueError(
                f"window_px: expected more than twice the halo of {self.halo_px} px, {self.windows.smallest} at least, "
                f"found {self.window_px}"
            )
        return self

    @property
    def windows(self) -> Windows:
        """The windows that it is run on."""
        return Windows(side=self.window_px, halo=self.halo_px, multiple=self.multiple_px)

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], *, source: str) -> SegmenterCard:
        """Read the metadata of an ONNX file.

        Raises
        ------
        ModelFileError
            If the entry is absent, or a key is unknown, missing, wrong or contradicts another.
        """
        content = read_entry(properties, source=source, mend=f"add it as {CONTRACT}, says")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            where = f"{source}: metadata entry '{ENTRY}'"
            raise ModelFileError(str(explain(error, source=where, model=cls, keys=CONTRACT))) from None

    def places(self, bands: Sequence[str], *, source: str) -> list[int]:
        """Give the places of its bands among those of a survey.

        Raises
        ------
        ModelFileError
            If the survey lacks one.
        """
        missing = [band for band in self.bands if band not in bands]
        if missing:
            raise ModelFileError(
                f"{source}: segments in the bands {', '.join(self.bands)}, the survey has {', '.join(bands)} and no "
                f"{', '.join(missing)}; take a segmenter for bands of the survey, or correct the names in its metadata"
            )
        return [list(bands).index(band) for band in self.bands]


def channels_of(session: Any) -> dict[str, int]:
    """Give the outputs of a session and their channels, that of blends where it has one."""
    has_blend = any(tensor.name == BLEND for tensor in session.get_outputs())
    return {**CHANNELS, BLEND: 1} if has_blend else CHANNELS


def check_tensors(session: Any, card: SegmenterCard, *, source: str) -> None:
    """Check names, types and shapes of a session's tensors.

    Raises
    ------
    ModelFileError
        Naming every tensor that differs.
    """
    sides = (
        ("input", dict.fromkeys(INPUTS, len(card.bands)), session.get_inputs()),
        ("output", channels_of(session), session.get_outputs()),
    )
    faults = []
    for side, wanted, tensors in sides:
        found = {tensor.name: tensor for tensor in tensors}
        if set(found) != set(wanted):
            faults.append(f"expected the {side}s {', '.join(wanted)}, found {', '.join(found) or 'none'}")
            continue
        faults += [
            f"{side} '{name}': expected tensor(float) of shape (n, {channels}, h, w) with free n, and h and w free or "
            f"{card.window_px} (window_px), found {found[name].type} {tuple(found[name].shape)}"
            for name, channels in wanted.items()
            if found[name].type != "tensor(float)" or not _fits(found[name].shape, channels, card.window_px)
        ]
    if faults:
        raise ModelFileError(f"{source}: {'; '.join(faults)}; mend the graph as {CONTRACT}, says")


def _fits(shape: Sequence[int | str | None], channels: int, window_px: int) -> bool:
    """Say whether a declared shape can be (n, channels, window, window) for any n; what is no number is free."""
    fixed = [length if isinstance(length, int) else None for length in shape]
    return len(fixed) == 4 and fixed[0] is None and fixed[1] in (channels, None) and {*fixed[2:]} <= {window_px, None}
