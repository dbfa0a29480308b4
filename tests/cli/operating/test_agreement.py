"""What `skymill status` says agrees with what `snakemake -n` would run, after each kind of change."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import changes
import pytest
from snakemake_run import Checkout, environment, run

from skymill.cli.operating.status import read_status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


CHANGES: list[tuple[Callable[[Path], None], str, str]] = [
    (changes.nothing, "", ""),
    (changes.label, "training_set", "labels: labels.parquet has changed"),
    (changes.pinned_label, "training_set", "labels: labels.parquet has changed"),
    (changes.input_file, "tiling_plan", "data: wrap.parquet has changed"),
    (changes.model, "training_fit forest", "model: settings.trees 10 is now 12"),
    (changes.baseline, "training_fit baseline", "missing: not made yet"),
    (changes.inference_setting, "inference_run mlp", "settings: inference.block_rows 2048 is now 1024"),
    (changes.feature_setting, "features_compute", "settings: features.extinction"),
    (changes.tile_setting, "tiling_plan", "settings: tiling.max_rows 1500 is now 1000"),
    (changes.parity_limit, "export_onnx mlp", "model: parity.max_flip_rate 0.001 is now 0.01"),
    (changes.lost_manifest, "features_compute", "missing: it is gone"),
    (changes.lost_tile, "", ""),
    (changes.depth_map, "report_page", "maps: depth_i.path is new"),
    (changes.lost_report, "report_page", "missing: it is gone"),
    (changes.lost_card, "training_shift forest", "missing: results/training/shift/forest/card.md is gone"),
    (changes.lost_model_page, "report_page", "missing: results/report/model-mlp.html is gone"),
    (changes.quarantined_tile, "training_set", "inputs: results/catalogues/features/groups"),
]


@pytest.mark.parametrize(("change", "where", "why"), CHANGES, ids=[change.__name__ for change, _, _ in CHANGES])
def test_status_lists_what_snakemake_would_run_and_names_the_ingredient(folder, code, workflow, change, where, why):
    change(folder)
    status, planned = read_status(workflow()).as_dict(), run(folder, "-n", checkout=code).jobs
    assert Counter(status["listed"]) == planned
    assert status["done"] == (not planned)
    causes = {
        f"{stage['rule']} {stage['subject']}".strip(): words
        for stage in status["stages"]
        for words in stage["reasons"]
        if not words.startswith("follows from")
    }
    assert any(name.startswith(where) for name in causes) or not where
    assert all(why in words for words in causes.values()), causes
    assert bool(causes) == bool(where)


def test_changed_code_is_named_by_its_module(folder, tmp_path, code):
    own = Checkout.copy(tmp_path / "code")
    own.edit("src/skymill/features/kernel.py", "from __future__ import annotations\n", EDITED)
    status = _status(folder, own)
    assert Counter(status["listed"]) == run(folder, "-n", checkout=own).jobs
    stage = next(stage for stage in status["stages"] if stage["rule"] == "features_compute")
    assert stage["reasons"] == {"code: skymill.features.kernel has changed": 2}
    assert stage["stale"] == 2


EDITED = "from __future__ import annotations\n\nA_CHANGE = 1\n"


def test_a_comment_changes_nothing(folder, tmp_path):
    own = Checkout.copy(tmp_path / "code")
    own.edit("src/skymill/features/kernel.py", "from __future__ import annotations\n", f"{EDITED[:35]}# a remark\n")
    assert _status(folder, own)["done"]


def test_after_the_run_that_it_announced_nothing_is_left(folder, code):
    changes.inference_setting(folder)
    listed = _status(folder, code)["listed"]
    assert Counter(listed) == run(folder, checkout=code).jobs
    status = _status(folder, code)
    assert status["done"]
    assert {item["state"] for item in status["catalogues"]} == {"done"}


def _status(folder: Path, code: Checkout) -> dict:
    """Ask as a user does, with the code that the workflow uses."""
    program = "from skymill.cli.main import main; main()"
    command = [sys.executable, "-c", program, "status", "--configfile", "config.yaml", "--json"]
    done = subprocess.run(command, cwd=folder, env=environment(code), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    status = json.loads(done.stdout)
    assert done.returncode == (0 if status["done"] else 3)
    return status
