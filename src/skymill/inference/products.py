"""What a model's catalogue holds, by its task: classes, or posteriors of sizes and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skymill.inference.form import tile_form, tile_rows
from skymill.inference.kernel import Answer, judge
from skymill.inference.posterior import posterior_form, posterior_rows
from skymill.inference.session import Session
from skymill.store.variable import Variable


class Product(Protocol):
    """The columns that a task adds to the ids and positions of sources."""

    def form(self, identity: Mapping[str, Variable], bands: tuple[str, ...]) -> dict[str, Variable]:
        """Describe the arrays of a tile; `bands` are those of the stamps, none for a model of features."""

    def rows(
        self, block: Mapping[str, NDArray[Any]], answer: Answer, lacking: NDArray[np.int32]
    ) -> dict[str, NDArray[Any]]:
        """Give the columns of rows, but for those that describe their stamps.

        Parameters
        ----------
        block : mapping
            Ids, positions and flags of n rows.
        answer : Answer
            Of these; its arrays are changed.
        lacking : ndarray of int32, (n,)
            The bit that says why a row has no answer; 0 where it has one.
        """


@dataclass(frozen=True)
class Classes:
    """Probabilities, the most probable class, entropy and conformal sets."""

    session: Session

    def form(self, identity: Mapping[str, Variable], bands: tuple[str, ...]) -> dict[str, Variable]:
        schema = self.session.schema
        return tile_form(
            identity,
            schema.classes,
            schema.conformal.coverage if schema.conformal else None,
            distance=self.session.gives_distance,
            disagreement=self.session.gives_disagreement,
            embedding=schema.embedding,
            questions=schema.votes,
            bands=bands,
        )

    def rows(
        self, block: Mapping[str, NDArray[Any]], answer: Answer, lacking: NDArray[np.int32]
    ) -> dict[str, NDArray[Any]]:
        scores = judge(answer, lacking, thresholds=self.session.thresholds)
        return tile_rows(block, scores, self.session.schema.votes)


@dataclass(frozen=True)
class Posteriors:
    """Medians, errors and quantiles of each quantity, and the joint posterior."""

    session: Session

    def form(self, identity: Mapping[str, Variable], bands: tuple[str, ...]) -> dict[str, Variable]:
        schema = self.session.schema
        return posterior_form(identity, schema.quantities, schema.components, bands)

    def rows(
        self, block: Mapping[str, NDArray[Any]], answer: Answer, lacking: NDArray[np.int32]
    ) -> dict[str, NDArray[Any]]:
        return posterior_rows(block, answer, lacking, self.session.schema.quantities, self.session.schema.levels)


def product_of(session: Session) -> Product:
    """Give what a model's catalogue holds."""
    return Posteriors(session) if session.schema.quantities else Classes(session)
