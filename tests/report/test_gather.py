"""Sources of the test split are found where they lie, whatever their order."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skymill.report.gather import places_of
from skymill.sky import at_order, order29

IDS = 2**60 + np.arange(9)


@pytest.fixture
def set_path(tmp_path):
    """A training set whose rows are in no order; every third is of the test split."""
    places = order29(np.linspace(0, 350, 9), np.linspace(-80, 80, 9))
    shuffled = np.random.default_rng(4).permutation(9)
    split = np.array(["test", "train", "validation"])[np.arange(9) % 3]
    columns = {"objectId": IDS[shuffled], "_healpix_29": places[shuffled], "split": split[shuffled]}
    about = {"skymill": json.dumps({"split": {"order": 6}})}
    pq.write_table(pa.table(columns).replace_schema_metadata(about), tmp_path / "set.parquet")
    return tmp_path / "set.parquet"


def test_each_source_has_its_place_and_block(set_path):
    wanted = IDS[[6, 0]]
    expected = order29(np.linspace(0, 350, 9), np.linspace(-80, 80, 9))[[6, 0]]
    places, blocks = places_of(wanted, set_path)
    assert places.tolist() == expected.tolist()
    assert blocks.tolist() == at_order(expected, 6).tolist()


@pytest.mark.parametrize("strange", [IDS[1], IDS[8] + 5])
def test_a_source_outside_of_the_test_split_is_refused(set_path, strange):
    with pytest.raises(ValueError, match=f"set.parquet: source {strange} of a model's predictions is not in it"):
        places_of(np.array([IDS[0], strange]), set_path)
