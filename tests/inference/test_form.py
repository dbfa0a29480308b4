"""The columns of classification tiles: their descriptions, and those that tell votes."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io.votable.ucd import parse_ucd
from scipy import stats

from skymill.inference.form import tile_form, tile_rows
from skymill.inference.kernel import MODEL_FAILED, Answer, judge
from skymill.store.variable import IDENTITY, Variable

QUESTIONS = {"shape": ["smooth", "featured"], "arms": ["one", "two", "more"]}
CONCENTRATIONS = np.array([[6.0, 2.0, 1.0, 1.0, 2.0], [0.5, 0.5, 3.0, 3.0, 3.0], [np.nan] * 5, [-1.0, 2, 1, 1, 1]])


@pytest.fixture
def identity() -> dict[str, Variable]:
    kinds = {"objectId": np.int64, "_healpix_29": np.int64, "coord_ra": np.float64, "coord_dec": np.float64}
    form = {name: Variable.of_rows(kinds.get(name, np.int32)) for name in IDENTITY}
    return form | {"flags": Variable.of_rows(np.int32, flag_masks=[1], flag_meanings="edge")}


def rows() -> dict[str, np.ndarray]:
    n = len(CONCENTRATIONS)
    probabilities = np.tile(np.float32([0.7, 0.3]), (n, 1))
    scores = judge(Answer(probabilities, votes=CONCENTRATIONS.astype(np.float32)), np.zeros(n, np.int32))
    return tile_rows({name: np.zeros(n, np.int32) for name in IDENTITY}, scores, QUESTIONS)


def test_fractions_and_errors_are_those_of_the_dirichlet_distributions() -> None:
    found = rows()
    for row in range(2):
        for question, some in (("shape", slice(2)), ("arms", slice(2, 5))):
            alpha = CONCENTRATIONS[row, some]
            for number, answer in enumerate(QUESTIONS[question]):
                wanted = stats.dirichlet(alpha)
                assert found[f"{question}_{answer}_fraction"][row] == pytest.approx(wanted.mean()[number])
                error = found[f"{question}_{answer}_fraction_err"][row]
                assert error == pytest.approx(np.sqrt(wanted.var()[number]))
            assert found[f"{question}_concentration"][row] == pytest.approx(alpha.sum())


def test_a_row_whose_votes_are_no_concentrations_has_no_answer_at_all() -> None:
    found = rows()
    assert (found["flags"] & MODEL_FAILED.mask != 0).tolist() == [False, False, True, True]
    assert found["class"].tolist() == [0, 0, -1, -1]
    for name in ("probabilities", "entropy", "shape_smooth_fraction", "arms_more_fraction_err", "arms_concentration"):
        assert np.isnan(found[name][2:]).all() and np.isfinite(found[name][:2]).all()


def test_what_is_written_is_what_is_described_in_words_of_the_vocabulary(identity: dict[str, Variable]) -> None:
    form = tile_form(identity, ("A", "B"), distance=True, disagreement=True, embedding=4, questions=QUESTIONS)
    assert set(rows()) <= set(form)
    for variable in form.values():
        if "ucd" in variable.attrs:
            parse_ucd(str(variable.attrs["ucd"]), check_controlled_vocabulary=True)
