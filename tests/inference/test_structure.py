"""Models of structure from a label table with true sizes to a catalogue of posteriors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import image_files
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.spatial import cKDTree
from scipy.stats import norm
from stamp_lab import StampLab
from survey_files import edit_yaml, write_yaml

from skymill import export, inference, training
from skymill.cli.chain import Chain
from skymill.config import ConfigError, ModelConfig
from skymill.config.run import InferenceSettings
from skymill.export.external import describe_external
from skymill.export.parity import ParityError
from skymill.export.structure_parity import StructureParity, quantile_difference
from skymill.features.stamps import SourceImages
from skymill.inference.kernel import MODEL_FAILED, NO_PIXELS, Answer
from skymill.inference.posterior import posterior_rows
from skymill.models.mixture import Mixture
from skymill.sessions.entry import ModelFileError
from skymill.store import GroupManifest, Pool, open_tile
from skymill.training.arrays import TrainingSetError

pytestmark = pytest.mark.slow
TARGETS = ["mag_r", "half_light_radius"]
SIDE = 12
HALF_LIGHT = np.sqrt(2 * np.log(2))
"""Of a round Gaussian, over its standard deviation."""


class Made(NamedTuple):
    lab: StampLab
    features: Path
    set_path: Path
    fit: Path
    onnx: Path


def write_truth(folder: Path) -> None:
    """Magnitudes of all, sizes of galaxies, and one galaxy whose size is not known."""
    truth = image_files.sources()
    seeing = image_files.FWHM_ARCSEC / image_files.SCALE_ARCSEC / 2.3548
    own = np.sqrt(np.maximum(truth["width"] ** 2 - seeing**2, 0))
    size = np.where(truth["star"], np.nan, HALF_LIGHT * own * image_files.SCALE_ARCSEC)
    size[np.flatnonzero(~truth["star"])[0]] = np.nan
    columns = {
        "ra": truth["ra"], "dec": truth["dec"], "class": np.where(truth["star"], "STAR", "GALAXY"),
        "mag_r": 31.4 - 2.5 * np.log10(truth["flux"][:, 1]), "half_light_radius": pa.array(size, from_pandas=True),
    }  # fmt: skip
    pq.write_table(pa.table(columns), folder / "truth.parquet")


def images_of(lab: StampLab) -> SourceImages:
    return SourceImages.open(lab.chain.survey, lab.group_files)


def fit(made: StampLab, set_path: Path, folder: Path, **changes: Any) -> Path:
    model = made.chain.models["structure"].model_copy(update=changes)
    training.fit_structure(set_path, model, seed=3, output_folder=folder, images=images_of(made), device="cpu")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Made:
    """A survey of 2 x 2 image tiles, a model fitted on it, and its ONNX file."""
    folder = tmp_path_factory.mktemp("structure")
    image_files.write_images(folder)
    write_truth(folder)
    stamps = {"size_px": SIDE, "pixel_scale_arcsec": image_files.SCALE_ARCSEC}
    settings = {"width": 8, "stages": 2, "depth": 1, "vector": 8, "components": 2, "epochs": 6, "batch_size": 16}
    model = {"name": "structure", "kind": "structure", "task": "structure", "stamps": stamps, "settings": settings}
    write_yaml(folder / "structure.yaml", model)
    labels = {**image_files.configuration()["config"]["labels"], "path": str(folder / "truth.parquet")}
    survey = image_files.configuration()["survey"] | {"path": str(folder / "images")}
    write_yaml(folder / "survey.yaml", survey)
    edit_yaml(
        folder / "config.yaml",
        survey=str(folder / "survey.yaml"),
        models=[str(folder / "structure.yaml")],
        output=str(folder / "results"),
        split={"order": 13, "guard_arcsec": SIDE * image_files.SCALE_ARCSEC},
        labels=labels | {"targets": TARGETS},
    )
    lab = StampLab(folder, folder / "structure.yaml", scheduler)
    features = lab.measure()
    output = Path(lab.chain.output)
    set_json = training.make_set(lab.chain.run, lab.chain.survey, [features], output, images=images_of(lab))
    set_path = output / "training" / json.loads(set_json.read_text())["file"]
    fitted = fit(lab, set_path, output / "training" / "structure" / "0123456789ab")
    manifest = export.to_onnx(fitted / "manifest.json", output=output, model=lab.chain.models["structure"])
    onnx = manifest.parent / f"{json.loads(manifest.read_text())['onnx']}.onnx"
    return Made(lab, features, set_path, fitted, onnx)


@pytest.fixture(scope="module")
def rows(made: Made) -> dict[str, np.ndarray]:
    """The catalogue's rows."""
    chain = made.lab.chain
    compute = chain.run.compute.model_copy(update={"scheduler": made.lab.scheduler, "retries": 0})
    written = inference.run(
        made.features,
        made.onnx,
        output=chain.output,
        model="structure",
        settings=InferenceSettings(block_rows=64),
        compute=compute,
        workers=1,
        images=images_of(made.lab),
    )
    manifest = GroupManifest.read(written)
    pool, first = Pool(Path(chain.output) / "catalogues" / "structure"), manifest.tiles[0]
    form = open_tile(pool.path(first.tile, first.key)).arrays
    assert form["half_light_radius_quantiles"].attrs["units"] == "arcsec"
    return made.lab.rows(manifest)


def test_the_training_set_holds_true_quantities_of_the_sources_they_belong_to(made: Made) -> None:
    table, truth = pq.read_table(made.set_path), pq.read_table(made.lab.folder / "truth.parquet")
    places = (np.column_stack([t[x], t[y]]) for t, x, y in ((truth, "ra", "dec"), (table, "coord_ra", "coord_dec")))
    near = cKDTree(next(places)).query(next(places))[1]
    for name in TARGETS:
        expected = truth[name].to_numpy()[near].astype(np.float32)
        np.testing.assert_array_equal(table[f"target_{name}"].to_numpy(), expected)
    assert 0 < np.isnan(table["target_half_light_radius"].to_numpy()).sum() < len(near)


def test_only_galaxies_of_known_structure_teach_and_judge_it(made: Made) -> None:
    table, counts = pq.read_table(made.set_path), json.loads((made.fit / "manifest.json").read_text())["rows"]
    known = np.isfinite(table["target_half_light_radius"].to_numpy()) & (table["label"].to_numpy() == 0)
    split = table["split"].to_numpy(zero_copy_only=False)
    assert counts == {name: int((known & (split == name)).sum()) for name in ("train", "validation", "test")}
    predictions = pq.read_table(made.fit / "predictions.parquet")
    assert len(predictions) == counts["test"] and set(predictions["objectId"].to_pylist()) <= set(
        table["objectId"].to_numpy()[known].tolist()
    )


def test_its_card_names_quantities_with_units_and_intervals(made: Made) -> None:
    card = (made.fit / "card.md").read_text()
    assert "| `half_light_radius` | arcsec | log |" in card and "half_light_radius_coverage_68" in card


def test_the_catalogue_holds_what_the_fitted_model_says(made: Made, rows: dict[str, np.ndarray]) -> None:
    fitted = training.load_structure(made.fit)
    images = images_of(made.lab)
    for number, image in images.tiles.items():
        here = np.flatnonzero(images.numbers(rows["objectId"]) == number)
        form = made.lab.chain.models["structure"].stamps
        tile = image.read(form)
        [batch] = image.cut(tile, rows["coord_ra"][here], rows["coord_dec"][here], form, batch=len(here))
        stamps = np.stack([batch.flux, batch.inverse_variance], axis=1)
        vectors = fitted.model.encode(stamps, np.repeat(image.psf(tile, form)[None], len(here), axis=0))
        quantiles = fitted.posteriors(vectors).quantiles(fitted.levels[:, 1:4])
        np.testing.assert_allclose(rows["mag_r"][here], quantiles[:, 0, 1], rtol=1e-4)
        np.testing.assert_allclose(rows["half_light_radius"][here], np.exp(quantiles[:, 1, 1]), rtol=1e-3)
        width = (quantiles[:, 0, 2] - quantiles[:, 0, 0]) / 2
        np.testing.assert_allclose(rows["mag_r_err"][here], width, rtol=1e-2, atol=1e-4)


def test_columns_agree_with_each_other(made: Made, rows: dict[str, np.ndarray]) -> None:
    quantiles = rows["half_light_radius_quantiles"]
    assert (np.diff(quantiles, axis=1) > 0).all() and quantiles.dtype == np.float32
    np.testing.assert_array_equal(rows["half_light_radius"], quantiles[:, 2])
    np.testing.assert_allclose(rows["half_light_radius_err"], (quantiles[:, 3] - quantiles[:, 1]) / 2, rtol=1e-6)
    levels = training.load_structure(made.fit).levels
    medians = Mixture.unpacked(rows["posterior"], 2).quantiles(levels)[..., 2]
    np.testing.assert_allclose(medians[:, 0], rows["mag_r"], rtol=1e-5)


def test_sources_without_an_answer_have_none_and_say_why() -> None:
    packed = np.tile(np.float32([1, 21.0, 0.1]), (4, 1))
    packed[1] = np.nan
    packed[2, 0] = 0.5
    lacking = np.array([0, 0, 0, NO_PIXELS.mask], np.int32)
    block = {name: np.zeros(4, np.int64) for name in ("objectId", "_healpix_29", "coord_ra", "coord_dec")}
    block["flags"] = np.full(4, 1, np.int32)
    found = posterior_rows(block, Answer(packed, np.full(4, 0.5, np.float32)), lacking, ["mag_r"])
    expected = np.array([0, MODEL_FAILED.mask, MODEL_FAILED.mask, NO_PIXELS.mask])
    assert (found["flags"] == (expected | 1)).all()
    for name in ("mag_r", "mag_r_err", "training_distance"):
        assert np.isfinite(found[name][0]) and np.isnan(found[name][1:]).all()
    assert np.isnan(found["posterior"][1:]).all()


def test_a_file_that_says_something_else_is_not_exported(made: Made) -> None:
    """The comparison that the export made, held against a limit that no two programs keep."""
    told = json.loads((made.onnx.parent / "parity.json").read_text())
    limits = made.lab.chain.models["structure"].parity
    assert limits.rows <= told["rows"] and {"held out", "changed", "huge", "no psf"} <= set(told["rows_by_origin"])
    parity = StructureParity(**{name: value for name, value in told.items() if name != "limits"})
    parity.check(limits, model="structure")
    strict = limits.model_copy(update={"max_quantile_difference": 1e-30})
    with pytest.raises(ParityError, match=r"max_quantile_difference is .*, the limit 1e-30.*Nothing was written"):
        parity.check(strict, model="structure")


def test_differences_of_quantiles_are_told_in_widths() -> None:
    narrow = Mixture(np.ones((3, 1)), np.zeros((3, 1, 1)), np.full((3, 1, 1, 1), 0.5))
    moved = narrow._replace(means=np.array([[[0.0]], [[0.1]], [[-0.05]]]))
    assert quantile_difference(narrow, moved) == pytest.approx(0.1 / (0.5 * norm.ppf(0.84)))
    broken = narrow._replace(means=np.array([[[0.0]], [[np.nan]], [[0.0]]]))
    assert quantile_difference(narrow, broken) == np.inf


def test_its_file_is_no_classifier_from_elsewhere(made: Made) -> None:
    with pytest.raises(ModelFileError, match="gives posteriors of mag_r, half_light_radius"):
        describe_external(ModelConfig(name="other", kind="onnx", path=str(made.onnx)))


def test_a_damaged_checkpoint_is_not_loaded(made: Made, tmp_path: Path) -> None:
    copied = shutil.copytree(made.fit, tmp_path / "fit")
    content = (copied / "checkpoint.pt").read_bytes()
    (copied / "checkpoint.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(TrainingSetError, match=r"checkpoint\.pt: expected SHA-256 .*; fit the model again"):
        training.load_structure(copied)


def test_what_cannot_teach_it_is_refused_with_the_mend(made: Made, tmp_path: Path) -> None:
    with pytest.raises(TrainingSetError, match=r"no class 'NEBULA', only GALAXY, STAR; correct settings\.galaxies"):
        fit(made.lab, made.set_path, tmp_path / "a", settings={"galaxies": "NEBULA"})
    with pytest.raises(TrainingSetError, match="no row of class 'STAR' has all of mag_r, half_light_radius"):
        fit(made.lab, made.set_path, tmp_path / "b", settings={"galaxies": "STAR"})
    table = pq.read_table(made.set_path)
    content = json.loads(table.schema.metadata[b"skymill"])
    del content["targets"]
    bare = tmp_path / "bare.parquet"
    pq.write_table(table.replace_schema_metadata({b"skymill": json.dumps(content).encode()}), bare)
    with pytest.raises(TrainingSetError, match=r"no true quantities to learn; name columns .* in labels\.targets"):
        fit(made.lab, bare, tmp_path / "c")


def test_a_run_without_targets_or_with_unknown_ones_is_refused_before_it_starts(made: Made, tmp_path: Path) -> None:
    content = json.loads(json.dumps(made.lab.chain.run.model_dump(mode="json", exclude_unset=True)))
    content.pop("where", None)
    for targets, message in (
        ([], r"labels\.targets: model 'structure'"),
        (["size"], r"labels\.targets: 'size': not a"),
    ):
        content["labels"]["targets"] = targets
        with pytest.raises(ConfigError, match=message):
            Chain.from_config(content)
