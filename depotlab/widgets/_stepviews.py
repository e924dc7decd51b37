"""What every value that has the steps of a build can be asked: when, why so long, and the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depotlab.progress import Snapshot, Steps, critical_path
from depotlab.widgets._again import show_again
from depotlab.widgets._details import Details
from depotlab.widgets._slow import why_slow
from depotlab.widgets._stepgraph import step_graph, step_states
from depotlab.widgets._timeline import Timeline

if TYPE_CHECKING:
    from depotlab.llb import Picture

__all__ = ["StepViews"]


class StepViews:
    """The steps of a build, looked at from several sides."""

    __slots__ = ()

    def _steps_now(self) -> Snapshot:
        """Return the build as it is looked at."""
        raise NotImplementedError

    def _step_details(self) -> Details | None:
        """Return what knows more of the steps, if anything does."""
        return None

    @property
    def timeline(self) -> Timeline:
        """When the builder worked on each step: a chart in a notebook and in `print`, rows to go through, a table.

        Example:
            >>> [row.step.name for row in result.timeline if row.is_critical]  # doctest: +SKIP
            ['[web 2/3] RUN npm ci', 'exporting to image']
        """
        return Timeline(self._steps_now())

    @property
    def critical_path(self) -> Steps:
        """The chain of steps that the end of the build waited for, first to last.

        Each needed the one before it, or could not begin before it had ended. To make the build quicker, make one of
        these quicker: the others have time to spare. Of a build that runs it is the path so far.
        """
        return Steps(critical_path(self._steps_now()))

    def why_slow(self) -> str:
        """Say in a sentence what took the build its time.

        Example:
            >>> result.why_slow()  # doctest: +SKIP
            'Waited mostly for [web 2/3] RUN npm ci (1.9 s), [web 3/3] RUN npm run build (1.8 s).'
        """
        return why_slow(self._steps_now())

    def view(self) -> None:
        """Show the build again as its live view did, to be read: in a notebook below the cell, elsewhere as text.

        A click on a row, a box of the graph or a bar of the timeline shows what the step is, your line, its files, and
        all that it wrote, as long as the kernel lives. Close leaves the picture that the file keeps. Of a build that
        runs it is this moment.
        """
        show_again(self._steps_now(), self._step_details())

    def graph(self) -> Picture:
        """Return the steps as a picture, each coloured by what became of it.

        What a frontend did for itself is left out, unless it was slow.

        Raises:
            GraphError: Steps are shown in groups that need each other's members.
        """
        from depotlab.llb import Picture

        snapshot = self._steps_now()
        return Picture(step_graph(snapshot, self._step_details()), step_states(snapshot))
