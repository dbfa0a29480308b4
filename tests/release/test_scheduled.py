"""Publishing as the last job of a workflow: once for what is new, and found again by a job that was killed."""

from __future__ import annotations

import json

import pytest
from answers import Answers, make_run, other_answers

from skymill.config.run import GateSettings
from skymill.release import ReleaseError, Releases, compared, publish_if_new, rollback
from skymill.release.scheduled import begin, end, read_summary
from skymill.report.diffing import diff_page

N = 1500


@pytest.fixture
def answers() -> Answers:
    return Answers.draw(N, seed=1)


def _publish(content, name, compute):
    return publish_if_new(content, name, gate=GateSettings(flip_rate=None), page=diff_page, compute=compute)


def test_what_is_not_new_is_not_published(tmp_path, answers, compute):
    content = make_run(tmp_path / "results", answers)
    assert _publish(content, "DR1", compute)["status"] == "published"
    assert _publish(content, "DR2", compute)["status"] == "unchanged"
    assert Releases(content.run).names() == ["DR1"]
    changed = make_run(content.run, other_answers(answers, 0.1))
    assert _publish(changed, "DR2", compute)["status"] == "published"
    assert _publish(content, "DR2", compute) | {"time": 0} == read_summary(content.run) | {"time": 0}, (
        "killed, begun again"
    )
    rollback(content.run, "DR1", reason="DR2 was wrong")
    assert _publish(content, "DR3", compute)["status"] == "unchanged", "nobody goes forward again by himself"
    assert Releases(content.run).current == "DR1"
    make_run(content.run, other_answers(answers, 0.2))
    with pytest.raises(ReleaseError, match="release 'DR1': it is there since"):
        _publish(content, "DR1", compute)


def test_the_summary_says_how_it_ended(tmp_path):
    begin(tmp_path, "DR1")
    assert read_summary(tmp_path)["status"] == "running"
    told = tmp_path / "told.json"
    copy = ["python", "-c", f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read())"]
    assert end(tmp_path, "DR1", succeeded=False, notify=copy) == "failed"
    assert json.loads(told.read_text()) == read_summary(tmp_path)


def test_a_command_that_fails_is_a_warning(tmp_path, caplog):
    begin(tmp_path, "DR1")
    assert end(tmp_path, "DR1", succeeded=True, notify=["/no/such/command", "; touch x"]) == "not published"
    assert "release.notify: /no/such/command" in caplog.text


def test_releases_are_compared_model_by_model(tmp_path, answers, compute):
    content = make_run(tmp_path / "results", answers)
    _publish(content, "DR1", compute)
    _publish(make_run(content.run, other_answers(answers, 0.1)), "DR2", compute)
    first, second = (content.run / "releases" / name for name in ("DR1", "DR2"))
    [sides] = compared("DR1", "DR2", content.run)
    assert sides.name == "mlp"
    assert sides.before == f"{first}/catalogues/mlp"
    assert sides.features == (f"{first}/catalogues/features", f"{second}/catalogues/features")
    assert list(compared(str(first), str(second), "elsewhere")) == [sides]
    versions = [f"{each}/catalogues/mlp" for each in (first, second)]
    assert [side.name for side in compared(*versions, "elsewhere")] == [""]
    with pytest.raises(ReleaseError, match="one of each"):
        list(compared("DR1", versions[1], content.run))
