"""Three overlapping classes in four features, some not measured."""

from __future__ import annotations

import numpy as np
import pytest

from skymill.models import Examples


def draw(n: int, seed: int) -> Examples:
    generator = np.random.default_rng(seed)
    labels = generator.choice(3, size=n, p=[0.5, 0.3, 0.2])
    centres = np.array([[20.0, 0.5, 0.2, 1.0], [21.0, 1.5, 0.8, 2.0], [19.0, 0.1, 0.1, 0.5]])
    features = (centres[labels] + generator.normal(scale=0.4, size=(n, 4))).astype(np.float32)
    features[generator.random((n, 4)) < 0.03] = np.nan
    features[generator.random((n, 4)) < 0.01] = np.inf
    return Examples(features, labels.astype(np.int64), np.ones(n, dtype=np.float32), 3)


@pytest.fixture(scope="session")
def train() -> Examples:
    return draw(1500, seed=1)


@pytest.fixture(scope="session")
def validation() -> Examples:
    return draw(500, seed=2)
