"""How each job stands: done, to be run and why, or perhaps to be run once a checkpoint has told what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skymill.cli.operating.jobs import CHECKPOINTS, Job, Workflow
from skymill.cli.operating.receipts import FOLDER, Difference, Hasher, Receipt, compare, receipt_path

HIDDEN = (
    "tiling_partition",
    "features_compute",
    "training_set",
    "training_fit",
    "inference_run",
    "segmenter_measure",
)
"""Jobs that Snakemake does not see while a checkpoint that they ask for has to run."""
State = Literal["done", "stale", "missing", "perhaps"]


@dataclass(frozen=True)
class Verdict:
    """How a job stands.

    Attributes
    ----------
    job : Job
    state : str
        `done`; `stale`: made of something else than is asked for now, or of what will be made anew; `missing`: never
        made; `perhaps`: made, and made again if a checkpoint before it comes to another result.
    reasons : tuple of Difference
        What differs here; empty where the cause lies before.
    cause : tuple of str
        Names of the jobs before it that run first.
    listed : bool
        Whether `snakemake -n` lists it now.
    """

    job: Job
    state: State
    reasons: tuple[Difference, ...] = ()
    cause: tuple[str, ...] = ()
    listed: bool = False

    @property
    def words(self) -> str:
        """Why, in words; inputs that differ because of a job before it are that job's story."""
        told = [reason for reason in self.reasons if not (self.cause and reason.ingredient == "inputs")]
        own = "; ".join(str(reason) for reason in told)
        return own or (f"follows from {summary(self.cause)}" if self.cause else "")


def judge(workflow: Workflow) -> dict[str, Verdict]:
    """Judge every job of a run; reads manifests and receipts, no tile.

    Returns
    -------
    dict
        By name of the job.
    """
    hasher = Hasher()
    verdicts: dict[str, Verdict] = {}
    for job in workflow.jobs.values():
        verdicts[job.name] = _verdict(job, verdicts, workflow, hasher)
    return verdicts


def followers(name: str, workflow: Workflow) -> list[Job]:
    """Give the jobs that read, directly or not, what a job makes."""
    reached = {name}
    for job in workflow.jobs.values():
        if reached.intersection(job.after):
            reached.add(job.name)
    return [job for job in workflow.jobs.values() if job.name in reached and job.name != name]


def summary(names: Iterable[str]) -> str:
    """Say which jobs, by rule and number."""
    counts = Counter(name.split(" ")[0] for name in names)
    return ", ".join(rule if n == 1 else f"{rule} ({n} jobs)" for rule, n in counts.items())


def _verdict(job: Job, before: dict[str, Verdict], workflow: Workflow, hasher: Hasher) -> Verdict:
    reasons, is_new = _own_reasons(job, workflow, hasher)
    pending = [before[name] for name in job.after if name in before and before[name].state != "done"]
    certain = [item for item in pending if item.state != "perhaps" and item.job.rule not in CHECKPOINTS]
    asked = [item for item in pending if item.job.rule in CHECKPOINTS]
    if not reasons and not pending:
        return Verdict(job, "done")
    state: State = "missing" if is_new else "stale" if reasons or certain else "perhaps"
    listed = not (job.rule in HIDDEN and asked)
    return Verdict(job, state, tuple(reasons), tuple(item.job.name for item in pending), listed)


def _own_reasons(job: Job, workflow: Workflow, hasher: Hasher) -> tuple[list[Difference], bool]:
    """Tell what of the job's own differs, and whether nothing like its output was ever made."""
    if not job.output:
        earlier = _earlier(job, workflow)
        return [Difference("missing", "a checkpoint before it has to run")], earlier is None
    if not Path(job.output).is_file():
        earlier = _earlier(job, workflow)
        if earlier is None:
            unsigned = _was_made(job, workflow)
            text = "changed, no receipt says how" if unsigned else "not made yet"
            return [Difference("settings or code" if unsigned else "missing", text)], not unsigned
        differences = _differences(earlier, job)
        return differences or [Difference("missing", "it is gone")], not differences
    gone = [Difference("missing", f"{path} is gone") for path in job.beside if not Path(path).is_file()]
    if gone:
        return gone, False
    receipt = Receipt.read(receipt_path(workflow.results, job.output))
    if receipt is None:
        return [], False
    return [*_differences(receipt, job), *_changed_inputs(receipt, job, hasher)], False


def _differences(receipt: Receipt, job: Job) -> list[Difference]:
    """Name the ingredients that differ where the digests do."""
    if dict(receipt.decides) == dict(job.ingredients.decides):
        return []
    found = compare(receipt.explains, job.ingredients.explains)
    return found or [Difference(word, "has changed") for word in job.ingredients.decides]


def _changed_inputs(receipt: Receipt, job: Job, hasher: Hasher) -> list[Difference]:
    """Name input files whose bytes are no longer those the output was made from; missing ones are made anew first."""
    now = {path: digest for path in job.inputs if (digest := hasher(path))}
    then = {path: digest for path, digest in receipt.inputs.items() if path in now or path not in job.inputs}
    return compare({"inputs": then}, {"inputs": now})


def _earlier(job: Job, workflow: Workflow) -> Receipt | None:
    """Find what was last made in the place of an output that is not there: the same with other digests in its path."""
    pattern = _pattern(job, workflow)
    paths = sorted((workflow.results / FOLDER).glob(pattern), key=lambda path: path.stat().st_mtime_ns)
    return Receipt.read(paths[-1]) if paths else None


def _was_made(job: Job, workflow: Workflow) -> bool:
    """Tell whether the same was made with other digests in its path, by a skymill that wrote no receipts."""
    return any(workflow.results.glob(_pattern(job, workflow)))


def _pattern(job: Job, workflow: Workflow) -> str:
    """Give the place of a job's output below the folder of a run, whatever digests stand in its path."""
    if job.rule in ("training_fit", "segmenter_fit"):
        return f"training/{job.subject}/*/manifest.json"
    if job.group:
        return f"catalogues/{job.subject}/groups/*/{job.group}.json"
    return str(receipt_path(workflow.results, job.output).relative_to(workflow.results / FOLDER))
