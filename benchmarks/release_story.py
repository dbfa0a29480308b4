"""Three data releases of one survey, told by the commands that a survey team gives; docs/releases.md shows one telling.

DR1 is made from nothing. New spectra come: one model is pinned, the other retrained, and DR2 costs what depends on it.
What moved is compared with pandas over all rows. A deliberately bad model is refused. Rollback and forward.
New sky makes DR3, with spectra, and DR4, without: then nothing is trained. `skymill gc` frees what no release needs. A
reader that opened DR1 at the beginning reads it again after each step.

    python benchmarks/release_story.py --rows 10_000_000 --folder FOLDER > story.md

`FOLDER/story.json` holds the figures. Steps are not repeated: begin with an empty folder.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from embedded_survey import embedded_survey

from skymill import open_catalogue
from skymill.survey import open_survey
from skymill.survey.embedded import blocks, label_blocks, mapped
from skymill.survey.simulated import column_map

SPECTRA = 40_000
FIRST_LABELS = 0.6
"""Share of the spectra that DR1 has."""
REPOSITORY = Path(__file__).resolve().parents[1]
CLASSES = ["GALAXY", "QSO", "STAR"]
NOT_SCORED = "not_scored"
HEADER = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):$", re.MULTILINE)
QUANTILES = ("0.5", "0.9", "0.99", "0.999")


def main() -> None:
    """Tell the story."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    story = Story(arguments.folder, arguments.cores)
    new_sky = write_tables(arguments.rows, arguments.folder)
    write_settings(arguments.folder)

    story.publish("DR1: everything from nothing", "DR1")
    story.reader = open_catalogue(story.results / "releases" / "current" / "catalogues" / "mlp")
    story.first = story.read()

    story.say("New spectra: `forest` is pinned to its fit, `mlp` is trained again")
    story.edit("forest.yaml", pin=json.loads((story.results / "models/forest/manifest.json").read_text())["fit"])
    use_labels(arguments.folder, share=1.0)
    story.command("what is stale", "skymill", "status", "--configfile", "config.yaml", may_fail=True)
    story.publish("DR2: what depends on the spectra", "DR2")
    story.compare_with_pandas("DR1", "DR2", "mlp")

    story.say("A bad model: one epoch at a tenth of the learning rate")
    good = yaml.safe_load((arguments.folder / "mlp.yaml").read_text())["settings"]
    story.edit("mlp.yaml", settings={**good, "epochs": 1, "learning_rate": 0.0002, "members": 1})
    story.publish("DR3 with the bad model: refused", "DR3", may_fail=True)
    story.edit("mlp.yaml", settings=good)

    story.command("back to DR1", "skymill", "release", "rollback", "--reason", "a problem with DR2 was suspected")
    story.command("and forward", "skymill", "release", "rollback", "DR2", "--reason", "it was none")

    for name, table, what in zip(("DR3", "DR4"), new_sky, ("with spectra", "without a spectrum"), strict=True):
        table.rename(arguments.folder / "tables" / table.name)
        story.publish(f"{name}: new sky {what}", name)
    story.command("what may go", "skymill", "gc", "--configfile", "config.yaml", "--older-than", "0")
    story.command("it goes", "skymill", "gc", "--configfile", "config.yaml", "--older-than", "0", "--yes")
    for name in ("DR1", "DR2", "DR3", "DR4"):
        story.command(f"{name} after it", "skymill", "release", "verify", name)
    story.command("the history", "skymill", "release", "list")
    (arguments.folder / "story.json").write_text(json.dumps(story.figures, indent=1))


class Story:
    """Runs commands in the run's folder and writes down what they say and take."""

    def __init__(self, folder: Path, cores: int) -> None:
        self.folder, self.cores, self.results = folder, cores, folder / "results"
        self.figures: dict[str, Any] = {}
        self.reader: Any = None
        self.first = ""

    def say(self, text: str) -> None:
        """Begin a part."""
        print(f"\n## {text}", flush=True)

    def edit(self, file: str, **keys: Any) -> None:
        """Change keys of a YAML file."""
        path = self.folder / file
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}, sort_keys=False))

    def command(self, title: str, *words: str, may_fail: bool = False) -> str:
        """Give a command, show it and the end of what it says, and note what it took."""
        before, size = resource.getrusage(resource.RUSAGE_CHILDREN), disk_bytes(self.results)
        start = time.perf_counter()
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        grown = disk_bytes(self.results) - size
        self.figures[title] = {"seconds": seconds, "cpu_s": cpu, "bytes": grown, "exit_status": done.returncode}
        shown = " ".join(words).replace(f" -s {REPOSITORY}/Snakefile", "")
        print(f"\n### {title}\n\n```\n$ {shown}\n{told(words, done)}\n```\n", flush=True)
        print(f"exit status {done.returncode}, {seconds:,.0f} s, {cpu:,.0f} CPU-s, {grown / 1e6:+,.1f} MB", flush=True)
        if done.returncode and not may_fail:
            sys.exit(done.stdout[-4000:] + done.stderr[-4000:])
        if self.reader is not None:
            assert self.read() == self.first, "the reader of DR1 was disturbed"
        return done.stdout + done.stderr

    def publish(self, title: str, name: str, *, may_fail: bool = False) -> None:
        """Run the workflow to a release, and say what its jobs took in all."""
        began = time.time()
        snakefile = str(REPOSITORY / "Snakefile")
        words = ["snakemake", "release", "-s", snakefile, "--cores", str(self.cores)]
        text = self.command(
            title, *words, "--configfile", "config.yaml", "--config", f"release={name}", may_fail=may_fail
        )
        jobs = Counter(name for name in HEADER.findall(text) if name != "release")
        took = job_seconds(self.results, began)
        self.figures[title] |= {"jobs": dict(jobs), "job_seconds": took}
        each = ", ".join(f"{rule} {n}" for rule, n in jobs.items())
        print(f"\njobs: {each}; their own time {sum(took.values()):,.0f} s")

    def read(self) -> str:
        """Read a circle and a tile of DR1 as a user does who opened it once; give the digest of all values."""
        ra, dec = self.reader.centre
        near = self.reader.cone(ra, dec, 0.5, ["objectId", "class", "probabilities"])
        return hashlib.sha256(b"".join(near[name].values.tobytes() for name in near)).hexdigest()

    def compare_with_pandas(self, before: str, after: str, model: str) -> None:
        """Count again, over all rows in memory, what the diff of a release says."""
        told = json.loads((self.results / "releases" / after / "diff" / model / "diff.json").read_text())
        start = time.perf_counter()
        frames = [whole(self.results / "releases" / name / "catalogues" / model) for name in (before, after)]
        both = frames[0].merge(frames[1], on="objectId", how="inner", suffixes=("_before", "_after"))
        change = np.max([np.abs(both[f"{name}_before"] - both[f"{name}_after"]).to_numpy() for name in CLASSES], axis=0)
        off = max(
            abs(float(np.nanquantile(change, float(q), method="inverted_cdf")) - told["change"][q]) for q in QUANTILES
        )
        rows, names = told["rows"], told["classes"]
        assert rows["matched"] + rows["in_shared_tiles"] == len(both), "rows"
        counts = pd.crosstab(both["class_before"], both["class_after"]).reindex(index=names, columns=names).fillna(0)
        assert rows["in_shared_tiles"] or counts.to_numpy().astype(int).tolist() == told["transitions"], "transitions"
        scored = both[(both["class_before"] != NOT_SCORED) & (both["class_after"] != NOT_SCORED)]
        flips = int((scored["class_before"] != scored["class_after"]).sum())
        assert flips == told["flips"]["count"], "flips"
        seconds = time.perf_counter() - start
        self.figures["pandas"] = {"rows": len(both), "flips": flips, "quantiles_off": off, "seconds": seconds}
        print(
            f"\npandas over all {len(both):,} rows: the same transitions and {flips:,} flips; quantiles of |Δp| "
            f"differ by at most {off:.4f}; {seconds:,.0f} s"
        )


def told(words: tuple[str, ...], done: subprocess.CompletedProcess[str]) -> str:
    """Give the part of what a command says that a person would look at."""
    if words[0] != "snakemake":
        return (done.stdout + done.stderr).rstrip()
    lines = (done.stdout + done.stderr).splitlines()
    start = next((row for row, line in enumerate(lines) if "the gate refuses" in line), None)
    if start is not None:
        return "\n".join(line.strip() for line in lines[start : start + 6])
    return "\n".join(line for line in lines if "steps (100%)" in line or "Nothing to be done" in line)


def job_seconds(results: Path, since: float) -> dict[str, float]:
    """Add up, by rule, the seconds of the jobs that ended since a time, as Snakemake noted them."""
    took: Counter[str] = Counter()
    for path in (results / "benchmarks").rglob("*.tsv"):
        if path.stat().st_mtime >= since:
            with path.open() as file:
                rule = path.relative_to(results / "benchmarks").parts[0].removesuffix(".tsv")
                took[rule] += sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t"))
    return dict(took)


def disk_bytes(folder: Path) -> int:
    """Bytes of all files, links not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def whole(location: Path) -> pd.DataFrame:
    """Read a classification catalogue into memory."""
    catalogue = open_catalogue(location)
    read = catalogue.to_xarray(["objectId", "class", "probabilities"]).compute()
    frame = {
        "objectId": read["objectId"].to_numpy(),
        "class": np.array([*CLASSES, NOT_SCORED])[read["class"].to_numpy()],
    }
    return pd.DataFrame(frame | dict(zip(CLASSES, read["probabilities"].to_numpy().T, strict=True)))


def write_tables(rows: int, folder: Path) -> list[Path]:
    """Write the simulated survey as Parquet tables, one a cell; give the last two, which come later."""
    config = mapped(embedded_survey(rows))
    parts = open_survey(config).parts()
    paths = [folder / "tables" / f"{part.name.replace('/', '_').replace(' ', '_')}.parquet" for part in parts]
    later = [folder / "later" / path.name for path in paths[-2:]]
    for name in ("tables", "later"):
        (folder / name).mkdir(parents=True)
    for path, part in zip([*paths[:-2], *later], parts, strict=True):
        write(path, blocks(config, part))
    write(folder / "spectra.parquet", label_blocks(config), but=pq.read_table(later[1])["objectId"])
    use_labels(folder, share=FIRST_LABELS)
    return later


def write(path: Path, some: Iterable[Any], *, but: pa.ChunkedArray | None = None) -> None:
    """Write columns as a table, without the rows of some ids."""
    tables = [pa.table({name: np.ascontiguousarray(values) for name, values in block.items()}) for block in some]
    table = pa.concat_tables(tables)
    if but is not None:
        table = table.filter(pc.invert(pc.is_in(table["objectId"], but)))
    pq.write_table(table, path)


def use_labels(folder: Path, *, share: float) -> None:
    """Let the run know some of the spectra, from all over the sky."""
    table = pq.read_table(folder / "spectra.parquet")
    chosen = np.random.default_rng(0).permutation(len(table))[: int(share * min(len(table), SPECTRA))]
    pq.write_table(table.take(np.sort(chosen)), folder / "labels.parquet")


def write_settings(folder: Path) -> None:
    """Write the YAML files: the embedded survey's column map and models, tables instead of the simulation."""
    survey = {"name": "story", "format": "parquet", "path": "tables", "bands": list("ugrizy"), **column_map()}
    labels = {"path": "labels.parquet", "column": "class", "classes": CLASSES, "id": {"column": "objectId"}}
    gate = {"flip_rate": 0.05, "ece": 0.05, "completeness": {"GALAXY": 0.9, "STAR": 0.5}}
    run = {
        "name": "story",
        "survey": "survey.yaml",
        "models": ["forest.yaml", "mlp.yaml"],
        "tiling": {"group_order": 3},
        "labels": labels,
        "release": {"gate": gate},
    }
    for name, content in (("survey", survey), ("config", run)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    for name in ("forest", "mlp"):
        (folder / f"{name}.yaml").write_text((REPOSITORY / "config" / "models" / f"{name}.yaml").read_text())


if __name__ == "__main__":
    main()
