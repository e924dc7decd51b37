"""What `prune` refuses before it asks a daemon. What it deletes is in tests/integration/test_control.py."""

import asyncio
import math

import pytest

from depotlab.buildkit.prune import prune
from depotlab.errors import UsageError


@pytest.mark.parametrize("value", ["7d", -1, 0, True, math.nan, math.inf])
def test_a_time_to_keep_is_a_number_of_seconds(value):
    with pytest.raises(UsageError, match=r"keep_for_s=.* above zero"):
        asyncio.run(prune(None, keep_for_s=value))


@pytest.mark.parametrize("name", ["keep_bytes", "max_used_bytes", "min_free_bytes"])
@pytest.mark.parametrize("value", ["1GB", -1, 0, True, 1.5])
def test_a_bound_is_a_number_of_bytes(name, value):
    with pytest.raises(UsageError, match=rf"{name}=.* whole number"):
        asyncio.run(prune(None, **{name: value}))
