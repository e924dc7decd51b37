"""The magics themselves."""

from __future__ import annotations

import argparse
import ast
from typing import Any

from IPython.core.error import UsageError as LineError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class

import depotlab
from depotlab._magics.complete import complete_builder, complete_flags
from depotlab._magics.current import CurrentBuilder
from depotlab._magics.words import HelpShown, Words, pair, secret_pair, variable
from depotlab.client import Client
from depotlab.errors import UsageError
from depotlab.llb import State

__all__ = ["BuildMagics", "load"]

# What a cell of %%llb finds without importing it.
_NAMES = ("llb", "mount", "export", "cache", "secret", "ssh", "recipes")


def _building(magic: str, description: str) -> Words:
    words = Words(magic, description)
    add = words.add_argument
    add("-t", "--tag", action="append", default=[], help="name of the image; may be repeated")
    add("--push", action="store_true", help="push it to its registry")
    add("--load", action="store_true", help="load it into the Docker Engine of this computer")
    add("--platform", action="append", default=[], help="such as linux/arm64; may be repeated")
    add("--no-cache", action="store_true", help="run every step again")
    add(
        "--secret",
        action="append",
        default=[],
        type=secret_pair,
        metavar="id=ID[,src=PATH|,env=NAME]",
    )
    add("--ssh", action="store_true", help="lend the SSH agent of this computer")
    add("--timeout", type=float, metavar="SECONDS", help="cancel the build after so long")
    add("--progress", default="auto", choices=("auto", "notebook", "tty", "plain", "json", "quiet"))
    add("-o", "--out", type=variable, metavar="NAME", help="put the result into this variable")
    return words


_DOCKERFILE = _building(
    "dockerfile",
    "Build the cell as a Dockerfile, on the builder that %builder shows. As %dockerfile, without a cell, it builds the "
    "Dockerfile of CONTEXT.",
)
_DOCKERFILE.add_argument(
    "context",
    nargs="?",
    help="what COPY reads from: a directory or a URL. When left out it is nothing for a cell, "
    "the working directory without one",
)
_DOCKERFILE.add_argument("--target", default="", help="stage to stop at")
_DOCKERFILE.add_argument("--build-arg", action="append", default=[], type=pair, metavar="KEY=VALUE")

_LLB = _building(
    "llb",
    "Run the cell as Python and build the graph that its last line is, on the builder that %builder shows. "
    "llb, mount, export, cache, secret, ssh and recipes are there.",
)
_LLB.add_argument("graph", nargs="?", help="variable that has the graph, when there is no cell")
_LLB.add_argument("--draw", action="store_true", help="only draw the graph; nothing runs")

_BUILDER = Words("builder", "Show the builder of %%dockerfile and %%llb, or choose another.")
_BUILDER.add_argument(
    "choice",
    nargs="*",
    help="auto | local | depot [PROJECT] | depot local | an address | a variable that holds a client",
)

_BUILDER.add_argument("--close", action="store_true", help="let go of it")

_BUILDS = Words("builds", "List the builds that the builder remembers, the newest first.")
_BUILDS.add_argument("-n", type=int, default=20, metavar="COUNT", help="at most so many (20)")
_BUILDS.add_argument("--failed", action="store_true", help="only those that failed")


@magics_class
class BuildMagics(Magics):
    """`%%dockerfile`, `%%llb`, `%builder`, `%builds`."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell: Any = shell
        self.current = CurrentBuilder()

    @line_cell_magic
    def dockerfile(self, line: str, cell: str | None = None) -> Any:
        """Build the cell as a Dockerfile; without a cell, that of a directory. `%dockerfile --help` says more."""
        try:
            asked = _DOCKERFILE.read(line)
        except HelpShown:
            return None
        target = depotlab.dockerfile(
            asked.context, text=cell, target=asked.target, args=dict(asked.build_arg)
        )
        return self._build(target, asked)

    @line_cell_magic
    def llb(self, line: str, cell: str | None = None) -> Any:
        """Run the cell and build the graph on its last line; without a cell, that in a variable. See `%llb --help`."""
        try:
            asked = _LLB.read(line)
        except HelpShown:
            return None
        if (cell is None) == (asked.graph is None):
            _LLB.error(
                "the graph is either the last line of a cell, or in the variable that is named"
            )
        state = self._find(asked.graph) if cell is None else self._run(cell)
        return self._keep(state, asked.out) if asked.draw else self._build(state, asked)

    @line_magic
    def builder(self, line: str) -> Any:
        """Show or choose the builder. `%builder --help` lists what it can be."""
        try:
            asked = _BUILDER.read(line)
        except HelpShown:
            return None
        if asked.close:
            return self.current.close()
        if asked.choice:
            return self.current.choose(asked.choice, self._shell.user_ns)
        return self.current.get()

    @line_magic
    def builds(self, line: str) -> Any:
        """List the builds that the builder remembers. `%builds --help` lists the options."""
        try:
            asked = _BUILDS.read(line)
        except HelpShown:
            return None
        status = "error" if asked.failed else None
        return self.current.get().history(status=status, limit=asked.n)

    def _build(self, target: Any, asked: argparse.Namespace) -> Any:
        builder: Client = self.current.get()
        result = builder.build(
            target,
            tags=asked.tag or None,
            push=asked.push,
            load=asked.load,
            platform=asked.platform or None,
            no_cache=asked.no_cache,
            secrets=dict(asked.secret) or None,
            ssh=depotlab.ssh.agent() if asked.ssh else None,
            timeout_s=asked.timeout,
            progress=asked.progress,
        )
        return self._keep(result, asked.out)

    def _keep(self, value: Any, name: str | None) -> Any:
        """Put a value where the user wants it: into a variable, or below the cell."""
        if name is None:
            return value
        self._shell.user_ns[name] = value
        return None

    def _run(self, cell: str) -> State:
        """Run Python in the user's variables, so that its lines are found in errors, and return the last expression."""
        shell = self._shell
        for name in _NAMES:
            shell.user_ns.setdefault(name, getattr(depotlab, name))
        # The line of the magic is the first of the cell that people see.
        source = "\n" + shell.transform_cell(cell)
        place = shell.compile.cache(source, shell.execution_count, raw_code="\n" + cell)
        tree = ast.parse(source, place)
        if not tree.body or not isinstance(tree.body[-1], ast.Expr):
            raise LineError("%%llb: the last line of the cell has to be the graph to build")
        last = ast.Expression(tree.body[-1].value)
        del tree.body[-1]
        exec(compile(tree, place, "exec"), shell.user_ns)  # noqa: S102 - the user's own cell
        value = eval(compile(last, place, "eval"), shell.user_ns)  # noqa: S307 - as above
        return _checked(value, "The last line of the cell")

    def _find(self, name: str) -> State:
        if name not in self._shell.user_ns:
            _LLB.error(f"there is no variable {name!r}")
        return _checked(self._shell.user_ns[name], f"{name!r}")


def _checked(value: object, what: str) -> State:
    if isinstance(value, State):
        return value
    raise UsageError(
        f"{what} is of type {type(value).__name__}, and not a graph.",
        hint="it has to be a state, such as llb.image('busybox').run('echo hi')",
    )


def load(shell: Any) -> None:
    """Register the magics and their completion with an `InteractiveShell`; a second time changes nothing."""
    if any(isinstance(known, BuildMagics) for known in shell.magics_manager.registry.values()):
        return
    shell.register_magics(BuildMagics(shell))
    for words, holding in ((_DOCKERFILE, None), (_LLB, State), (_BUILDS, None)):
        for percent in ("%", "%%"):
            key = percent + words.name
            shell.set_hook("complete_command", complete_flags(words, holding), str_key=key)
    shell.set_hook("complete_command", complete_builder, str_key=f"%{_BUILDER.name}")
