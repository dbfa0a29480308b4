"""Files are whole or absent: after a kill, on a full disk, with two writers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from skymill.sky import Tile
from skymill.store import Pool, Variable, digest, open_tile, write_tile
from skymill.store.durable import FOREIGN_AGE, staged, staged_folder, sweep, write_bytes

KEY = digest({"a": 1})


def start(code: str, *arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], text=True, **options)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


WRITE_AND_WAIT = """
    import sys, time
    import numpy as np
    from skymill.store import Pool, TileWriter, Variable
    from skymill.sky import Tile
    pool = Pool(sys.argv[1])
    path = pool.path(Tile(3, 7), sys.argv[2])
    with TileWriter(path, {"x": Variable.of_rows("f4")}, 9, staging=pool.staging) as writer:
        writer.append({"x": np.zeros(9, "f4")})
        print("ready", flush=True)
        time.sleep(60)
"""


def test_a_kill_before_the_rename_leaves_the_pool_clean(tmp_path):
    writer = start(WRITE_AND_WAIT, tmp_path, KEY, stdout=subprocess.PIPE)
    assert writer.stdout.readline() == "ready\n"
    pool = Pool(tmp_path)
    assert pool.find(Tile(3, 7), KEY) is None
    assert pool.sweep() == [] and len(files(tmp_path)) == 1  # its writer lives, so it stays
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert pool.find(Tile(3, 7), KEY) is None
    assert len(pool.sweep()) == 1 and files(tmp_path) == []


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Every fsync, and every file or folder that gets its name, in turn."""
    calls: list[tuple[str, Path]] = []
    fsync, replace, rename = os.fsync, os.replace, os.rename

    def note_fsync(descriptor):
        calls.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def noting(call):
        def note(source, target):
            calls.append(("name", Path(target)))
            call(source, target)

        return note

    monkeypatch.setattr("os.fsync", note_fsync)
    monkeypatch.setattr("os.replace", noting(replace))
    monkeypatch.setattr("os.rename", noting(rename))
    return calls


def test_bytes_and_names_reach_the_disk_before_and_after_a_file_gets_its_name(tmp_path, calls):
    path = tmp_path / "new" / "folder" / "tile"
    staging = tmp_path / ".staging"
    with staged(path, staging=staging) as file:
        file.write(b"bytes")
    [(_, unfinished)] = [call for call in calls if call[1].parent == staging]
    assert calls == [
        ("fsync", tmp_path),  # the staging folder's own name
        ("fsync", unfinished),
        ("fsync", tmp_path),
        ("fsync", tmp_path / "new"),
        ("name", path),
        ("fsync", path.parent),
    ]


def test_all_of_a_folder_reaches_the_disk_before_it_gets_its_name(tmp_path, calls):
    path, inside = tmp_path / "version", {"a", "deep", "deep/b"}
    with staged_folder(path, staging=tmp_path / ".staging") as folder:
        (folder / "deep").mkdir()
        for name in ("a", "deep/b"):
            (folder / name).write_bytes(b"bytes")
    named = calls.index(("name", path))
    assert {call for call in calls[:named] if call[1].is_relative_to(folder)} == {
        ("fsync", folder), *(("fsync", folder / name) for name in inside)
    }  # fmt: skip
    assert calls[named + 1 :] == [("fsync", tmp_path)]


def test_leftovers_of_another_machine_are_swept_after_a_day(tmp_path):
    old, new = tmp_path / "elsewhere-1-tile", tmp_path / "elsewhere-2-tile"
    old.touch()
    new.touch()
    os.utime(old, (time.time() - FOREIGN_AGE - 1,) * 2)
    assert sweep(tmp_path) == [old]
    assert files(tmp_path) == [new.name]


def test_a_machine_whose_name_begins_like_ours_is_another(tmp_path):
    rest = f"4711-{'0' * 32}-tile"
    other, ours = tmp_path / f"{socket.gethostname()}-2-{rest}", tmp_path / f"{socket.gethostname()}-{rest}"
    other.touch()
    ours.touch()
    assert sweep(tmp_path) == [ours]
    assert files(tmp_path) == [other.name]


def test_leftover_folders_are_swept(tmp_path):
    code = """
        import os, sys; from pathlib import Path; from skymill.store.durable import staged_folder
        with staged_folder(Path(sys.argv[1]) / "version", staging=Path(sys.argv[1]) / ".staging") as folder:
            (folder / "half").write_text("x")
            os.kill(os.getpid(), 9)
    """
    assert start(code, tmp_path).wait() == -9
    assert not (tmp_path / "version").exists() and len(files(tmp_path)) == 1
    assert len(sweep(tmp_path / ".staging")) == 1 and files(tmp_path) == []


def test_two_writers_of_one_folder_leave_one_whole_folder(tmp_path):
    target = tmp_path / "versions" / "v1"
    with staged_folder(target, staging=tmp_path / ".s") as slow:
        (slow / "manifest").write_text("same")
        with staged_folder(target, staging=tmp_path / ".s") as fast:
            (fast / "manifest").write_text("same")
    assert files(tmp_path) == ["versions/v1/manifest"]


def test_an_error_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="halfway"), staged(tmp_path / "x") as file:
        file.write(b"half")
        raise RuntimeError("halfway")
    with pytest.raises(RuntimeError, match="halfway"), staged_folder(tmp_path / "y", staging=tmp_path / ".s") as folder:
        (folder / "half").touch()
        raise RuntimeError("halfway")
    assert files(tmp_path) == []


def test_a_small_file_is_replaced_as_a_whole(tmp_path):
    write_bytes(tmp_path / "x.json", b"one")
    write_bytes(tmp_path / "x.json", b"two")
    assert files(tmp_path) == ["x.json"] and (tmp_path / "x.json").read_bytes() == b"two"


def test_two_writers_of_one_key_leave_one_whole_tile(tmp_path):
    code = """
        import sys, numpy as np
        from skymill.store import Pool, Variable, write_tile
        from skymill.sky import Tile
        pool = Pool(sys.argv[1])
        for _ in range(20):
            values = np.arange(50_000, dtype="i8")
            write_tile(pool.path(Tile(0, 0), sys.argv[2]), {"x": Variable(values)}, staging=pool.staging)
    """
    writers = [start(code, tmp_path, KEY) for _ in range(2)]
    path = Pool(tmp_path).path(Tile(0, 0), KEY)
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            assert open_tile(path).rows()["x"][-1] == 49_999
    assert [writer.returncode for writer in writers] == [0, 0]
    assert files(tmp_path) == [str(path.relative_to(tmp_path))]


FILL = """
    import resource, signal, sys
    import numpy as np
    from skymill.store import Pool, Variable, write_tile
    from skymill.sky import Tile
    if len(sys.argv) > 3:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
    pool = Pool(sys.argv[1])
    values = np.random.default_rng(0).normal(size=(400_000, 4))
    try:
        write_tile(pool.path(Tile(0, 0), sys.argv[2]), {"x": Variable(values, ("source", "y"))}, staging=pool.staging)
    except OSError as error:
        print(error)
"""


def test_a_full_disk_says_so_and_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        limit = [] if mounted else [4 << 20]  # without root: a limit on the size of files
        writer = start(FILL, disk, KEY, *limit, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = writer.communicate()
        assert errors == ""
        assert ("No space left on device" if mounted else "File too large") in output
        assert "free space or raise the quota and run again; nothing half-written has a final name" in output
        assert KEY[:12] in output and files(disk) == []
        small = write_tile(disk / "small", {"x": Variable(np.zeros(10))})
        assert small.n_bytes == (disk / "small").stat().st_size
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_somebody_made_meanwhile_stays_and_is_an_error_where_it_must_be_ones_own(tmp_path):
    target = tmp_path / "target"

    def write(**options):
        with staged_folder(target, staging=tmp_path / ".staging", **options) as folder:
            (folder / "mine").touch()
            target.mkdir(exist_ok=True)
            (target / "theirs").touch()

    write()
    with pytest.raises(OSError, match="target"):
        write(exclusive=True)
    assert [path.name for path in target.iterdir()] == ["theirs"]
    assert not list((tmp_path / ".staging").iterdir())
