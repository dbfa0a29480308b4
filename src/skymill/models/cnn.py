"""A convolutional network on stamps of the survey's images: a stem of patches and wide dense 3 x 3 convolutions.

The shape follows what CPUs run fastest (patches as in Dosovitskiy et al. 2021, arXiv:2010.11929; dense blocks as in
Simonyan & Zisserman 2015, arXiv:1409.1556; batch norm, Ioffe & Szegedy 2015, arXiv:1502.03167, is folded away by ONNX
Runtime). Input: flux and inverse variance, (n, bands, k, k). Output: a vector of `vector` numbers and, of it, class
probabilities and, where volunteers were asked, concentrations of their answers (`models.votes`). 10 MFLOP a stamp of
6 x 32 x 32 with the settings as they come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from skymill.config import base
from skymill.models.registry import Examples, Place, register
from skymill.models.stamp_network import StampNetwork, n_networks
from skymill.models.stamp_settings import StampNetworkSettings
from skymill.models.starting import starting_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn


class CnnSettings(StampNetworkSettings):
    """Hyperparameters of the network."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label spread over all classes."""
    members: int = Field(1, ge=1, le=32)
    """Networks that learn from other first weights and in other orders; the mean of their probabilities counts
    (Lakshminarayanan et al. 2017, arXiv:1612.01474)."""
    start: str = ""
    """What the encoder starts from in place of drawn weights: the name of another network on stamps of the run (it may
    have learned without labels), or the `checkpoint.pt` of any fit; `width`, `stages`, `depth` and bands as there."""
    votes_weight: float = Field(0.3, ge=0)
    """Where the run has `labels.votes`: how much the logarithm of their probability counts beside that of the class; 0
    leaves them out."""


@register("cnn")
class Cnn(StampNetwork):
    """A fitted network."""

    kind: ClassVar[str]
    Settings: ClassVar[type[base.Settings]] = CnnSettings
    LOSSES = ("train_loss", "validation_log_loss")

    @classmethod
    def fit(cls, train: Examples, validation: Examples, settings: CnnSettings, *, seed: int, place: Place) -> Self:
        """Train, keeping the epoch with the lowest log-loss on validation; goes on from the last epoch after a kill.

        The features of both are stamps, float32 (n, 2, bands, k, k): flux (nJy) and inverse variance.
        """
        from skymill.models.cnn_network import Joined, MeanHead
        from skymill.models.cnn_training import Training
        from skymill.models.stamp_training import train_best

        start = starting_tensors(settings.start, place.members) if settings.start else None
        fits = [
            train_best(partial(Training, kind=cls, start=start), (train, validation), settings, own_seed, own_place)
            for own_seed, own_place in _of_members(seed, place, settings.members)
        ]
        if len(fits) == 1:
            return cls(fits[0].network["encoder"], fits[0].network["head"], fits[0].shape, fits[0].epochs)
        encoder, head = (
            Joined([fit.network["encoder"] for fit in fits]),
            MeanHead([fit.network["head"] for fit in fits]),
        )
        return cls(encoder, head, {**fits[0].shape, "members": len(fits)}, _mean_epochs([fit.epochs for fit in fits]))

    @classmethod
    def network(cls, noise: Tensor, shape: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
        """Give encoder and head of one network; what a kind of one's own puts another in place of."""
        from skymill.models.cnn_network import Encoder, Head

        sizes = {name: shape[name] for name in ("width", "stages", "depth", "vector")}
        return Encoder(noise, **sizes), Head(shape["vector"], shape["classes"])

    @classmethod
    def member(cls, noise: Tensor, shape: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
        """Give encoder and head of one network, which tells votes too where there are questions."""
        from skymill.models.votes_network import VoteHead, WithVotes

        encoder, head = cls.network(noise, shape)
        if not shape.get("questions"):
            return encoder, head
        return encoder, WithVotes(head, VoteHead(shape["vector"], shape["questions"]))

    @classmethod
    def networks(cls, noise: Tensor, shape: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
        """Give encoder and head of all members."""
        from skymill.models.cnn_network import Joined, MeanHead

        pairs = [cls.member(noise, shape) for _ in range(n_networks(shape))]
        if len(pairs) == 1:
            return pairs[0]
        encoders, heads = zip(*pairs)
        return Joined(encoders), MeanHead(heads)


def _of_members(seed: int, place: Place, members: int) -> Iterator[tuple[int, Place]]:
    """Give seed and place of each member; the first has the fit's own seed, and a network alone its place too."""
    for number in range(members):
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) if number else seed
        folder, logs = f"member{number}", place.watch.logs
        watch = replace(place.watch, logs=logs and logs / folder)
        yield own, place if members == 1 else replace(place, workdir=place.workdir / folder, watch=watch)


def _mean_epochs(members: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Give the mean losses of each epoch."""
    return [{name: float(np.mean([row[name] for row in rows])) for name in rows[0]} for rows in zip(*members)]
