"""The tensors of the convolutional network: from stamps to vectors, and from vectors to class probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

LARGEST = 1e15
"""Signal over noise of a pixel whose square float32 still holds."""


class Stretch(nn.Module):
    """Flux (nJy) to numbers of order one: ``asinh(flux / noise)`` of each band (Lupton, Gunn & Szalay 1999, AJ 118,
    1406), and beside it which pixels have a weight.

    Parameters
    ----------
    noise : Tensor, (bands,)
        Typical noise of a pixel, nJy; that of the images that the model learns from, so that depth is no label.
    """

    noise: Tensor

    def __init__(self, noise: Tensor) -> None:
        super().__init__()
        self.register_buffer("noise", noise.reshape(1, -1, 1, 1).clone())

    def forward(self, flux: Tensor, inverse_variance: Tensor) -> Tensor:
        """Give (n, 2 bands, k, k) of flux and inverse variance (n, bands, k, k)."""
        seen = (inverse_variance > 0).to(flux.dtype)
        return torch.cat([asinh(flux * seen / self.noise), seen], dim=1)


def asinh(values: Tensor) -> Tensor:
    """Give the inverse hyperbolic sine by its definition, to 3e-7; values beyond `LARGEST` count as that.

    ONNX Runtime has no vectorised one: its `Asinh` takes 64 us for a stamp of 6 x 32 x 32, this 19.
    """
    size = values.abs().clamp(max=LARGEST)
    return torch.log(size + torch.sqrt(size * size + 1)) * torch.sign(values)


def block(channels_in: int, channels_out: int) -> nn.Sequential:
    """Give a dense convolution of 3 x 3 pixels, batch norm and ReLU: what CPUs do best."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU()
    )


class Encoder(nn.Module):
    """Stamps to vectors.

    A stem of patches of 2 x 2 pixels, stages of dense 3 x 3 convolutions, each at half the resolution and 1.5 times the
    width of the one before, the mean over the stamp and its middle, and a linear map. The middle keeps its place: a
    stamp shows one source there, and others around it.

    Parameters
    ----------
    noise : Tensor, (bands,)
        As `Stretch` has it.
    width, stages, depth, vector : int
        Channels of the first stage; stages; convolutions of each; length of a vector.
    """

    def __init__(self, noise: Tensor, *, width: int, stages: int, depth: int, vector: int) -> None:
        super().__init__()
        self.stretch = Stretch(noise)
        widths = [round(width * 1.5**stage) for stage in range(stages)]
        self.stem = nn.Sequential(nn.Conv2d(2 * len(noise), width, 2, stride=2, bias=False), nn.BatchNorm2d(width))
        self.stages = nn.ModuleList()
        before = width
        for channels in widths:
            self.stages.append(nn.Sequential(*(block(channels if n else before, channels) for n in range(depth))))
            before = channels
        self.pool = nn.MaxPool2d(2)
        self.project = nn.Linear(2 * before, vector)

    def forward(self, flux: Tensor, inverse_variance: Tensor) -> Tensor:
        """Give vectors (n, vector) of flux (nJy) and inverse variance, (n, bands, k, k)."""
        values = torch.relu(self.stem(self.stretch(flux, inverse_variance)))
        for number, stage in enumerate(self.stages):
            values = stage(self.pool(values) if number else values)
        side = values.shape[-1]
        first = (side - 1) // 2
        middle = values[:, :, first : side // 2 + 1, first : side // 2 + 1].mean(dim=(2, 3))
        vectors: Tensor = self.project(torch.cat([values.mean(dim=(2, 3)), middle], dim=1))
        return vectors


class Head(nn.Module):
    """Vectors to class scores: a linear map of what is positive in them."""

    def __init__(self, vector: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(vector, classes)

    def forward(self, vectors: Tensor) -> Tensor:
        """Give logits (n, classes) of vectors (n, vector)."""
        logits: Tensor = self.linear(torch.relu(vectors))
        return logits


class Joined(nn.Module):
    """Several encoders, whose vectors stand behind one another."""

    def __init__(self, encoders: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(encoders)

    def forward(self, flux: Tensor, inverse_variance: Tensor) -> Tensor:
        """Give vectors (n, members * vector) of flux and inverse variance, (n, bands, k, k)."""
        return torch.cat([encoder(flux, inverse_variance) for encoder in self.members], dim=1)


class MeanHead(nn.Module):
    """Several heads, each of which takes its own part of the vectors."""

    def __init__(self, heads: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(heads)

    def forward(self, vectors: Tensor) -> Tensor:
        """Give the logarithm of the mean of their probabilities (n, classes) of vectors (n, members * vector)."""
        return log_mean(self.of_members(vectors))

    def of_members(self, vectors: Tensor) -> Tensor:
        """Give the logarithm of each one's probabilities, (members, n, classes)."""
        parts = vectors.chunk(len(self.members), dim=1)
        return torch.stack([head(part).log_softmax(dim=1) for head, part in zip(self.members, parts)])


def log_mean(logs: Tensor) -> Tensor:
    """Give the logarithm of the mean over the first axis."""
    return logs.logsumexp(dim=0) - math.log(len(logs))


class Disagreement(nn.Module):
    """How far the members of an ensemble disagree: the mutual information of class and member, nats (Houlsby et al.
    2011, arXiv:1112.5745), which is the entropy of the mean less the mean entropy."""

    def __init__(self, head: MeanHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """Give it (n,) of vectors (n, members * vector)."""
        logs = self.head.of_members(features)
        mean = log_mean(logs)
        within, whole = (logs.exp() * logs).sum(dim=2).mean(dim=0), (mean.exp() * mean).sum(dim=1)
        return (within - whole).clamp_min(0)


class Probabilities(nn.Module):
    """The head as it is exported."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """Give probabilities (n, classes) of vectors (n, vector)."""
        return torch.softmax(self.head(features), dim=1)
