"""Publishing, the gate, going back: nobody ever sees half a release."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from answers import Answers, make_run, other_answers, write_answers

from skymill.compute import GroupLockedError
from skymill.config.run import GateSettings
from skymill.release import (
    Content,
    GateError,
    Override,
    ReleaseError,
    Releases,
    publish,
    publish_if_new,
    rollback,
    verify,
    verify_release,
)
from skymill.release.history import write_history
from skymill.report.diffing import diff_page
from skymill.store import StoreError, open_catalogue
from skymill.store.inventory import inventory

N = 1500


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Path, Answers]:
    """A run published as DR1, which tests copy."""
    folder = tmp_path_factory.mktemp("first") / "results"
    answers = Answers.draw(N, seed=1)
    publish(make_run(folder, answers), "DR1", gate=GateSettings(), page=diff_page)
    return folder, answers


@pytest.fixture
def run(first, tmp_path) -> tuple[Path, Answers]:
    folder, answers = first
    shutil.copytree(folder, tmp_path / "results", symlinks=True)
    return tmp_path / "results", answers


def release(folder: Path, answers: Answers, name: str, compute, **options) -> dict:
    settings = {"gate": GateSettings(), "page": diff_page, "compute": compute, **options}
    return publish(make_run(folder, answers), name, **settings)


def values(location: Path) -> np.ndarray:
    return open_catalogue(location).to_xarray(["probabilities"])["probabilities"].to_numpy()


def test_a_release_holds_versions_models_and_how_it_passed(run):
    folder, _ = run
    releases = Releases(folder)
    told = releases.read("DR1")
    assert (releases.names(), releases.current, told["previous"]) == (["DR1"], "DR1", None)
    assert told["catalogues"]["mlp"]["version"] == open_catalogue(folder / "catalogues" / "mlp").version
    assert told["configuration"] == {"name": "test"} and told["gate"]["kept"]
    documents = {"ro-crate-metadata.json", "prov.json", "CITATION.cff", "datacite.json"}
    assert set(told["files"]) - documents == {"gate.json", "models/mlp/manifest.json", "models/mlp/model.onnx"}
    assert all(path.stat().st_mode & 0o222 == 0 for path in inventory(folder / "releases" / "DR1")[0].values())
    assert [(line["action"], line["current"]) for line in releases.history()] == [("published", "DR1")]
    assert len(open_catalogue(folder / "releases" / "current" / "catalogues" / "mlp")) == N


def test_who_opened_a_release_keeps_reading_it(run, compute):
    folder, answers = run
    current = folder / "releases" / "current" / "catalogues" / "mlp"
    opened, before = open_catalogue(current), values(current)
    release(folder, other_answers(answers, 0.05), "DR2", compute)
    assert not np.array_equal(values(current), before, equal_nan=True)
    assert np.array_equal(opened.to_xarray(["probabilities"])["probabilities"].to_numpy(), before, equal_nan=True)
    rollback(folder)
    assert np.array_equal(values(current), before, equal_nan=True)


def test_a_release_says_what_moved_since_the_one_before(run, compute):
    folder, answers = run
    told = release(folder, other_answers(answers, 0.05), "DR2", compute)
    diff = json.loads((folder / "releases" / "DR2" / "diff" / "mlp" / "diff.json").read_text())
    assert told["previous"] == "DR1" and diff["before"]["version"] != diff["after"]["version"]
    rule = next(rule for rule in told["gate"]["rules"] if rule["rule"] == "flip_rate")
    assert 0 < rule["found"] == diff["flips"]["count"] / N < rule["limit"]
    assert "diff/mlp/index.html" in told["files"] and not any("staging" in name for name in told["files"])
    assert verify_release(folder, "DR2").ok and verify_release(folder, "DR1").ok


def test_the_gate_refuses_and_nothing_is_published(run, compute):
    folder, answers = run
    with pytest.raises(GateError, match=r"mlp: flip_rate is 0\.\d+, the limit is 0\.1; source \d{19} was .* is "):
        release(folder, other_answers(answers, 0.5), "DR2", compute)
    releases = Releases(folder)
    assert (releases.names(), releases.current, len(releases.history())) == (["DR1"], "DR1", 1)
    assert list((folder / "releases" / ".staging").iterdir()) == []


def test_an_override_is_kept_with_its_author(run, compute):
    folder, answers = run
    by = Override("the old model was wrong", "Vera")
    told = release(folder, other_answers(answers, 0.5), "DR2", compute, override=by)
    kept = {"reason": "the old model was wrong", "author": "Vera"}
    assert told["gate"]["override"] == kept and not told["gate"]["kept"]
    assert Releases(folder).history()[-1]["override"] == kept
    # Where nothing is to be overridden, nothing is said to have been.
    again = release(folder, other_answers(answers, 0.5), "DR3", compute, override=by)
    assert again["gate"]["override"] is None and again["gate"]["kept"]


def test_back_and_forward_again(run, compute):
    folder, answers = run
    release(folder, other_answers(answers, 0.05), "DR2", compute)
    releases = Releases(folder)
    assert rollback(folder, reason="stars went missing") == "DR1" == releases.current
    with pytest.raises(ReleaseError, match="no earlier release to go back to; name one of: DR1, DR2"):
        rollback(folder)
    assert rollback(folder, "DR2") == "DR2" == releases.current
    actions = [(line["action"], line["current"]) for line in releases.history()]
    assert actions == [("published", "DR1"), ("published", "DR2"), ("rolled back", "DR1"), ("rolled back", "DR2")]
    assert releases.history()[2]["reason"] == "stars went missing"


@pytest.mark.parametrize(
    "name", ["../DR2", "a/b", ".hidden", "", "current", "history.jsonl", "DR 2", "-x", "x" * 65, "a\n"]
)
def test_a_name_that_is_no_folders_is_refused(run, name, compute):
    folder, answers = run
    with pytest.raises(ReleaseError, match="expected a name of up to 64 letters"):
        release(folder, answers, name, compute)


def test_a_name_is_used_once(run, compute):
    folder, answers = run
    with pytest.raises(ReleaseError, match=r"'DR1': it is there since \d{4}-\d\d-\d\dT.*; choose another name"):
        release(folder, answers, "DR1", compute)


def test_an_unknown_release_is_told_from_the_known_ones(run):
    folder, _ = run
    with pytest.raises(ReleaseError, match=r"release 'DR9': not found in .*; there are: DR1"):
        rollback(folder, "DR9")


def test_a_second_committer_is_kept_out(run, compute):
    folder, answers = run
    with Releases(folder).committing(), pytest.raises(GroupLockedError):
        release(folder, answers, "DR2", compute)


def test_a_change_that_nobody_noted_is_noted_by_the_next(run, compute):
    folder, answers = run
    release(folder, other_answers(answers, 0.05), "DR2", compute)
    Releases(folder).point("DR1")  # as one does who is killed before the note
    release(folder, answers, "DR3", compute)
    assert [line["action"] for line in Releases(folder).history()][-2:] == ["settled", "published"]


@pytest.mark.parametrize("change", ["flip", "line lost", "end lost", "line added", "lines swapped"])
def test_a_history_that_was_changed_is_found_and_nothing_is_built_on_it(run, change):
    folder, _ = run
    rollback(folder, "DR1")
    history = folder / "releases" / "history.jsonl"
    first, second, end = history.read_bytes().splitlines(keepends=True)
    changed = {
        "flip": [first, second.replace(b"kept", b"kepu"), end],
        "line lost": [first, end],
        "end lost": [first, second],
        "line added": [first, second, second, end],
        "lines swapped": [second, first, end],
    }
    history.write_bytes(b"".join(changed[change]))
    with pytest.raises(StoreError, match=rf"{history}: .*line.*; restore it from a backup, or move it away"):
        rollback(folder, "DR1")
    [problem] = [problem for problem in verify(folder).problems if history == problem.path]
    assert problem.kind == "corrupt"
    history.rename(folder / "old.jsonl")
    rollback(folder, "DR1")
    assert [line["action"] for line in Releases(folder).history()] == ["settled", "kept"]


@pytest.mark.parametrize("target", [None, "DR7"])
def test_nothing_is_published_uncompared_because_current_is_lost(run, compute, target):
    folder, answers = run
    current = folder / "releases" / "current"
    current.unlink()
    if target:
        current.symlink_to(target)
    [problem] = [problem for problem in verify(folder).problems if problem.path == current]
    assert problem.mend.startswith("run `skymill release rollback DR1`")
    with pytest.raises(ReleaseError, match=r"current: expected a link to a release, found .*rollback NAME.*: DR1"):
        release(folder, answers, "DR2", compute)
    rollback(folder, "DR1")
    assert [line["action"] for line in Releases(folder).history()] == ["published", "rolled back"]
    assert not [problem for problem in verify(folder).problems if problem.path == current]


def test_what_was_killed_before_it_became_current_is_finished_by_doing_it_again(run, compute):
    folder, answers = run
    content = make_run(folder, other_answers(answers, 0.05))
    told = publish(content, "DR2", gate=GateSettings(), page=diff_page, compute=compute)
    before = Releases(folder).history()[:1]
    Releases(folder).point("DR1")  # and no line says otherwise: as one leaves it who is killed before the last rename
    write_history(folder / "releases" / "history.jsonl", before)
    again = publish_if_new(content, "DR2", gate=GateSettings(), page=diff_page, compute=compute)
    assert (again["status"], again["current"]) == ("published", "DR2")
    assert Releases(folder).read("DR2")["time"] == told["time"]
    assert [(line["action"], line["current"]) for line in Releases(folder).history()][1:] == [("published", "DR2")]
    rollback(folder, "DR1")
    write_history(folder / "releases" / "history.jsonl", before)
    with pytest.raises(
        ReleaseError, match=r"'DR2': it was made on .* of other versions.*`skymill release rollback DR2`"
    ):
        release(folder, answers, "DR2", compute)


def test_catalogues_of_different_surveys_are_not_published_together(run, compute):
    folder, answers = run
    write_answers(folder / "elsewhere" / "mlp", answers[:100])
    shutil.rmtree(folder / "catalogues" / "features")
    shutil.move(folder / "elsewhere" / "features", folder / "catalogues" / "features")
    content = Content(folder, ["features", "mlp"], ["mlp"])
    with pytest.raises(ReleaseError, match=r"the same rows \(features 100, mlp 1,500\); run snakemake"):
        publish(content, "DR2", gate=GateSettings(), page=diff_page, compute=compute)


def test_every_changed_file_of_a_release_is_found_and_named(run):
    folder, _ = run
    root = folder / "releases" / "DR1"
    rng = np.random.default_rng(2)
    for path in sorted(inventory(root)[0].values()):
        content = path.read_bytes()
        path.chmod(0o644)
        for change in ("flip", "cut", "delete"):
            spoilt = bytearray(content)
            spoilt[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
            path.unlink()
            if change != "delete":
                path.write_bytes(spoilt if change == "flip" else content[: len(content) // 2])
            for report in (verify_release(folder, "DR1"), verify(folder)):
                [problem] = [problem for problem in report.problems if root in problem.path.parents]
                assert problem.path == path, change
                assert "publish the same versions under another name" in problem.mend
            path.write_bytes(content)
    assert verify_release(folder, "DR1").ok


def test_links_that_lead_astray_and_files_too_many_are_found(run, compute):
    folder, answers = run
    release(folder, other_answers(answers, 0.05), "DR2", compute)
    link = folder / "releases" / "DR1" / "catalogues" / "mlp"
    good = link.readlink()
    other = (folder / "releases" / "DR2" / "catalogues" / "mlp").readlink()
    for wrong in (other, Path("/etc")):
        link.unlink()
        link.symlink_to(wrong)
        [problem] = verify_release(folder, "DR1").problems
        assert (problem.path, problem.kind) == (link, "wrong") and problem.mend == f"make it a link to {good} again"
    link.unlink()
    assert [problem.kind for problem in verify_release(folder, "DR1").problems] == ["missing"]
    link.symlink_to(good)
    (folder / "releases" / "DR1" / "more.txt").write_text("?")
    report = verify_release(folder, "DR1")
    assert report.ok and [path.name for path in report.extra] == ["more.txt"]
