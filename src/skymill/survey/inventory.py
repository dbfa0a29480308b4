"""Digests of input files: SHA-256 of their bytes, remembered as long as size and time of change stay the same."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skymill.survey.errors import TableError
from skymill.survey.readers.base import TableFile

CACHE_NAME = "digests.json"
SETTLED_NS = 2_000_000_000
"""A file changed less than 2 s before it was hashed may change again within the clock's grain: not remembered."""
THREADS = 4
Entry = tuple[int, int, str]
"""Bytes, time of change (ns), SHA-256."""

logger = logging.getLogger(__name__)


def file_digests(files: Sequence[TableFile], cache: Path | None) -> list[str]:
    """Give the SHA-256 of each file, hashing only what is new or changed since the last call.

    Parameters
    ----------
    files : sequence of TableFile
        As they were listed just now.
    cache : Path, optional
        Folder of the remembered digests (`<output>/.cache`); one that cannot be understood is ignored.

    Raises
    ------
    TableError
        If a file changes while it is read.
    """
    known = _load(cache)
    here = f"{Path.cwd()}/"
    keys = [file.path if file.path.startswith("/") else here + file.path for file in files]
    stale = {
        key: file
        for key, file in zip(keys, files, strict=True)
        if known.get(key, (0, 0, ""))[:2] != (file.size, file.changed_ns)
    }
    if stale:
        logger.info("hashing %d of %d input files", len(stale), len(files))
        with ThreadPoolExecutor(THREADS) as pool:
            hashed = list(pool.map(_sha256, stale.values()))
        settled_before = time.time_ns() - SETTLED_NS
        fresh = {key: (file.size, file.changed_ns, sha) for (key, file), sha in zip(stale.items(), hashed, strict=True)}
        _save(cache, known | {key: entry for key, entry in fresh.items() if entry[1] < settled_before})
        known |= fresh
    return [known[key][2] for key in keys]


def _sha256(file: TableFile) -> str:
    with Path(file.path).open("rb") as stream:
        sha = hashlib.file_digest(stream, "sha256").hexdigest()
    after = Path(file.path).stat()
    if (after.st_size, after.st_mtime_ns) != (file.size, file.changed_ns):
        raise TableError(f"{file.path}: the file changed while it was read; wait until it is complete")
    return sha


def combined_digest(texts: Iterable[str]) -> str:
    """Hash a sequence of texts to hex, their order and limits included."""
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()


def _load(cache: Path | None) -> dict[str, Entry]:
    """Remembered digests; nothing where there are none or the file was damaged."""
    if cache is None:
        return {}
    try:
        content = json.loads((cache / CACHE_NAME).read_text())
        return {path: (int(size), int(changed), str(sha)) for path, (size, changed, sha) in content.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        logger.warning("%s is damaged and will be made anew (%s)", cache / CACHE_NAME, error)
        return {}


def _save(cache: Path | None, entries: dict[str, Entry]) -> None:
    if cache is None:
        return
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=cache, prefix=CACHE_NAME, delete=False) as file:
        json.dump(entries, file)
    Path(file.name).replace(cache / CACHE_NAME)
