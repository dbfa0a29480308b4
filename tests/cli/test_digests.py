"""Which edits of the code make which tiles again: those that decide their bytes, and no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from skymill.config import SurveyConfig
from skymill.config.images import ImageFile, ImageSettings
from skymill.features.plan import KERNEL
from skymill.inference.settings import KERNELS, modules
from skymill.store.algorithm import ROOT, algorithm_digest
from skymill.survey.readers.tables import MODULES
from skymill.tiling import settings as tiling

IMAGES = SurveyConfig(
    name="pictures",
    format="images",
    path="images",
    bands=["g", "r"],
    images=ImageSettings(layout="fits", image=ImageFile(file="{band}-{tile}.fits"), psf_fwhm_arcsec=0.8),
)
READERS = tuple(dict.fromkeys(MODULES.values()))
STAGES = {
    "parts": (*tiling.GATE, *READERS, *tiling.PART),
    "sources": (*tiling.GATE, *READERS, *tiling.PLAN, *tiling.TILE),
    "source tile": tiling.TILE,
    "features": KERNEL,
    "inference": KERNELS,
    "stamps": modules(IMAGES),
}
SOURCE_TILES = {"sources", "source tile"}
INFERENCE = {"inference", "stamps"}
ALL_TILES = {*SOURCE_TILES, "features", *INFERENCE}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code, to edit."""
    root = tmp_path_factory.mktemp("src")
    shutil.copytree(ROOT / "skymill", root / "skymill", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def digests(root: Path) -> dict[str, str]:
    return {name: algorithm_digest(1, modules, root=root) for name, modules in STAGES.items()}


@pytest.mark.parametrize(
    ("file", "old", "new", "stages"),
    [
        ("inference/form.py", 'block["flags"] | scores.flags', "scores.flags", INFERENCE),
        ("inference/form.py", "present.index(name) for name in wanted", "present.index(wanted[0])", INFERENCE),
        ("features/kernel.py", 'flags | block["flags"]', "flags", {"features"}),
        ("tiling/settling.py", "np.union1d(elsewhere, two_faced)", "two_faced", SOURCE_TILES),
        ("tiling/settling.py", 'self.rows["flags"][self.kept]', 'self.rows["flags"]', SOURCE_TILES),
        ("tiling/settling.py", "self.rows[some][self.kept[some]]", "self.rows[some]", SOURCE_TILES),
        ("store/flags.py", "odd = flags[flags != 0]", "odd = flags", {"features", *INFERENCE}),
        ("inference/looks.py", "batch.coverage_frac == 0", "batch.coverage_frac <= 0", {"stamps"}),
        ("features/source_tile.py", "inverse_variance[holed] > 0", "inverse_variance[holed] > 1", {"stamps"}),
        ("survey/images/cutting.py", "np.floor(position + 0.5)", "np.floor(position)", {"stamps"}),
        ("survey/images/gate.py", "band.pixels[strip])] = 0.0", "band.pixels[strip])] = 1.0", {"stamps"}),
        ("survey/images/fits_layout.py", '"mask")\n    return planes_of', '"bits")\n    return planes_of', {"stamps"}),
        ("store/chunk.py", "ZSTD_LEVEL = 1", "ZSTD_LEVEL = 5", ALL_TILES),
        ("store/encode.py", "FORMAT = 1", "FORMAT = 2", ALL_TILES),
        ("survey/gate.py", "row += len", "row += 1 + len", {"parts", "sources"}),
        ("sky/healpix.py", "healpix29 >> 2", "healpix29 >> 1", {"parts", "sources"}),
    ],
)
def test_code_that_decides_a_tile_is_a_part_of_its_key(
    copy: Path, file: str, old: str, new: str, stages: set[str]
) -> None:
    assert stages <= changed_by(copy, file, old, new)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("store/durable.py", "FOREIGN_AGE = 24 ", "FOREIGN_AGE = 48 "),
        ("store/paths.py", '"quarantine.parquet"', '"failures.parquet"'),
        ("store/writer.py", "left without commit()", "left too early"),
        ("tiling/files.py", "a cache: the sorted rows", "the sorted rows"),
        ("config/survey.py", "rows: int = Field(200_000", "rows: int = Field(300_000"),
        ("sky/cone.py", "PIXELS_PER_RADIUS = 8", "PIXELS_PER_RADIUS = 9"),
        ("compute/group.py", "SHOWN_FAILURES = 10", "SHOWN_FAILURES = 11"),
    ],
)
def test_code_that_decides_no_tile_makes_none_again(copy: Path, file: str, old: str, new: str) -> None:
    assert changed_by(copy, file, old, new) == set()


def changed_by(root: Path, file: str, old: str, new: str) -> set[str]:
    """Name the stages whose digest an edit changes; the edit is taken back."""
    path, before = root / "skymill" / file, digests(root)
    content = path.read_text()
    assert content.count(old) == 1
    try:
        path.write_text(content.replace(old, new))
        return {name for name, digest in digests(root).items() if digest != before[name]}
    finally:
        path.write_text(content)
