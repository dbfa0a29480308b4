"""What tests of measuring share."""

from __future__ import annotations

import pytest

from skymill.config.images import MeasureSettings


@pytest.fixture(scope="session")
def settings() -> MeasureSettings:
    return MeasureSettings()
