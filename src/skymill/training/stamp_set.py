"""The training set of a model that looks at pixels: the stamps of its rows, and then the vectors made of them."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skymill.config.model import StampSettings
from skymill.config.votes import answer_names
from skymill.features.source_tile import SourceTile, by_tile, stacked
from skymill.sky import at_order
from skymill.survey.images import TilePixels
from skymill.training.arrays import TARGET, VOTE, LabelledSet, Rows, TrainingSetError

if TYPE_CHECKING:
    from skymill.features.stamps import SourceImages

logger = logging.getLogger(__name__)
BATCH = 256
HELD_OUT_STAMPS = "held_out_stamps.npz"
"""Of a fit: some stamps of the validation and test splits, which an exported file is compared on."""
KEPT_STAMPS = 250
"""Of each of the two."""


class Encodes(Protocol):
    """A fitted model that makes vectors of stamps."""

    def encode(self, stamps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give vectors (n, vector) of stamps (n, 2, bands, k, k)."""


@dataclass(frozen=True)
class StampSet(LabelledSet):
    """A training set whose features are stamps, float32 (n, 2, bands, k, k): flux (nJy) and inverse variance.

    The image tiles are decoded once each; the stamps wait on the disk, in a file that is mapped into memory.
    """

    images: SourceImages
    stamps: StampSettings
    folder: Path
    """Where stamps wait; they go when the fit is done."""

    @classmethod
    def of(cls, table: LabelledSet, images: SourceImages, stamps: StampSettings, folder: Path) -> Self:
        """Take the rows of a training set, and stamps in place of its features."""
        return cls(table.path, table.metadata, [], images, stamps, folder)

    def rows(self, split: str) -> tuple[Rows, int]:
        """Read one split, and count rows left out because no pixel of their stamp can be used.

        Raises
        ------
        TrainingSetError
            If a class has too few rows left.
        ImageError
            If images cannot be read, or have pixels of another size than the model takes.
        """
        table, pixels, left_out = self._of(split)
        rows = Rows(
            table["objectId"],
            pixels,
            table["label"].astype(np.int64),
            table["magnitude"].astype(np.float32),
            at_order(table["_healpix_29"], self.metadata["split"]["order"]),
            np.column_stack([table[name] for name in self._vote_columns]) if self.questions else None,
        )
        self._check_classes(rows, split)
        return rows, left_out

    @property
    def _vote_columns(self) -> list[str]:
        return [VOTE + name for name in answer_names(self.questions)]

    def seen_by(self, model: Any) -> VectorSet:
        """Give the same rows with a fitted model's vectors as features."""
        first, _ = self.rows("validation")
        length = model.encode(first.features[:1]).shape[1]
        return VectorSet(self.path, self.metadata, describe_vector(length), self, model)

    def _of(self, split: str) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32], int]:
        """Give table and stamps of a split's rows that have a usable pixel, and count the others."""
        table = self._table()
        pixels, seen = self._pixels(table)
        numbers = np.flatnonzero(table["split"] == split)  # a split's rows stand together
        if not len(numbers):
            raise TrainingSetError(f"{self.path}: split '{split}' has no rows; give more labels")
        here = slice(numbers[0], numbers[-1] + 1)
        kept = seen[here]
        some = {name: values[here][kept] for name, values in table.items()}
        return some, pixels[here] if kept.all() else pixels[here][kept], int((~kept).sum())

    def _table(self) -> dict[str, NDArray[Any]]:
        """Read what is needed of all rows, those of a split together."""
        columns = ["objectId", "_healpix_29", "coord_ra", "coord_dec", "label", "magnitude", "split"]
        columns += [*(TARGET + name for name in self.metadata.get("targets", [])), *self._vote_columns]
        table = pq.read_table(self.path, columns=columns)
        order = np.argsort(table["split"].to_numpy(zero_copy_only=False).astype(str), kind="stable")
        return {name: table[name].to_numpy(zero_copy_only=False)[order] for name in columns}

    def _pixels(self, table: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Give all stamps, mapped from the disk, and whether each has a pixel that can be used."""
        file, seen = self.folder / "stamps.npy", self.folder / "seen.npy"
        if not seen.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / "seen.part.npy"
            np.save(part, self._cut(file, table))
            part.rename(seen)
        return np.load(file, mmap_mode="r"), np.load(seen)

    def _cut(self, file: Path, table: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Cut the stamps of all rows, one image tile after the other."""
        numbers = self.images.numbers(table["objectId"])
        n_bands = len(self.stamps.bands or self.images.tiles[int(numbers[0])].bands)
        shape = (len(numbers), 2, n_bands, self.stamps.size_px, self.stamps.size_px)
        logger.info("cutting %d stamps of %d images, %.0f MB", shape[0], len(set(numbers)), 4e-6 * np.prod(shape))
        target = np.lib.format.open_memmap(file, "w+", np.float32, shape)
        seen = np.zeros(len(numbers), bool)
        for number, rows in by_tile(numbers):
            place = table["coord_ra"][rows], table["coord_dec"][rows]
            image = self.images.tiles[number]
            tile = image.read(self.stamps)
            self._note(number, image, tile)
            for batch in image.cut(tile, *place, self.stamps, batch=BATCH):
                target[rows[batch.sources]] = stacked(batch)
                seen[rows[batch.sources]] = (batch.coverage_frac > 0).any(axis=1)
        target.flush()
        return seen

    def _note(self, number: int, image: SourceTile, tile: TilePixels) -> None:
        """Keep what else is needed of an image tile while it is in memory: nothing."""


@dataclass(frozen=True)
class VectorSet(LabelledSet):
    """A training set whose features are the vectors that a fitted model makes of stamps."""

    source: StampSet
    model: Encodes

    def extra_files(self) -> dict[str, bytes]:
        """Give what a fit keeps of its pixels: stamps spread evenly over the rows that it has not learned from."""
        held_out = [self.source.rows(split)[0] for split in ("validation", "test")]
        chosen = [np.unique(np.linspace(0, len(rows.labels) - 1, KEPT_STAMPS).astype(int)) for rows in held_out]
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            stamps=np.concatenate([rows.features[some] for rows, some in zip(held_out, chosen)]),
            labels=np.concatenate([rows.labels[some] for rows, some in zip(held_out, chosen)]),
            is_test=np.repeat([False, True], [len(some) for some in chosen]),
        )
        return {HELD_OUT_STAMPS: buffer.getvalue()}

    def described(self) -> dict[str, Any]:
        """Say what the stamps are, for the fit's manifest."""
        bands = self.source.stamps.bands or list(next(iter(self.source.images.tiles.values())).bands)
        return {"stamps": {**self.source.stamps.model_dump(mode="json"), "bands": bands}}

    def rows(self, split: str) -> tuple[Rows, int]:
        """Read one split, and count rows without a pixel that can be used."""
        rows, left_out = self.source.rows(split)
        return replace(rows, features=self.model.encode(rows.features)), left_out


def held_out_stamps(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Read the stamps (n, 2, bands, k, k) that a fit has kept, their labels (n,), and which are of the test split (n,).

    The others are of the validation split.

    Raises
    ------
    TrainingSetError
        If it is a fit of an earlier version, which did not say so.
    """
    with np.load(folder / HELD_OUT_STAMPS) as kept:
        if "is_test" not in kept:
            raise TrainingSetError(f"{folder}: is a fit of an earlier version of skymill; fit the model again")
        return kept["stamps"], kept["labels"], kept["is_test"]


def describe_vector(length: int) -> list[dict[str, Any]]:
    """Describe the numbers of a vector as features."""
    return [
        {
            "name": f"vector_{number:03d}",
            "unit": "1",
            "definition": "a number that the network makes of a stamp",
            "group": "vector",
            "indicator": False,
        }
        for number in range(length)
    ]
