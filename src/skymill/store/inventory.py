"""What really stands below a folder, links not followed."""

from __future__ import annotations

import os
from pathlib import Path


def inventory(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """List what stands below a folder.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    files : dict of str to Path
        The plain files, by their name below the folder.
    others : list of Path
        What is neither a plain file nor a folder: symbolic links, devices, pipes.

    Raises
    ------
    OSError
        If a folder cannot be read.
    """
    files: dict[str, Path] = {}
    others: list[Path] = []
    for where, folders, names in os.walk(folder, onerror=_raise):
        for name in sorted(names):
            path = Path(where, name)
            if path.is_file() and not path.is_symlink():
                files[str(path.relative_to(folder))] = path
            else:
                others.append(path)
        others += (path for path in (Path(where, name) for name in folders) if path.is_symlink())
    return files, others


def _raise(error: OSError) -> None:
    raise error
