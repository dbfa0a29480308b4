"""The training set of a model of structure: stamps, PSFs and true quantities of its galaxies."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skymill.features.source_tile import SourceTile
from skymill.models.quantities import find_quantity
from skymill.models.structure import Galaxies
from skymill.sky import at_order
from skymill.survey.images import TilePixels
from skymill.training.arrays import FEWEST, TARGET, TrainingSetError
from skymill.training.stamp_set import HELD_OUT_STAMPS, KEPT_STAMPS, StampSet


@dataclass(frozen=True)
class GalaxyRows:
    """The galaxies of one split."""

    object_id: NDArray[np.int64]
    galaxies: Galaxies
    magnitude: NDArray[np.float32]
    """Measured, by which results are binned; NaN where the survey has none."""
    block: NDArray[np.int64]
    """HEALPix pixel, at the order of the split, that the source lies in."""

    def __len__(self) -> int:
        return len(self.object_id)


@dataclass(frozen=True)
class StructureSet(StampSet):
    """Rows of one class all of whose targets are known."""

    galaxies: str = ""
    """The class."""

    def named(self, galaxies: str) -> StructureSet:
        """Give the same set for the galaxies of a class.

        Raises
        ------
        TrainingSetError
            If the set has no such class, or no targets.
        """
        if not self.quantities:
            raise TrainingSetError(
                f"{self.path}: has no true quantities to learn; name columns of the label table in labels.targets"
            )
        if galaxies not in self.classes:
            raise TrainingSetError(
                f"{self.path}: no class '{galaxies}', only {', '.join(self.classes)}; correct settings.galaxies in the "
                "model's file"
            )
        return replace(self, galaxies=galaxies)

    @property
    def quantities(self) -> list[str]:
        """Names of the targets."""
        return list(self.metadata.get("targets", []))

    def of_split(self, split: str) -> tuple[GalaxyRows, int]:
        """Read one split, and count galaxies left out because no pixel of their stamp can be used.

        Raises
        ------
        TrainingSetError
            If there are too few.
        ImageError
            If images cannot be read, or have pixels of another size than the model takes.
        """
        table, stamps, left_out = self._of(split)
        if len(stamps) < FEWEST[split]:
            raise TrainingSetError(
                f"{self.path}: split '{split}': expected at least {FEWEST[split]} rows of class '{self.galaxies}' "
                f"with all of {', '.join(self.quantities)} and a pixel that can be used, found {len(stamps)}; give more"
            )
        galaxies = Galaxies(stamps, self._psf(table["objectId"]), self._targets(table))
        block = at_order(table["_healpix_29"], self.metadata["split"]["order"])
        return GalaxyRows(table["objectId"], galaxies, table["magnitude"].astype(np.float32), block), left_out

    def _table(self) -> dict[str, NDArray[Any]]:
        """Read what is needed of the galaxies, those of a split together."""
        table = super()._table()
        wanted = table["label"] == self.classes.index(self.galaxies)
        wanted &= np.isfinite(self._targets(table)).all(axis=1)
        if not wanted.any():
            raise TrainingSetError(
                f"{self.path}: no row of class '{self.galaxies}' has all of {', '.join(self.quantities)}; correct "
                "labels.targets, or the table's values"
            )
        return {name: values[wanted] for name, values in table.items()}

    def _targets(self, table: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Give the targets on their scales, (n, q)."""
        scaled = [find_quantity(name).scaled(table[TARGET + name]) for name in self.quantities]
        return np.stack(scaled, axis=1).astype(np.float32)

    def _note(self, number: int, image: SourceTile, tile: TilePixels) -> None:
        """Keep the PSFs of an image tile."""
        np.save(self._psf_file(number), image.psf(tile, self.stamps))

    def _psf(self, object_id: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the PSFs of the images that sources lie on, (n, bands, p, p)."""
        numbers, place = np.unique(self.images.numbers(object_id), return_inverse=True)
        return np.stack([np.load(self._psf_file(number)) for number in numbers.tolist()])[place]

    def _psf_file(self, number: int) -> Path:
        return self.folder / f"psf-{number}.npy"

    def held_out(self) -> dict[str, bytes]:
        """Give what a fit keeps of its pixels: stamps spread evenly over the galaxies that it has not learned from."""
        parts = [self.of_split(split)[0].galaxies for split in ("validation", "test")]
        chosen = [np.unique(np.linspace(0, len(part) - 1, KEPT_STAMPS).astype(int)) for part in parts]
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            stamps=np.concatenate([part.stamps[some] for part, some in zip(parts, chosen)]),
            psf=np.concatenate([part.psf[some] for part, some in zip(parts, chosen)]),
        )
        return {HELD_OUT_STAMPS: buffer.getvalue()}

    def described(self) -> dict[str, Any]:
        """Say what the stamps are, for the fit's manifest."""
        bands = self.stamps.bands or list(next(iter(self.images.tiles.values())).bands)
        return {"stamps": {**self.stamps.model_dump(mode="json"), "bands": bands}}
