"""The tensors of the U-Net: from pixels to what each of them shows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skymill.models.cnn_network import Stretch, block

STEM_PX = 2
"""Side of the patches that the stem makes of pixels, and that the head makes pixels of again."""
CHANNELS = {"classes": 4, "centre": 1, "offset": 2, "companion": 1}
"""What the network says of a pixel, and in how many channels."""

RARE = -4.0
"""Log-odds of a centre before anything is learned, as few pixels are one (Lin et al. 2017, arXiv:1708.02002, 4.1)."""


class UNet(nn.Module):
    """Images to maps (Ronneberger et al. 2015, arXiv:1505.04597; heads of Cheng et al. 2020, arXiv:1911.10194).

    A stem of patches of 2 x 2 pixels; levels of dense 3 x 3 convolutions, each at half the resolution and 1.5 times the
    width of the one before; the way back up, each level beside what went down; and a head whose channels are put back
    into pixels (Shi et al. 2016, arXiv:1609.05158). What comes out of a pixel depends on those within `halo_px`.

    Parameters
    ----------
    noise : Tensor, (bands,)
        As `Stretch` has it.
    width, levels, depth : int
        Channels of the first level; levels; convolutions of each.
    """

    def __init__(self, noise: Tensor, *, width: int, levels: int, depth: int) -> None:
        super().__init__()
        self.stretch = Stretch(noise)
        widths = [round(width * 1.5**level) for level in range(levels)]
        self.stem = nn.Conv2d(2 * len(noise), width, STEM_PX, stride=STEM_PX)
        self.down = nn.ModuleList(
            _convolutions(before, channels, depth) for before, channels in zip([width, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            _convolutions(below + beside, beside, depth)
            for beside, below in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")
        scores = nn.Conv2d(width, STEM_PX**2 * sum(CHANNELS.values()), 3, padding=1)
        nn.init.constant_(scores.bias[STEM_PX**2 * CHANNELS["classes"] :][: STEM_PX**2], RARE)  # type: ignore[index]
        self.head = nn.Sequential(scores, nn.PixelShuffle(STEM_PX))

    def forward(self, flux: Tensor, inverse_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Give scores (n, 8, h, w), of classes, centre, offset (px) and companion, and what they are made of,
        (n, width, h / 2, w / 2), of flux (nJy) and inverse variance, (n, bands, h, w)."""
        values = torch.relu(self.stem(self.stretch(flux, inverse_variance)))
        beside = []
        for number, level in enumerate(self.down):
            values = level(self.pool(values) if number else values)
            beside.append(values)
        for level, skipped in zip(self.up, beside[-2::-1], strict=True):
            values = level(torch.cat([self.grow(values), skipped], dim=1))
        return self.head(values), values


class Maps(nn.Module):
    """The network as it is exported: what its scores say, in the words of a segmenter's contract.

    Parameters
    ----------
    network : UNet
    blend : Tensor, (width + 2,)
        Weights of the log-odds of a blend: of a pixel's numbers and of its companion's score, and a constant.
    """

    blend: Tensor

    def __init__(self, network: UNet, blend: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("blend", blend)

    def forward(self, flux: Tensor, inverse_variance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Give classes (n, 4, h, w) and centre (n, 1, h, w), probabilities; offset (n, 2, h, w), px; blend (n, 1, h,
        w), log-odds."""
        scores, values = self.network(flux, inverse_variance)
        classes, centre, offset, companion = scores.split([*CHANNELS.values()], dim=1)
        of_values = nn.functional.conv2d(values, self.blend[None, :-2, None, None])
        blend = self.network.grow(of_values) + self.blend[-2] * companion + self.blend[-1]
        return classes.softmax(1), centre.sigmoid(), offset, blend


def _convolutions(channels_in: int, channels_out: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(block(channels_out if n else channels_in, channels_out) for n in range(depth)))
