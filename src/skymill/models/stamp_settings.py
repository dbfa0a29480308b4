"""Hyperparameters that all networks on stamps share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from skymill.config import base


class StampNetworkSettings(base.Settings):
    """Of the encoder, of what is done to stamps before it sees them, and of the training."""

    width: int = Field(24, ge=4, le=1024)
    """Channels of the first stage; each further one has 1.5 times those of the one before."""
    stages: int = Field(3, ge=1, le=6)
    """Stages, each at half the resolution of the one before; the first at half that of the stamp."""
    depth: int = Field(2, ge=1, le=10)
    """Convolutions of each stage."""
    vector: int = Field(32, ge=2, le=1024)
    """Numbers that the network makes of a stamp; class probabilities are made of them."""
    turn: bool = True
    """Stamps are turned by quarters and mirrored at random, anew each time one is seen: the sky has no up."""
    shift_px: int = Field(1, ge=0, le=8)
    """The stamps of a step are moved by up to so many pixels along each axis."""
    subpixel: bool = False
    """Each stamp is moved by up to half a pixel more."""
    blur_px: float = Field(0.0, ge=0, le=0.7)
    """Each stamp is blurred by a kernel of up to so many pixels' width (one sigma): worse seeing."""
    noise: float = Field(0.3, ge=0, le=5)
    """Up to so much noise is added, in units of a pixel's own, and its weight is lowered to match: shallower images."""
    extinction_mag: list[float] = []
    """Each stamp is dimmed by up to so many magnitudes in each band, in their order, all bands by the same share of
    it: dust before it; none where the list is empty."""
    band_dropout: float = Field(0.05, ge=0, lt=1)
    """How often each band of a stamp is taken away, as on a tile that lacks it."""
    batch_size: int = Field(64, ge=2)
    """Stamps of one training step; the first thing to lower when memory runs out."""
    epochs: int = Field(30, ge=1)
    """The learning rate rises over the first tenth, then falls to nothing along a cosine."""
    learning_rate: float = Field(3e-3, gt=0)
    """The highest."""
    weight_decay: float = Field(1e-2, ge=0)
    """Of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101)."""
    clip_gradient: float = Field(1.0, gt=0)
    """Largest norm of a step's gradient."""
    averaging: float = Field(0.98, ge=0, lt=1)
    """Of the weights over steps (an exponential moving average, which is what is kept); 0 keeps the last ones."""
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    """Arithmetic while training; `16-mixed` needs a GPU. The model itself is float32."""

    @property
    def sizes(self) -> dict[str, int]:
        """Of the encoder."""
        return {name: getattr(self, name) for name in ("width", "stages", "depth", "vector")}
