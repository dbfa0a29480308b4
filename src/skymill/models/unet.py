"""A U-Net that parts an image into sources: classes, centres and offsets of pixels, and how sure it is of a blend.

Ronneberger, Fischer & Brox 2015 (arXiv:1505.04597) with the heads of Panoptic-DeepLab (Cheng et al. 2020,
arXiv:1911.10194). Input: flux and inverse variance, (n, bands, h, w), of any size that is a multiple of its strides. 27
kFLOP a pixel with the settings as they come.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from skymill.config import base
from skymill.models.registry import Place, register_segmenter

if TYPE_CHECKING:
    from skymill.models.unet_network import UNet

FILE = "checkpoint.pt"
LOSSES = ("train_loss", "validation_loss")


class UnetSettings(base.Settings):
    """Hyperparameters of the network, and of the sky that it learns from."""

    bands: list[str] = Field(["u", "g", "r", "i", "z", "y"], min_length=1)
    """Bands that it looks at, each one of the survey's and of ugrizy."""
    scenes: int = Field(24, ge=1, le=100_000)
    """Rendered images that it learns from, each of a seed of its own."""
    held_out: int = Field(6, ge=1, le=10_000)
    """So many that choose the epoch and calibrate, and so many more that it is judged by."""
    scene_px: int = Field(384, ge=64, le=8192)
    """Side of each."""
    first_seed: int = Field(1_000_000, ge=0)
    """Of the rendered sky: the scenes have this seed and those that follow."""
    density: float = Field(1.0, gt=0, le=20)
    """Galaxies relative to the sky's."""
    pairs: float = Field(15.0, ge=0, le=100)
    """Extra companions per square arcmin, close to a galaxy: what deblending is learned from."""
    stars: float = Field(10.0, ge=0, le=2000)
    """Stars per square arcmin."""
    years: list[float] = Field([1.0, 10.0], min_length=2, max_length=2)
    """Least and largest depth of a scene, in years of LSST; between them all logarithms are alike."""
    width: int = Field(24, ge=4, le=512)
    """Channels of the first level; each further one has 1.5 times those of the one before."""
    levels: int = Field(3, ge=1, le=6)
    """Levels, each at half the resolution of the one before; the first at half that of the image."""
    depth: int = Field(2, ge=1, le=10)
    """Convolutions of each level."""
    window_px: int = Field(384, ge=16, le=8192)
    """Side of the windows that it is run on."""
    crop_px: int = Field(128, ge=16, le=8192)
    """Side of the parts of scenes that a step learns from."""
    batch_size: int = Field(8, ge=1)
    """Parts of one training step; the first thing to lower when memory runs out."""
    epochs: int = Field(12, ge=1)
    """The learning rate rises over the first tenth, then falls to nothing along a cosine."""
    learning_rate: float = Field(5e-3, gt=0)
    """The highest."""
    weight_decay: float = Field(1e-3, ge=0)
    """Of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101)."""
    clip_gradient: float = Field(1.0, gt=0)
    """Largest norm of a step's gradient."""
    band_dropout: float = Field(0.05, ge=0, lt=1)
    """How often each band of a part is taken away, as on a tile that lacks it."""
    min_centre: float = Field(0.15, gt=0, le=1)
    """Probability of a centre from which a pixel can be one: higher finds fewer sources, and surer ones."""
    reach_px: float = Field(6.0, gt=0)
    """How far from a centre a pixel may point to belong to it."""

    @property
    def seeds(self) -> range:
        """Seeds of all scenes: those that it learns from, then those that choose and calibrate, then the test's."""
        return range(self.first_seed, self.first_seed + self.scenes + 2 * self.held_out)

    @property
    def multiple_px(self) -> int:
        """What sides of images must be multiples of: the product of the strides."""
        return 2**self.levels

    @property
    def halo_px(self) -> int:
        """How far around a pixel the network looks: its convolutions, each as far as a pixel of its level is wide, on
        the way down and up, the head's, and the patches of the coarsest level."""
        widths = [2 ** (level + 1) for level in range(self.levels)]
        return self.depth * (2 * sum(widths) - widths[-1]) + widths[0] + widths[-1] - 1

    @model_validator(mode="after")
    def _fits(self) -> UnetSettings:
        multiple, halo = self.multiple_px, self.halo_px
        for name in ("window_px", "crop_px", "scene_px"):
            if getattr(self, name) % multiple:
                raise ValueError(
                    f"{name}: expected a multiple of {multiple} (2 to the power of levels), found {getattr(self, name)}"
                )
        if self.window_px < 2 * halo + 2 * multiple:
            raise ValueError(
                f"window_px: expected {2 * halo + 2 * multiple} at least, as the network looks {halo} px far, found "
                f"{self.window_px}"
            )
        if self.crop_px > self.scene_px:
            raise ValueError(f"crop_px: expected scene_px = {self.scene_px} at most, found {self.crop_px}")
        if not 0.1 <= self.years[0] <= self.years[1] <= 10:
            raise ValueError(f"years: expected two numbers from 0.1 to 10, the lower one first, found {self.years}")
        unknown = [band for band in self.bands if band not in "ugrizy"]
        if unknown or len({*self.bands}) < len(self.bands):
            raise ValueError(f"bands: expected some of u, g, r, i, z, y, each once, found {', '.join(self.bands)}")
        return self


@dataclass(frozen=True)
class Scenes:
    """Images and what is true of them, all of one size.

    Attributes
    ----------
    flux, inverse_variance : ndarray of float32, (n, bands, h, w)
        nJy, background subtracted, 0 where a pixel has no weight; nJy^-2.
    classes : ndarray of uint8, (n, h, w)
        Sky, star, galaxy, artefact.
    centre : ndarray of float32, (n, h, w)
        How near a pixel is to a source's centre, 1 at it.
    offset : ndarray of float32, (n, 2, h, w)
        Rows and columns to the centre of the pixel's source, px; NaN where it has none.
    companion : ndarray of float32, (n, h, w)
        1 where the pixel's source has a companion within its disc of seeing, else 0; NaN where it has no source.
    """

    flux: NDArray[np.float32]
    inverse_variance: NDArray[np.float32]
    classes: NDArray[np.uint8]
    centre: NDArray[np.float32]
    offset: NDArray[np.float32]
    companion: NDArray[np.float32]

    def __len__(self) -> int:
        """Count the scenes."""
        return len(self.flux)


@register_segmenter("unet")
class Unet:
    """A fitted network."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = UnetSettings

    def __init__(
        self,
        network: UNet,
        shape: dict[str, int],
        epochs: list[dict[str, float]],
        blend: NDArray[np.float32] | None = None,
    ) -> None:
        self.network = network.eval()
        self.shape = shape
        self._epochs = epochs
        self.blend = np.zeros(shape["width"] + 2, np.float32) if blend is None else blend

    @classmethod
    def fit(cls, train: Scenes, validation: Scenes, settings: UnetSettings, *, seed: int, place: Place) -> Self:
        """Train, keeping the epoch with the lowest loss on validation; goes on from the last epoch after a kill."""
        from skymill.models.unet_training import train_network

        return cls(*train_network(train, validation, settings, seed=seed, place=place))

    def with_blend(self, weights: NDArray[np.float32]) -> Self:
        """Give the same network that makes log-odds of blends with other weights, (width + 2,)."""
        return type(self)(self.network, self.shape, self._epochs, weights)

    def maps(self, flux: NDArray[np.float32], inverse_variance: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give classes, centre, offset and blend, (n, 8, h, w), of images (n, bands, h, w), as its file does."""
        import torch

        from skymill.models.unet_network import Maps

        exported = Maps(self.network, torch.from_numpy(self.blend)).eval()
        with torch.inference_mode():
            return torch.cat(exported(torch.from_numpy(flux), torch.from_numpy(inverse_variance)), dim=1).numpy()

    def maps_and_evidence(
        self, flux: NDArray[np.float32], inverse_variance: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Give the same and after it, of each pixel, what log-odds of a blend are made of, (n, 8 + width + 1, h, w)."""
        import torch

        with torch.inference_mode():
            scores, values = self.network(torch.from_numpy(flux), torch.from_numpy(inverse_variance))
            evidence = torch.cat([self.network.grow(values), scores[:, -1:]], dim=1).numpy()
        return np.concatenate([self.maps(flux, inverse_variance), evidence], axis=1)

    def save(self, folder: Path) -> list[str]:
        """Write tensors and shape, readable by `torch.load(weights_only=True)`."""
        import torch

        content: dict[str, Any] = {
            "network": {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()},
            "shape": self.shape,
            "blend": torch.from_numpy(self.blend),
            "epochs": torch.tensor([list(row.values()) for row in self._epochs], dtype=torch.float64),
        }
        torch.save(content, folder / FILE)
        return [FILE]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        from skymill.models.torch_file import load_tensors
        from skymill.models.unet_network import UNet

        content = load_tensors(folder / FILE)
        network = UNet(content["network"]["stretch.noise"].flatten(), **content["shape"])
        network.load_state_dict(content["network"])
        epochs = [{"epoch": int(row[0]), **dict(zip(LOSSES, row[1:]))} for row in content["epochs"].tolist()]
        return cls(network, content["shape"], epochs, content["blend"].numpy())

    def history(self) -> list[dict[str, float]]:
        """Per epoch: number, training loss, loss on validation."""
        return self._epochs
