"""Windows on which an exported segmenter must agree with the fitted one: held-out ones and hard ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skymill.export.parity import ParityError
from skymill.features.segmenting.contract import BLEND, CHANNELS, INPUTS

if TYPE_CHECKING:
    from skymill.config.model import ParitySettings
    from skymill.models import Unet

HUGE, TINY = np.float32(1e30), np.float32(1e-12)
OUTPUTS = {**CHANNELS, BLEND: 1}
PROBABILITIES = ("classes", "centre")
Images = NDArray[np.float32]


@dataclass(frozen=True)
class SegmenterParity:
    """By how much an ONNX file differs from the network that it was made from.

    Attributes
    ----------
    windows : int
    max_probability_difference : float
        Largest of classes and centres, over all pixels; infinite where one is no number.
    max_map_difference : float
        The same of offsets (px) and log-odds of a blend; of one beyond 1 in parts of it.
    worst : str
        Output and origin of the window of the largest difference of a probability.
    """

    windows: int
    max_probability_difference: float
    max_map_difference: float
    worst: str

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return asdict(self)

    def check(self, limits: ParitySettings, *, model: str) -> None:
        """Hold the comparison against its limits.

        Raises
        ------
        ParityError
            With what is over which limit, and where.
        """
        measured = {
            "max_probability_difference": self.max_probability_difference,
            "max_map_difference": self.max_map_difference,
        }
        over = [
            f"{key} is {value:.3g}, the limit {getattr(limits, key):.3g}"
            for key, value in measured.items()
            if not value <= getattr(limits, key)
        ]
        if over:
            raise ParityError(
                f"model '{model}': the ONNX file does not agree with the fitted model on {self.windows} windows: "
                f"{'; '.join(over)}; worst in {self.worst}. Nothing was written. Mend the export, or raise `parity` in "
                "the model's file."
            )


def measure_segmenter_parity(unet: Unet, session: Any, held_out: tuple[Images, Images]) -> SegmenterParity:
    """Compare a network with its file on windows, flux and inverse variance (n, bands, side, side) each.

    The held-out ones as they are, turned, and as a survey may have them: no weight at all, single bands, no light,
    negative, huge and tiny fluxes.
    """
    n, probability, other = 0, (0.0, "none"), 0.0
    for origin, flux, weight in _rounds(*held_out):
        fitted = np.split(unet.maps(flux, weight), np.cumsum([*OUTPUTS.values()])[:-1], axis=1)
        exported = session.run(list(OUTPUTS), dict(zip(INPUTS, (flux, weight), strict=True)))
        for name, ours, theirs in zip(OUTPUTS, fitted, exported, strict=True):
            difference = np.abs(ours - theirs)
            if name in PROBABILITIES:
                probability = max(probability, (_largest(difference), f"{name} of windows '{origin}'"))
            else:
                other = max(other, _largest(difference / np.maximum(np.abs(ours), 1)))
        n += len(flux)
    return SegmenterParity(n, probability[0], other, probability[1])


def _largest(difference: Images) -> float:
    return float(difference.max()) if np.isfinite(difference).all() else np.inf


def _turned(images: Images) -> Images:
    return np.ascontiguousarray(np.rot90(images, axes=(-2, -1)))


def _rounds(flux: Images, weight: Images) -> Iterator[tuple[str, Images, Images]]:
    yield "held out", flux, weight
    yield "turned", _turned(flux), _turned(weight)
    bands = np.arange(weight.shape[1])[:, None, None]
    nothing = np.zeros_like(weight[:1])
    for band in range(weight.shape[1]):
        yield "one band", flux[:1] * (bands == band), weight[:1] * (bands == band)
    yield "no weight", nothing, nothing
    yield "no light", nothing, weight[:1]
    yield "negative", -flux[:1], weight[:1]
    yield "huge", np.where(weight[:1] > 0, HUGE, np.float32(0)), weight[:1]
    yield "tiny", flux[:1] * TINY, weight[:1]
