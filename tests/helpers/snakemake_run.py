"""Run the real workflow in a folder and tell which jobs ran."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
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
    pool: dict[str, str]
    """SHA-256 of every tile that stood in the pools when it had ended."""

    @property
    def jobs(self) -> Counter[str]:
        """How many jobs of each rule were started, without the rules that only ask for files."""
        return Counter(name for name in HEADER.findall(self.text) if name not in ("all", "release"))


@dataclass(frozen=True)
class Checkout:
    """A copy of what a run needs of the repository, so that a test may edit code."""

    root: Path

    @classmethod
    def copy(cls, target: Path) -> Checkout:
        """Copy the code of this repository."""
        for name in ("src", "workflow", "scripts", "profiles", "envs"):
            shutil.copytree(
                REPOSITORY / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        shutil.copy(REPOSITORY / "Snakefile", target)
        return cls(target)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that stands once in a file."""
        file = self.root / path
        content = file.read_text()
        assert content.count(old) == 1, f"{path}: expected '{old}' once"
        file.write_text(content.replace(old, new))


THIS = Checkout(REPOSITORY)


def command(folder: Path, *arguments: str, checkout: Checkout = THIS) -> list[str]:
    """The command line of a run in `folder`."""
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(checkout.root / "Snakefile")),
        *("--directory", str(folder), "--configfile", str(folder / "config.yaml"), "--cores", "2", *arguments),
    ]


def environment(checkout: Checkout = THIS) -> dict[str, str]:
    """The environment with this interpreter's commands and the checkout's code first."""
    commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    modules = [str(checkout.root / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PATH": commands, "PYTHONPATH": os.pathsep.join(modules)}


def run(folder: Path, *arguments: str, checkout: Checkout = THIS, check: bool = True) -> Outcome:
    """Run the workflow and wait for it."""
    done = subprocess.run(
        command(folder, *arguments, checkout=checkout),
        env=environment(checkout),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    outcome = Outcome(done.returncode, done.stdout + done.stderr, pool_digests(folder))
    assert not check or outcome.returncode == 0, outcome.text[-6000:]
    return outcome


def pool_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every tile file in the pools below `folder`."""
    tiles = sorted(folder.glob("results/catalogues/*/tiles/**/*.zarr.zip"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in tiles}
