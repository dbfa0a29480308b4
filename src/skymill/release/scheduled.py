"""Publishing as the last job of a workflow that nobody watches.

``<run>/release/summary.json`` says how the last such workflow stands: `running`, then `published`, `unchanged` (what
there is was published before), `refused` (by the gate), `failed` (before or while publishing) or `not published` (the
workflow ended well but was not asked to publish). A workflow that was killed leaves `running`.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skymill.config import ComputeSettings
from skymill.config.run import GateSettings
from skymill.release.folder import CATALOGUES, Releases
from skymill.release.publishing import Content, GateError, publish
from skymill.store.document import from_document, to_document
from skymill.store.durable import write_bytes
from skymill.store.verifying import read_pointer

FORMAT = 1
NOTIFY_S = 300.0
"""Seconds that the command that tells people may take."""
logger = logging.getLogger(__name__)


def publish_if_new(
    content: Content,
    name: str,
    *,
    gate: GateSettings,
    page: Callable[[Mapping[str, Any], Path], Path],
    compute: ComputeSettings | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Publish a run, unless a release that was published holds the same versions; the summary says which it was.

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    GateError
        If a limit is not kept; the summary names the rules that are broken.
    ReleaseError
        As `publish`.
    """
    same = _same_release(content, name)
    if same is not None:
        logger.info("release %s holds what the run sealed: nothing to publish", same)
        done_before = same == name == Releases(content.run).current
        return _write(content.run, name, "published" if done_before else "unchanged", same_as=same)
    try:
        manifest = publish(content, name, gate=gate, page=page, compute=compute, workers=workers)
    except GateError as error:
        _write(content.run, name, "refused", rules=[verdict.as_dict() for verdict in error.broken])
        raise
    return _write(
        content.run, name, "published", current=name, catalogues=manifest["catalogues"], rules=manifest["gate"]["rules"]
    )


def begin(run: str | Path, name: str) -> None:
    """Note that a workflow that is to publish has begun."""
    _write(Path(run), name, "running")


def end(run: str | Path, name: str, *, succeeded: bool, notify: Sequence[str] = ()) -> str:
    """Complete the summary when the workflow has ended, and tell whoever wants to know.

    Parameters
    ----------
    run : Path
    name : str
    succeeded : bool
        Of the workflow.
    notify : sequence of str
        A command and its words. It gets the summary as its input, `SKYMILL_RELEASE` and `SKYMILL_STATUS` in its
        environment, and five minutes; if it fails, that is logged.

    Returns
    -------
    str
        The status.
    """
    run = Path(run)
    told = read_summary(run)
    if told["status"] == "running":
        told = _write(run, name, "not published" if succeeded else "failed")
    if notify:
        _notify(notify, told)
    return str(told["status"])


def read_summary(run: str | Path) -> dict[str, Any]:
    """Read how the last workflow that was to publish stands.

    Raises
    ------
    FileNotFoundError
        If there was none.
    StoreError, FormatError
        If the file is not as it was written.
    """
    path = _summary_file(Path(run))
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no scheduled release yet; run `snakemake release --config release=DR1`")
    return from_document(path.read_bytes(), kind="summary", where=path, newest=FORMAT, has={"release", "status"})


def _summary_file(run: Path) -> Path:
    return run / "release" / "summary.json"


def _same_release(content: Content, name: str) -> str | None:
    """Name a published release that holds what the run sealed: who went back from one does not get it again."""
    releases = Releases(content.run)
    versions = {each: read_pointer(content.run / CATALOGUES / each)["version"] for each in content.catalogues}
    published = [*releases.published(), releases.current]  # of one who was killed before noting it, only the latter
    first = [each for each in (name, releases.current) if each in published]
    for known in dict.fromkeys([*first, *reversed(published)]):
        if known in releases.names():
            held = {each: about["version"] for each, about in releases.read(known)["catalogues"].items()}
            if held == versions:
                return known
    return None


def _write(run: Path, name: str, status: str, **more: Any) -> dict[str, Any]:
    told = {
        "skymill_format": FORMAT,
        "release": name,
        "status": status,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "current": Releases(run).current,
        **more,
    }
    path = _summary_file(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, to_document(told))
    return read_summary(run)


def _notify(command: Sequence[str], told: Mapping[str, Any]) -> None:
    environment = {**os.environ, "SKYMILL_RELEASE": told["release"], "SKYMILL_STATUS": told["status"]}
    try:
        subprocess.run(command, input=json.dumps(told), text=True, env=environment, timeout=NOTIFY_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("release.notify: %s: %s", command[0], error)
