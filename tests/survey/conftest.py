"""Small tables and the maps of their columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skymill.config import SurveyConfig, load_survey


@pytest.fixture
def survey_config() -> Callable[..., SurveyConfig]:
    """Make the configuration of a survey in two bands; keyword arguments replace or add keys."""

    def make(path: Path | str = "table.parquet", **keys: Any) -> SurveyConfig:
        content: dict[str, Any] = {
            "name": "small",
            "format": "parquet",
            "path": str(path),
            "bands": ["g", "r"],
            "id": {"column": "id"},
            "ra": {"column": "ra", "unit": "deg"},
            "dec": {"column": "dec", "unit": "deg"},
            "photometry": {"psfFlux": {"column": "{band}_flux", "error": "{band}_fluxErr", "unit": "nJy"}},
            "values": {"size": {"column": "size", "unit": "arcsec"}},
            "extinction": {"column": "ebv", "coefficients": {"g": 3.65, "r": 2.7}},
        }
        content.update(keys)
        return load_survey({key: value for key, value in content.items() if value is not None})

    return make


@pytest.fixture
def columns() -> Callable[[int], dict[str, np.ndarray]]:
    """Make a sound table with every column that `survey_config` maps."""

    def make(n_rows: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(n_rows)
        table: dict[str, np.ndarray] = {
            "id": 2**60 + np.arange(n_rows),
            "ra": rng.uniform(0, 360, n_rows),
            "dec": rng.uniform(-90, 90, n_rows),
            "size": rng.uniform(1, 2, n_rows).astype("f4"),
            "ebv": rng.uniform(0, 1, n_rows).astype("f4"),
        }
        for band in "gr":
            table[f"{band}_flux"] = rng.uniform(10, 1e5, n_rows).astype("f4")
            table[f"{band}_fluxErr"] = rng.uniform(1, 10, n_rows).astype("f4")
        return table

    return make
