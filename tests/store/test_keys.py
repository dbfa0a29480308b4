"""Digests of settings and of code."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymill.store import algorithm_digest, canonical_json, digest, module_digests, short
from skymill.store.algorithm import UNCOUNTED

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)

FILES = {
    "__init__.py": "",
    "kernel.py": '''
        """A kernel."""
        from skymill.tools import double

        def run(x):
            """Run."""
            from .late import shift
            return shift(double(x))
    ''',
    "late.py": "def shift(x):\n    return x + 1\n",
    "tools/__init__.py": "from skymill.tools.double import double\nfrom skymill.tools.other import other\n",
    "tools/double.py": "from skymill import deep\n\ndef double(x):\n    return deep.TWO * x\n",
    "tools/other.py": "def other(x):\n    return x\n",
    "deep.py": "TWO = 2\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of its own named skymill."""
    for name, text in FILES.items():
        path = tmp_path / "skymill" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path


def edited(package: Path, name: str, old: str, new: str) -> tuple[str, str]:
    """Give the kernel's digest before and after an edit."""
    before = algorithm_digest(1, ["skymill.kernel"], root=package)
    path = package / "skymill" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return before, algorithm_digest(1, ["skymill.kernel"], root=package)


@given(st.dictionaries(st.text(), PLAIN, max_size=5))
def test_digest_does_not_depend_on_the_order_of_keys(mapping):
    turned = dict(reversed(mapping.items()))
    assert digest(mapping) == digest(turned)
    assert short(digest(mapping)) == digest(mapping)[:12]


def test_canonical_json_refuses_what_json_cannot_say():
    with pytest.raises(ValueError, match="Out of range float"):
        canonical_json({"x": float("nan")})
    with pytest.raises(TypeError, match="not JSON serializable"):
        canonical_json({"x": {1, 2}})


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("kernel.py", '"""Run."""', '"""Run it twice."""'),
        ("kernel.py", '"""Run."""', ""),
        ("late.py", "x + 1", "(x  +\n        1)  # one more"),
        ("deep.py", "TWO = 2", '# a number\nTWO = 2\n"""Twice one."""'),
        ("tools/other.py", "return x", "return -x"),
    ],
    ids=["docstring", "no docstring", "layout and comment", "attribute docstring", "a neighbour that is not used"],
)
def test_algorithm_digest_stays(package, name, old, new):
    before, after = edited(package, name, old, new)
    assert before == after


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("kernel.py", "shift(double(x))", "double(shift(x))"),
        ("late.py", "x + 1", "x + 2"),
        ("tools/double.py", "deep.TWO * x", "x * deep.TWO"),
        ("deep.py", "2", "2.0"),
    ],
    ids=["itself", "import inside a function", "through a package", "import of an import"],
)
def test_algorithm_digest_changes(package, name, old, new):
    before, after = edited(package, name, old, new)
    assert before != after


def test_modules_that_cannot_change_a_result_do_not_count():
    """A new key of the run's file, or another way to the disk, fits nothing again."""
    found = module_digests(["skymill.training.fitting", "skymill.models.forest"])
    assert {"skymill.training.fitting", "skymill.models.forest", "skymill.store.document"} <= found.keys()
    assert UNCOUNTED.isdisjoint(found)


def test_algorithm_digest_depends_on_the_declared_version(package):
    assert algorithm_digest(1, ["skymill.kernel"], root=package) != algorithm_digest(
        2, ["skymill.kernel"], root=package
    )


def test_algorithm_digest_ignores_what_only_type_checkers_import(package):
    guarded = (
        '"""A kernel."""\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from skymill.tools import other'
    )
    edited(package, "kernel.py", '"""A kernel."""', guarded)
    before, after = edited(package, "tools/other.py", "return x", "return -x")
    assert before == after


def test_algorithm_digest_does_not_depend_on_the_folder(package, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(package / "skymill", elsewhere / "skymill")
    expected = algorithm_digest(1, ["skymill.kernel"], root=package)
    assert algorithm_digest(1, ["skymill.kernel"], root=elsewhere) == expected


def test_algorithm_digest_names_a_module_that_is_not_there(package):
    with pytest.raises(ModuleNotFoundError, match=r"found no 'skymill\.nothing'"):
        algorithm_digest(1, ["skymill.nothing"], root=package)


def test_algorithm_digest_imports_nothing_of_the_modules():
    code = (
        "import sys; from skymill.store.algorithm import algorithm_digest; before = set(sys.modules);"
        "algorithm_digest(1, ['skymill.store.writer']); print(sorted(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
