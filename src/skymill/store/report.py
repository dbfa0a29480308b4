"""What verification finds, in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, order=True)
class Problem:
    """Something that is not as it was written: `missing`, `corrupt` or `wrong`."""

    path: Path
    kind: str
    found: str
    mend: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}: {self.found}; to mend it, {self.mend}"


@dataclass
class Report:
    """The outcome of `verify`.

    Attributes
    ----------
    problems : list of Problem
        What readers would stumble over.
    extra : list of Path
        Files that no manifest names: harmless, left by former settings or killed writers.
    n_catalogues, n_versions, n_tiles, n_bytes : int
        What was read, tiles to their last byte.
    n_files : int
        Files of training sets, fits and models that were read.
    """

    problems: list[Problem] = field(default_factory=list)
    extra: list[Path] = field(default_factory=list)
    n_catalogues: int = 0
    n_versions: int = 0
    n_tiles: int = 0
    n_bytes: int = 0
    n_files: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything that a manifest names is there and as it was written."""
        return not self.problems

    def add(self, kind: str, path: Path, found: str, mend: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(path, kind, found, mend))

    def lines(self) -> list[str]:
        """Give problems, then leftovers, then the sum, as text."""
        read = (
            f"read {self.n_tiles:,} tiles ({self.n_bytes / 1e6:,.1f} MB), {self.n_versions} versions, "
            f"{self.n_catalogues} catalogues, {self.n_files} files of training sets and models"
        )
        verdict = "all is well" if self.ok else f"{len(self.problems)} problem{'s' * (len(self.problems) > 1)}"
        return [
            *(str(problem) for problem in sorted(self.problems)),
            *(f"extra: {path}: no manifest names it; it may be deleted" for path in sorted(self.extra)),
            f"{verdict}: {read}",
        ]
