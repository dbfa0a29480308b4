"""`skymill config check` finds what would only fail hours into a run; the Snakefile finds what needs no table."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import image_files
import pytest
from segmenters import write_segmenter
from snakemake_run import run
from stamp_models import SIZE, write_stamp_model
from survey_files import write_survey, write_yaml
from typer.testing import CliRunner

from skymill.cli.chain import Chain
from skymill.cli.main import app
from skymill.config import ConfigError, read_yaml


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that is right, in the working directory."""
    write_survey(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(file: str, key: str, value: Any) -> None:
    """Set a key, given with dots, in one of the run's files."""
    content = read_yaml(file)
    *blocks, last = key.split(".")
    block = content
    for name in blocks:
        block = block.setdefault(name, {})
    block[last] = value
    write_yaml(Path(file), content)


def check() -> str:
    """What `skymill config check` finds, on one line."""
    result = CliRunner().invoke(app, ["config", "check", "config.yaml"])
    if result.exception is None:
        return result.output
    assert isinstance(result.exception, ValueError), result.exception
    return str(result.exception)


@pytest.mark.parametrize("member", ["gone", "pool"], ids=["not in the run", "itself an ensemble"])
def test_members_of_an_ensemble_are_models_fitted_in_the_run(member: str):
    write_yaml(Path("pool.yaml"), {"name": "pool", "kind": "ensemble", "settings": {"members": ["mlp", member]}})
    change("config.yaml", "models", ["mlp.yaml", "forest.yaml", "pool.yaml"])
    message = rf"pool\.yaml: settings\.members: '{member}' is no model fitted in this run, .* choose from mlp, forest"
    assert re.search(message, check())
    with pytest.raises(ValueError, match=message):
        Chain.from_config(read_yaml("config.yaml"))


def test_an_ensemble_is_made_of_no_model_that_looks_at_pixels():
    write_yaml(Path("looker.yaml"), {"name": "looker", "kind": "cnn", "stamps": {"size_px": 8}})
    write_yaml(Path("pool.yaml"), {"name": "pool", "kind": "ensemble", "settings": {"members": ["mlp", "looker"]}})
    change("config.yaml", "models", ["mlp.yaml", "looker.yaml", "pool.yaml"])
    assert re.search(r"pool\.yaml: settings\.members: 'looker' looks at pixels, an ensemble at features", check())


def test_a_right_run_is_right_and_says_what_was_opened():
    assert "run 'patches' is right" in check()
    assert "headers were opened" in check()


NEEDS_NO_TABLE = [
    ("survey.yaml", "path", "tables_gone", "tables_gone: no such file or folder"),
    ("config.yaml", "labels.path", "gone.parquet", r"labels\.path: gone\.parquet: no such file"),
    ("config.yaml", "output", "labels.parquet/results", r"labels\.parquet is a file; name a folder"),
    ("config.yaml", "compute.memory_per_worker", "lots", r"memory_per_worker: value 'lots'.*'3GB'"),
    ("config.yaml", "features.softening_nJy", {"q": 3}, r"features\.softening_nJy: bands u, g, r, i, z, y"),
    ("config.yaml", "tiling.lowest_order", 9, "lowest_order <= highest_order"),
    ("forest.yaml", "features", ["photometry"], r"forest\.yaml: features photometry.*did you mean 'photometric'"),
    ("forest.yaml", "features", ["missing"], r"forest\.yaml: features missing: none of them measures"),
    ("forest.yaml", "name", "sources", r"forest\.yaml: name: 'sources' is a catalogue of skymill's own"),
    ("forest.yaml", "name", "mlp", "two models are named 'mlp'"),
    ("forest.yaml", "kind", "forrest", r"forest\.yaml: kind.*'forrest'.*known: .*forest, .*mlp"),
    ("survey.yaml", "bands", ["u", "g", "g"], "each band may stand only once"),
    ("survey.yaml", "photometry.psfFlux.ab_offset", {"u": 0.04}, "unit 'nJy' is absolute"),
]
NEEDS_NO_TABLE += [
    ("config.yaml", "splitt", {}, r"config\.yaml: splitt: unknown key.*did you mean 'split'"),
    ("config.yaml", "labels.column", None, r"config\.yaml: labels\.column"),
    ("forest.yaml", "settings", {"maxdepth": 3}, r"forest\.yaml: settings: maxdepth: unknown key"),
    (
        "survey.yaml",
        "id",
        "objectId",
        r"survey\.yaml: id: value 'objectId': expected a block; its keys: column",
    ),
    ("survey.yaml", "path", None, r"survey\.yaml: format 'parquet' needs path"),
    ("survey.yaml", "path", "gone", r"survey\.yaml: path: gone: no such file"),
    (
        "survey.yaml",
        "maps.depth_i",
        {"path": "gone", "unit": "mag"},
        r"survey\.yaml: maps\.depth_i\.path: gone: no such",
    ),
    ("survey.yaml", "maps.depth_i", {"path": ".", "unit": "nJy"}, r"depth_i: expected a unit like mag, found 'nJy'"),
    ("survey.yaml", "maps.depth_q", {"path": ".", "unit": "mag"}, r"maps\.depth_q: 'q' is no band .* depth_<one of"),
    ("survey.yaml", "maps.depth_i", {"path": "$" + "{NOT_SET}/x", "unit": "mag"}, r"the variable NOT_SET is not set"),
    ("config.yaml", "features.colour_flux", "gone", r"config\.yaml: features\.colour_flux: value 'gone'"),
]
NEEDS_THE_TABLES = [
    ("survey.yaml", "maps.depth_i", {"path": "survey.yaml", "unit": "mag"}, r"survey\.yaml: no FITS file with a table"),
    ("survey.yaml", "id.column", "objectid", r"'objectid' \(similar: objectId\)"),
    ("survey.yaml", "photometry.psfFlux.column", "{band}_psfFlx", r"'u_psfFlx' \(similar: u_psfFlux"),
    ("survey.yaml", "format", "fits", "correct `path` or `format`"),
    ("config.yaml", "labels.column", "klass", r"'klass'.*correct labels\.column or labels\.id.*has objectId, class"),
    ("config.yaml", "labels.id.column", "objectid", r"'objectid' \(similar: objectId\); correct labels\."),
    ("survey.yaml", "ra.column", "ra", r"'ra'.*column map in survey\.yaml; the table has objectId, coord_ra"),
    ("config.yaml", "labels.format", "fits", "correct `format`"),
    ("config.yaml", "labels.classes", ["GALAXY", "QUASAR", "STAR"], r"class QUASAR .*QSO \([\d,]+\).*labels\.classes"),
]


@pytest.mark.parametrize(("file", "key", "value", "message"), NEEDS_NO_TABLE + NEEDS_THE_TABLES)
def test_check_finds(file: str, key: str, value: Any, message: str):
    change(file, key, value)
    said = check()
    assert "is right" not in said
    assert re.search(message, said), said


@pytest.mark.parametrize(("file", "key", "value", "message"), NEEDS_NO_TABLE)
def test_the_snakefile_finds(file: str, key: str, value: Any, message: str):
    change(file, key, value)
    with pytest.raises(ValueError, match=message):
        Chain.from_config(read_yaml("config.yaml"), ["config.yaml"])


def test_a_key_that_stands_twice_is_refused(folder: Path):
    for file in ("config.yaml", "survey.yaml", "forest.yaml"):
        before = (folder / file).read_text()
        (folder / file).write_text(before + "name: other\n")
        assert re.search(rf"{file}: not valid YAML: the key 'name' stands twice", check())
        (folder / file).write_text(before)


def test_a_key_that_stands_twice_is_seen_behind_snakemake_too(folder: Path):
    content = read_yaml("config.yaml")
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text() + "name: other\n")
    with pytest.raises(ConfigError, match=r"config\.yaml: not valid YAML: the key 'name' stands twice"):
        Chain.from_config(content, [folder / "config.yaml"])


def test_snakemake_names_the_runs_file(folder: Path):
    change("config.yaml", "splitt", {})
    outcome = run(folder, "-n", check=False)
    assert outcome.returncode != 0
    assert "config.yaml: splitt: unknown key" in outcome.text
    assert outcome.text.count('  File "') <= 1  # where Snakemake read it; not where in our code it came up


def test_a_model_file_from_elsewhere_is_looked_for_and_opened(folder: Path):
    write_yaml(folder / "forest.yaml", {"name": "theirs", "kind": "onnx", "path": "theirs.onnx"})
    assert "forest.yaml: path: theirs.onnx: no such file" in check()
    (folder / "theirs.onnx").write_bytes(b"no graph")
    assert "theirs.onnx: not a valid ONNX file" in check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(folder: Path):
    (folder / "closed").mkdir(mode=0o500)
    change("config.yaml", "output", "closed/results")
    assert "no permission to write" in check()


def test_a_model_is_called_like_the_catalogue_of_images_only_where_there_is_none(folder: Path):
    change("forest.yaml", "name", "segmentation")
    assert "'segmentation' is a catalogue of skymill's own" not in check()
    images = folder / "pictures"
    image_files.write_images(images)
    os.chdir(images)
    change("forest.yaml", "name", "segmentation")
    with pytest.raises(ConfigError, match=r"forest\.yaml: name: 'segmentation' is a catalogue of skymill's own"):
        Chain.from_config(read_yaml("config.yaml"))


def test_a_segmenter_is_looked_for_and_held_against_the_survey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A path that leads nowhere shows when the Snakefile is read, bands that the survey lacks with `config check`."""
    images = tmp_path / "pictures"
    image_files.write_images(images)
    monkeypatch.chdir(images)
    change("config.yaml", "features.measure.segmenter", "learned.onnx")
    missing = r"run 'pictures': features\.measure\.segmenter: learned\.onnx: no such file;"
    with pytest.raises(ConfigError, match=missing):
        Chain.from_config(read_yaml("config.yaml"))
    write_segmenter(images / "learned.onnx", bands=["g", "r", "z"])
    assert re.search("learned.onnx: segments in the bands g, r, z, the survey has g, r, i and no z", check())
    write_segmenter(images / "learned.onnx")
    assert "run 'pictures' is right" in check()
    change("config.yaml", "features.measure.positions", "there.parquet")
    assert re.search("features.measure: give positions .* or a segmenter .* not both", check())


def test_a_model_of_stamps_needs_a_survey_of_images(folder: Path):
    change("forest.yaml", "stamps", {"size_px": 32})
    message = r"forest\.yaml: stamps: survey 'patches' \(.*survey\.yaml\) has no images; take `stamps` out, or describe"
    assert re.search(message, check())
    with pytest.raises(ConfigError, match=message):
        Chain.from_config(read_yaml("config.yaml"), ["config.yaml"])


def test_a_file_that_looks_at_stamps_says_so_when_it_is_opened(folder: Path):
    write_stamp_model(folder / "colour.onnx")
    write_yaml(folder / "colour.yaml", {"name": "colour", "kind": "onnx", "path": "colour.onnx"})
    change("config.yaml", "models", ["colour.yaml"])
    assert re.search(r"colour\.yaml: stamps: survey 'patches' .* has no images", check())


def test_stamps_are_of_kinds_that_look_and_no_wider_than_the_guard_band(tmp_path: Path, monkeypatch):
    images = tmp_path / "pictures"
    image_files.write_images(images)
    monkeypatch.chdir(images)
    change("forest.yaml", "stamps", {"size_px": 8})
    assert re.search(r"forest\.yaml: stamps: needed by kinds that look at pixels \(cnn.*\), and by no other", check())
    write_yaml(Path("forest.yaml"), {"name": "forest", "kind": "cnn"})
    assert re.search(r"forest\.yaml: stamps: needed by kinds that look at pixels \(cnn", check())
    write_yaml(Path("forest.yaml"), {"name": "forest", "kind": "cnn", "stamps": {"size_px": 32}})
    assert re.search(r"split\.guard_arcsec: 1 is less than a stamp of model 'forest' .*, 6\.4 arcsec", check())
    change("forest.yaml", "stamps.size_px", 8)
    change("config.yaml", "split.guard_arcsec", 1.6)
    assert "run 'pictures' is right" in check()


def test_stamps_are_held_against_the_survey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Their bands are the survey's, and the sources are found on its images."""
    pictures = tmp_path / "pictures"
    image_files.write_images(pictures)
    monkeypatch.chdir(pictures)
    write_stamp_model(pictures / "colour.onnx")
    write_yaml(pictures / "colour.yaml", {"name": "colour", "kind": "onnx", "path": "colour.onnx"})
    change("config.yaml", "models", ["colour.yaml"])
    assert "fault" not in check()
    change("colour.yaml", "stamps.bands", ["g", "z"])
    assert re.search(r"colour\.yaml: stamps\.bands: z: no band of survey 'pictures'; choose from g, r, i", check())
    change("colour.yaml", "stamps", {"size_px": SIZE, "bands": ["g", "r", "i"]})
    change("config.yaml", "features.measure.positions", "truth.parquet")
    assert re.search(r"config\.yaml: features\.measure\.positions: .* on which image .* model 'colour'", check())


def with_unet(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """A right run on images with a U-Net among its models, or with a fault in its file."""
    image_files.write_images(folder / "pictures")
    monkeypatch.chdir(folder / "pictures")
    content = {"name": "unet", "kind": "unet", "task": "segmentation", "settings": {"bands": ["g", "r"]}, **changes}
    write_yaml(Path("unet.yaml"), content)
    change("config.yaml", "models", ["unet.yaml"])


def test_a_segmenter_that_is_fitted_here_needs_no_labels(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with_unet(folder, monkeypatch)
    change("config.yaml", "labels", None)
    assert "run 'pictures' is right" in check()
    chain = Chain.from_config(read_yaml("config.yaml"))
    assert chain.models == {} and chain.published_segmenters == ["unet"]
    assert chain.catalogues == ["sources", "features", "segmentation", "unet"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"task": "classification"},
            r"unet\.yaml: task: kind 'unet' is for segmentation, found 'classification'; write",
        ),
        ({"kind": "forest", "settings": {}}, r"unet\.yaml: task: kind 'forest' is for classification, found 'segm"),
        (
            {"settings": {"bands": ["g", "z"]}},
            r"unet\.yaml: settings\.bands: z: no band of survey 'pictures'; choose fr",
        ),
        ({"settings": {"widht": 8}}, r"unet\.yaml: settings: widht: unknown key"),
        ({"pin": "0" * 12}, r"unet\.yaml: pin: 0{12}: no such fit in .*, there are: none yet"),
        ({"name": "segmentation"}, r"unet\.yaml: name: 'segmentation' is a catalogue of skymill's own"),
    ],
)
def test_what_is_wrong_with_a_segmenter_s_file_is_named(folder, monkeypatch, changes: dict[str, Any], told: str):
    with_unet(folder, monkeypatch, **changes)
    with pytest.raises(ConfigError, match=told):
        Chain.from_config(read_yaml("config.yaml"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"start": "mine"},
            r"b\.yaml: settings\.start: 'mine': no other network on stamps of the run; choose from a, ",
        ),
        ({"start": "b"}, r"b\.yaml: settings\.start: 'b': no other network on stamps of the run; choose from a, "),
        ({"start": "gone/checkpoint.pt"}, r"settings\.start: 'gone/checkpoint\.pt': no such file; correct it"),
        ({"start": "a", "first": {"start": "b"}}, r"b\.yaml: settings\.start: 'a': starts from another one itself"),
        (
            {"start": "a", "side": 20},
            r"b\.yaml: settings\.start: 'a': looks at other stamps; make `stamps` of both alike",
        ),
    ],
)
def test_what_a_network_starts_from_is_another_of_the_run_or_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], told: str
):
    image_files.write_images(folder / "pictures")
    monkeypatch.chdir(folder / "pictures")
    for name, settings, side in (
        ("a", changes.get("first", {}), 16),
        ("b", {"start": changes["start"]}, changes.get("side", 16)),
    ):
        stamps = {"size_px": side, "pixel_scale_arcsec": image_files.SCALE_ARCSEC}
        write_yaml(Path(f"{name}.yaml"), {"name": name, "kind": "cnn", "stamps": stamps, "settings": settings})
    change("config.yaml", "models", ["a.yaml", "b.yaml"])
    change("config.yaml", "split", {"order": 13, "guard_arcsec": 10})
    with pytest.raises(ConfigError, match=told):
        Chain.from_config(read_yaml("config.yaml"))


def test_a_segmenter_needs_images(folder: Path):
    write_yaml(folder / "unet.yaml", {"name": "unet", "kind": "unet", "task": "segmentation"})
    change("config.yaml", "models", ["unet.yaml"])
    assert re.search(r"unet\.yaml: task: survey 'patches' \(.*survey\.yaml\) has no images to find sources on", check())


def test_a_segmenter_does_not_learn_from_the_very_sky_that_it_is_run_on(folder, monkeypatch):
    with_unet(folder, monkeypatch, settings={"bands": ["g"], "first_seed": 3, "scenes": 5, "held_out": 2})
    change("survey.yaml", "images", {"layout": "rendered", "render": {"seed": 11}})
    change("survey.yaml", "path", None)
    assert re.search(r"first_seed: the survey's own sky, seed 11, is among .* seeds 3 to 11; choose another", check())
    change("survey.yaml", "images.render.seed", 12)
    assert "first_seed" not in check()
