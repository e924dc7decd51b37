"""The examples in docstrings are run."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["_places", "_clouds"])
def test_examples_say_what_happens(name: str) -> None:
    module = importlib.import_module(f"depotlab.cache.{name}")
    result = doctest.testmod(module)
    assert result.attempted >= 3
    assert result.failed == 0


def test_the_rooms_need_neither_protobuf_nor_grpc() -> None:
    code = """
import sys
from depotlab import _oci, cache
cache.as_exports(cache.registry('h/a:1'))
print([name for name in sys.modules if name.partition('.')[0] in ('google', 'grpc', 'zstandard')])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
