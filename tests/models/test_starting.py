"""Networks that start from another's encoder: by file, by name, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_stamps import draw

from skymill.config import ModelConfig
from skymill.models import KINDS, Cnn, Examples, Fitted, Place
from skymill.models.calibration import Calibration
from skymill.models.cnn import CnnSettings
from skymill.models.starting import start_from, starting_tensors
from skymill.training.identity import identity

SMALL = CnnSettings(width=8, stages=2, depth=1, vector=8, epochs=12, batch_size=25, averaging=0.9)
FEW = SMALL.model_copy(update={"epochs": 1, "learning_rate": 1e-4, "averaging": 0.0})


@pytest.fixture(scope="module")
def rows() -> tuple[Examples, Examples]:
    return draw(400, seed=1), draw(200, seed=2)


@pytest.fixture(scope="module")
def first(rows: tuple[Examples, Examples], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a network that can tell points from discs."""
    folder = tmp_path_factory.mktemp("first")
    Cnn.fit(*rows, SMALL, seed=5, place=Place(folder / "work", "cpu")).save(folder)
    return folder


def loss(settings: CnnSettings, rows: tuple[Examples, Examples], folder: Path, **place: object) -> float:
    """The log-loss on validation after so few steps that hardly anything is learned."""
    fitted = Cnn.fit(*rows, settings, seed=5, place=Place(folder, "cpu", **place))  # type: ignore[arg-type]
    return fitted.history()[-1]["validation_log_loss"]


def test_it_goes_on_from_a_checkpoint_and_from_a_fit_of_the_run(
    rows: tuple[Examples, Examples], first: Path, tmp_path: Path
) -> None:
    begun = FEW.model_copy(update={"start": str(first / "checkpoint.pt"), "learning_rate": 1e-3, "epochs": 3})
    plain = begun.model_copy(update={"start": ""})
    drawn, by_file = (loss(each, rows, tmp_path / name) for name, each in (("drawn", plain), ("file", begun)))
    assert by_file < drawn - 0.1
    member = Fitted(Cnn.load(first), Calibration(), ())
    named = begun.model_copy(update={"start": "first"})
    assert loss(named, rows, tmp_path / "named", members={"first": member}) == by_file


def test_an_embedding_without_labels_is_a_start(rows: tuple[Examples, Examples], tmp_path: Path) -> None:
    kind = KINDS["contrastive"]
    small = kind.Settings.model_validate({"width": 8, "stages": 2, "depth": 1, "vector": 16, "epochs": 2})
    kind.fit(*rows, small, seed=5, place=Place(tmp_path / "work", "cpu")).save(tmp_path)
    begun = FEW.model_copy(update={"start": str(tmp_path / "checkpoint.pt"), "learning_rate": 1e-12})
    fitted = Cnn.fit(*rows, begun, seed=5, place=Place(tmp_path / "cnn", "cpu"))
    given, found = (each.encoder.state_dict() for each in (kind.load(tmp_path), fitted))
    torch.testing.assert_close(found["stages.0.0.0.weight"], given["stages.0.0.0.weight"])
    assert found["project.weight"].shape != given["project.weight"].shape  # of another length: drawn


def test_of_several_networks_the_first_is_taken_and_the_noise_is_that_of_the_stamps_at_hand(
    rows: tuple[Examples, Examples], tmp_path: Path
) -> None:
    two = Cnn.fit(*rows, FEW.model_copy(update={"members": 2}), seed=5, place=Place(tmp_path / "work", "cpu"))
    two.save(tmp_path)
    tensors = starting_tensors(str(tmp_path / "checkpoint.pt"), {})
    torch.testing.assert_close(tensors["stem.0.weight"], two.encoder.members[0].stem[0].weight)
    encoder, _ = Cnn.network(torch.tensor([7.0, 9.0]), {**FEW.sizes, "classes": 2})
    start_from(encoder, tensors, start="two")
    assert encoder.stretch.noise.flatten().tolist() == [7.0, 9.0]
    torch.testing.assert_close(encoder.project.weight, tensors["project.weight"])


def test_what_does_not_fit_is_named(rows: tuple[Examples, Examples], first: Path, tmp_path: Path) -> None:
    start = str(first / "checkpoint.pt")
    wide = FEW.model_copy(update={"start": start, "width": 12})
    with pytest.raises(
        ValueError, match=r"expected stem\.0\.weight of shape \(12, 4, 2, 2\), found \(8, 4, 2, 2\); set"
    ):
        loss(wide, rows, tmp_path)
    deep = FEW.model_copy(update={"start": start, "depth": 2})
    with pytest.raises(
        ValueError, match=r"expected stages\.0\.1\.0\.weight .* found nothing; set width, stages, depth"
    ):
        loss(deep, rows, tmp_path)
    with pytest.raises(ValueError, match=r"settings\.start: 'gone': no such file; name a checkpoint\.pt, or a network"):
        loss(FEW.model_copy(update={"start": "gone"}), rows, tmp_path)


@pytest.mark.parametrize("spoilt", ["garbage", "cut off", "empty"])
def test_a_spoilt_checkpoint_and_one_of_another_kind_are_named(first: Path, tmp_path: Path, spoilt: str) -> None:
    content = (first / "checkpoint.pt").read_bytes()
    file = tmp_path / "start.pt"
    file.write_bytes({"garbage": b"garbage" * 50, "cut off": content[: len(content) // 2], "empty": b""}[spoilt])
    with pytest.raises(ValueError, match=r"settings\.start: '.*start\.pt': no checkpoint that can be read"):
        starting_tensors(str(file), {})
    torch.save({"network": {}}, file)
    with pytest.raises(ValueError, match=r"settings\.start: '.*start\.pt': holds no network on stamps"):
        starting_tensors(str(file), {})


def test_the_bytes_of_the_file_decide_the_fit(first: Path, tmp_path: Path) -> None:
    file = tmp_path / "start.pt"
    model = ModelConfig(name="m", kind="cnn", settings={"start": str(file)})
    file.write_bytes(b"one")
    before = identity(model, set_sha256="s", seed=1)
    assert identity(model, set_sha256="s", seed=1) == before
    file.write_bytes(b"other")
    assert identity(model, set_sha256="s", seed=1) != before
    assert "start" not in identity(ModelConfig(name="m", kind="cnn"), set_sha256="s", seed=1)


def test_votes_are_learned_from_a_start_too(rows: tuple[Examples, Examples], first: Path, tmp_path: Path) -> None:
    asked = [
        replace(each, votes=np.stack([each.labels * 9, 9 - each.labels * 9], 1).astype(np.float32), questions=(2,))
        for each in rows
    ]
    begun = FEW.model_copy(update={"start": str(first / "checkpoint.pt")})
    fitted = Cnn.fit(*asked, begun, seed=5, place=Place(tmp_path, "cpu"))
    assert fitted.questions == [2]
