"""The examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "depotlab._contexts.kinds",
        "depotlab._contexts.preview",
        "depotlab._contexts.value",
        "depotlab.frontend._dockerfile",
    ],
)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed
