"""Run the real workflow in a folder and tell which jobs ran."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HEADER = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """One invocation of snakemake."""

    returncode: int
    text: str

    @property
    def jobs(self) -> Counter[str]:
        """How many jobs of each rule were started, `all` left out."""
        return Counter(name for name in HEADER.findall(self.text) if name != "all")


def command(folder: Path, *arguments: str, snakefile: Path | None = None) -> list[str]:
    """The command line of a run in `folder`."""
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(snakefile or REPOSITORY / "Snakefile")),
        *("--directory", str(folder), "--configfile", str(folder / "config.yaml"), "--cores", "2", *arguments),
    ]


def environment() -> dict[str, str]:
    """The environment with this interpreter's commands first."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(folder: Path, *arguments: str, snakefile: Path | None = None, check: bool = True) -> Outcome:
    """Run the workflow and wait for it."""
    done = subprocess.run(
        command(folder, *arguments, snakefile=snakefile),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    outcome = Outcome(done.returncode, done.stdout + done.stderr)
    assert not check or outcome.returncode == 0, outcome.text[-6000:]
    return outcome


def pool_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every tile file in the pools below `folder`."""
    tiles = sorted(folder.glob("results/catalogues/*/tiles/**/*.zarr.zip"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in tiles}
