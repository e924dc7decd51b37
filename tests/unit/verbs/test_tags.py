"""`tags=`: what no image can be called."""

import pytest

from depotlab import llb
from depotlab._verbs.request import prepare
from depotlab.errors import ReferenceInvalid


def test_the_registry_of_a_builder_that_has_none_is_no_part_of_a_name():
    registry = None  # what `bk.registry` is where none came with the builder
    with pytest.raises(ReferenceInvalid, match="begins with None") as refused:
        prepare(llb.scratch(), tags=f"{registry}/app:1", push=True)
    assert "'ghcr.io/me/app:1'" in refused.value.hint
