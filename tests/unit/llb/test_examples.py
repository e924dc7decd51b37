"""The examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from depotlab import llb, mount

MODULES = [f"depotlab.llb.{module.name}" for module in pkgutil.iter_modules(llb.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES]
    assert sum(bool(test.examples) for module in modules for test in finder.find(module)) >= 10


def test_mount_room_lists_the_constructors() -> None:
    assert mount.__all__ == ["bind", "cache", "secret", "ssh", "tmpfs"]
    assert all(getattr(mount, name).__doc__ for name in mount.__all__)


def test_the_room_needs_no_protobuf_and_no_notebook() -> None:
    code = """
import sys
from depotlab import llb, mount
state = llb.image('busybox').run('x', mounts=[mount.cache('/c')])
repr(llb.load(state.marshal().to_bytes())), state.marshal(source='calls').locations
print([m for m in sys.modules if m.partition('.')[0] in ('google', 'grpc', 'IPython', 'ipywidgets', 'rich')])
"""
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.strip() == "[]"


def test_every_public_name_exists_and_is_described() -> None:
    for name in llb.__all__:
        assert getattr(llb, name).__doc__, name
