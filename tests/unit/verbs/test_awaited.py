"""A build that is awaited: its view ends before the code after it goes on."""

import asyncio

import pytest

from depotlab import llb
from depotlab._portal import portal
from depotlab._verbs.details import StepDetails
from depotlab._verbs.request import prepare
from depotlab._verbs.result import Build
from depotlab.errors import DaemonError
from depotlab.progress import Fold


class View:
    """In place of a ticker: says whether its last frame was waited for."""

    is_drawn = False

    def end(self):
        """Ask for the last frame."""

    def stop(self):
        self.is_drawn = True


async def fails():
    raise DaemonError("no")


def test_the_view_of_a_build_that_failed_is_drawn_to_its_end_first():
    view, request = View(), prepare(llb.scratch())

    async def awaited():
        build = Build(request, portal().submit(fails()), Fold(), view, StepDetails(request))
        with pytest.raises(DaemonError):
            await build
        assert view.is_drawn

    asyncio.run(awaited())
