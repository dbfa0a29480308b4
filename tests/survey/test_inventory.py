"""Digests of input files follow their bytes, and are remembered."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pytest

from skymill.survey import TableError, inventory
from skymill.survey.inventory import CACHE_NAME
from skymill.survey.readers.listing import found


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three files that have not changed for an hour."""
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_bytes(path.name.encode() * 100)
        age(path, 3600)
    return paths


def file_digests(paths: list[Path], cache: Path | None) -> list[str]:
    return inventory.file_digests([found(path.name, path) for path in paths], cache)


def age(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def hashed(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = [record.getMessage() for record in caplog.records if "hashing" in record.getMessage()]
    caplog.clear()
    return messages


def test_the_digest_is_sha256_of_the_bytes(files: list[Path]) -> None:
    assert file_digests(files, None) == [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def test_only_changed_files_are_hashed_again(files: list[Path], tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO, logger=inventory.__name__)
    cache = tmp_path / "results" / ".cache"
    first = file_digests(files, cache)
    assert hashed(caplog) == ["hashing 3 of 3 input files"]
    assert file_digests(files, cache) == first and hashed(caplog) == []
    age(files[1], 60)  # touched: time changes, bytes do not
    assert file_digests(files, cache) == first and hashed(caplog) == ["hashing 1 of 3 input files"]
    assert file_digests(files, cache) == first and hashed(caplog) == []
    files[2].write_bytes(b"other")
    assert file_digests(files, cache)[:2] == first[:2] and hashed(caplog) == ["hashing 1 of 3 input files"]
    assert file_digests(files, cache)[2] == hashlib.sha256(b"other").hexdigest()


def test_a_file_rewritten_within_the_clocks_grain_is_noticed(tmp_path: Path) -> None:
    path, cache = tmp_path / "a", tmp_path / ".cache"
    path.write_bytes(b"one")
    stat = path.stat()
    first = file_digests([path], cache)
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file_digests([path], cache) != first


@pytest.mark.parametrize("content", ["", "{", "[]", "[1, 2]", '{"a": 3}', '{"a": ["x", 1, "y"]}', "null"])
def test_a_damaged_cache_is_made_anew(files: list[Path], tmp_path: Path, content: str) -> None:
    cache = tmp_path / ".cache"
    cache.mkdir()
    (cache / CACHE_NAME).write_text(content)
    assert file_digests(files, cache) == file_digests(files, None)
    assert str(files[0].absolute()) in (cache / CACHE_NAME).read_text()


def test_a_file_that_grows_while_it_is_read_is_refused(files: list[Path]) -> None:
    listed = found("a", files[0])
    files[0].write_bytes(b"longer than before" * 100)
    with pytest.raises(TableError, match="changed while it was read"):
        inventory.file_digests([listed], None)


def test_nothing_but_the_cache_is_left_behind(files: list[Path], tmp_path: Path) -> None:
    file_digests(files, tmp_path / ".cache")
    assert [path.name for path in (tmp_path / ".cache").iterdir()] == [CACHE_NAME]


def test_combining_keeps_limits_and_order() -> None:
    digests = {inventory.combined_digest(texts) for texts in (["ab", "c"], ["a", "bc"], ["c", "ab"], ["ab", "c", ""])}
    assert len(digests) == 4
