"""Sources with the most similar vectors: against all of them sorted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skies import Sky, write_catalogue
from typer.testing import CliRunner

from skymill.cli.main import app
from skymill.store import Catalogue, Variable, open_catalogue, seal

LENGTH = 6


@dataclass(frozen=True)
class Embedded(Sky):
    """Sources with vectors, every tenth without."""

    embedding: np.ndarray

    def variables(self, rows: Any = slice(None)) -> dict[str, Variable]:
        """Describe some rows as a tile."""
        return super().variables(rows) | {"embedding": Variable(self.embedding[rows], ("source", "embedding"))}


@pytest.fixture(scope="module")
def embedded() -> Embedded:
    plain = Sky.draw(3000, seed=3)
    vectors = np.random.default_rng(3).normal(size=(3000, LENGTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[5] = vectors[4]  # of two that are alike the first in the sky comes first
    vectors[::10] = np.nan
    return Embedded(**vars(plain), embedding=vectors.astype(np.float16))


@pytest.fixture(scope="module")
def root(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nearest") / "catalogues" / "alike"
    seal(folder, [write_catalogue(folder, embedded, chunk_rows=64)])
    return folder


@pytest.fixture(scope="module")
def catalogue(root: Path) -> Catalogue:
    return open_catalogue(str(root))


@settings(max_examples=25, deadline=None)
@given(
    vector=st.lists(st.floats(-100, 100, width=32), min_size=LENGTH, max_size=LENGTH).filter(any), k=st.integers(1, 200)
)
def test_they_are_those_of_a_search_through_all(
    vector: list[float], k: int, catalogue: Catalogue, embedded: Embedded
) -> None:
    found = catalogue.nearest(vector, k, ["objectId", "embedding"])
    direction = np.array(vector) / np.linalg.norm(vector)
    similarity = embedded.embedding.astype(float) @ direction
    wanted = np.sort(similarity[np.isfinite(similarity)])[::-1][:k]
    np.testing.assert_allclose(found["similarity"], wanted, atol=1e-6)
    np.testing.assert_allclose(found["embedding"].to_numpy().astype(float) @ direction, wanted, atol=1e-6)
    assert len(np.unique(found["objectId"])) == k


def test_of_equals_the_first_in_the_sky_comes_first(catalogue: Catalogue, embedded: Embedded) -> None:
    found = catalogue.nearest(embedded.embedding[5], 2)
    np.testing.assert_array_equal(found["objectId"], embedded.object_id[[4, 5]])


@pytest.mark.parametrize("vector", [[1.0] * 5, [0.0] * LENGTH, [np.nan] * LENGTH])
def test_a_vector_that_cannot_be_compared_is_refused(vector: list[float], catalogue: Catalogue) -> None:
    with pytest.raises(ValueError, match="expected a vector of"):
        catalogue.nearest(vector)


def test_a_short_vector_is_as_good_as_a_long_one(catalogue: Catalogue, embedded: Embedded) -> None:
    """The squares of such numbers are 0 in single precision."""
    found = catalogue.nearest(embedded.embedding[4].astype(float) * 1e-30, 1)
    np.testing.assert_array_equal(found["objectId"], embedded.object_id[[4]])


def test_no_source_at_all_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(ValueError, match="k: expected a number of sources of at least 1, found 0"):
        catalogue.nearest([1.0] * LENGTH, 0)


def test_a_catalogue_without_embeddings_is_refused(sealed: Path) -> None:
    with pytest.raises(KeyError, match="expected a catalogue with 'embedding'"):
        open_catalogue(str(sealed)).nearest([1.0])


def test_the_command_refuses_a_catalogue_without_embeddings(sealed: Path) -> None:
    done = CliRunner().invoke(app, ["neighbours", str(sealed), "7"])
    assert "expected the catalogue of a model of autoencoder, contrastive, vae" in str(done.exception)


def test_the_command_names_what_looks_like_a_source(root: Path, embedded: Embedded) -> None:
    done = CliRunner().invoke(app, ["neighbours", str(root), str(embedded.object_id[4]), "-k", "3", "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.output)
    similarity = embedded.embedding.astype(float) @ embedded.embedding[4].astype(float)
    similarity[np.isnan(similarity)] = -2
    others = np.argsort(-similarity, kind="stable")
    wanted = [row for row in others.tolist() if row != 4][:3]
    assert [row["objectId"] for row in rows] == embedded.object_id[wanted].tolist()


def test_the_command_says_why_a_source_has_no_neighbours(root: Path, embedded: Embedded) -> None:
    done = CliRunner().invoke(app, ["neighbours", str(root), str(embedded.object_id[10])])
    assert "has no embedding: nothing could be seen of it" in str(done.exception)
    done = CliRunner().invoke(app, ["neighbours", str(root), "7"])
    assert "source 7 is in no tile" in str(done.exception)
