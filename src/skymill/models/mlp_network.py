"""The tensors of the perceptron: the stacked network that is trained and the folded one that is exported."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skymill.models.cleaning import Scaler

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


class Preprocessing(NamedTuple):
    """What is done to raw features, float32 (f,) each: impute, clip to [low, high], subtract mean, divide by scale."""

    imputation: Tensor
    low: Tensor
    high: Tensor
    mean: Tensor
    scale: Tensor

    @classmethod
    def measure(cls, features: NDArray[np.float32], *, clip_quantile: float) -> Preprocessing:
        """Take medians, quantiles, means and standard deviations of the rows to learn from."""
        return cls(*map(torch.from_numpy, Scaler.measure(features, clip_quantile=clip_quantile)))

    def clean(self, features: Tensor) -> Tensor:
        """Impute and clip, (n, f)."""
        return torch.clamp(torch.where(torch.isfinite(features), features, self.imputation), self.low, self.high)

    def scaled(self, features: Tensor) -> Tensor:
        """Impute, clip and standardise, (n, f)."""
        return (self.clean(features) - self.mean) / self.scale


class StackedNetwork(nn.Module):
    """Several perceptrons of one shape, trained side by side as one batched product.

    Weights start as He et al. (2015, arXiv:1502.01852) do,
    the last layer from a tenth of that: all classes begin alike.
    """

    def __init__(self, sizes: list[int], *, members: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.activation = activation
        self.activate = ACTIVATIONS[activation]()
        self.dropout = dropout
        gains = [1.0] * (len(sizes) - 2) + [0.1]
        self.weights = nn.ParameterList(
            torch.randn(members, n_in, n_out) * gain * (2.0 / n_in) ** 0.5
            for n_in, n_out, gain in zip(sizes[:-1], sizes[1:], gains)
        )
        self.biases = nn.ParameterList(torch.zeros(members, 1, n_out) for n_out in sizes[1:])

    def forward(self, scaled: Tensor) -> Tensor:
        """Give logits (members, n, classes) of standardised features (members, n, f)."""
        values = scaled
        for depth, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            if depth:
                values = self.activate(values)
                values = nn.functional.dropout(values, self.dropout, self.training)
            values = torch.baddbmm(bias, values, weight)  # (members, n, out)
        return values


class FoldedNetwork(nn.Module):
    """The network as it is exported: raw features in, mean probabilities of the members out; no scaler is left."""

    imputation: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, network: StackedNetwork, preprocessing: Preprocessing) -> None:
        super().__init__()
        for name in ("imputation", "low", "high"):
            self.register_buffer(name, getattr(preprocessing, name).clone())
        members = range(network.weights[0].shape[0])
        self.members = nn.ModuleList(_perceptron(network, preprocessing, member) for member in members)

    def forward(self, features: Tensor) -> Tensor:
        """Give probabilities (n, classes) of raw features (n, f)."""
        measured = torch.where(torch.isfinite(features), features, self.imputation)
        clean = torch.minimum(torch.maximum(measured, self.low), self.high)
        return torch.stack([torch.softmax(member(clean), dim=1) for member in self.members]).mean(dim=0)


def _perceptron(network: StackedNetwork, preprocessing: Preprocessing, member: int) -> nn.Sequential:
    """One member, its first layer with the scaler folded in: W (x - mean) / scale + b."""
    mean, scale = preprocessing.mean.double(), preprocessing.scale.double()
    layers: list[nn.Module] = []
    for depth, (weights, biases) in enumerate(zip(network.weights, network.biases)):
        weight, bias = weights[member].detach().double(), biases[member, 0].detach().double()  # (in, out), (out,)
        if depth == 0:
            weight = weight / scale[:, None]
            bias = bias - mean @ weight
        layer = nn.Linear(*weight.shape)
        layer.weight.data = weight.T.float().contiguous()
        layer.bias.data = bias.float()
        layers += [layer] if depth == 0 else [ACTIVATIONS[network.activation](), layer]
    return nn.Sequential(*layers)
