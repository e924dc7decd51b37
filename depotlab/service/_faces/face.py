"""What both faces of the service have in common: how it is made, and how it shows itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depotlab._values import Value
from depotlab.errors import ServiceError
from depotlab.service._boundary import Storage
from depotlab.service._core.core import Core
from depotlab.service._core.parts import GitTokens
from depotlab.service._settings.depot import Depot
from depotlab.service._settings.limits import Limits
from depotlab.telemetry import Sink, Source

if TYPE_CHECKING:
    from depotlab.service._access.access import Access
    from depotlab.service._http.server import Tls
    from depotlab.service._reasons.rules import Rule
    from depotlab.service._settings.registry import Registry
    from depotlab.telemetry import Telemetry

__all__ = ["ServiceFace"]


class ServiceFace(Value):
    """A build service. Its arguments are told by the faces."""

    def __init__(
        self,
        *,
        depot: Depot | None = None,
        storage: Storage | None = None,
        telemetry: str | Path | Sink | bool | None = True,
        registry: Registry | None = None,
        platform: str = "linux/amd64",
        state: str | Path | None = None,
        limits: Limits | None = None,
        git_tokens: GitTokens | None = None,
        error_rules: Sequence[Rule] = (),
    ) -> None:
        self._core = Core(
            depot,
            storage,
            telemetry,
            registry,
            platform,
            state,
            limits,
            git_tokens,
            error_rules,
        )
        self._access: Access | None = None

    @property
    def telemetry(self) -> Telemetry:
        """What builds did, as tables and plots, and to ask with SQL.

        Raises:
            ServiceError: `failed_precondition`: the service has no telemetry, or its sink can only be written.
        """
        from depotlab.telemetry import Telemetry

        sink = self._core.sink
        # Of several sinks of which none can be asked the dialect is empty.
        if not isinstance(sink, Source) or not sink.dialect:
            raise ServiceError(
                "This build service has no telemetry that can be asked.",
                code="failed_precondition",
                hint="make it with telemetry=PATH, or with depotlab.telemetry.ClickHouse(...)",
            )
        return Telemetry(sink, self._core.writer)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self._core}>"

    def _facts(self) -> Iterable[tuple[str, object]]:
        return self._core.facts()

    def _made_access(self) -> Access:
        """The tokens of the service, made when they are first asked for since it was opened."""
        self._core.need_open()
        if self._access is None or self._access.database is not self._core.database:
            from depotlab.service._access.access import Access

            limits = self._core.limits
            self._access = Access(
                self._core.database,
                requests_per_minute=limits.max_requests_per_minute,
                builds_per_hour=limits.max_builds_per_hour,
            )
        return self._access

    async def _serving(self, host: str, port: int, tls: Tls) -> Any:
        """Open a port on the loop of the service; it is closed with the service."""
        from depotlab.service._http.server import serving

        access = self._made_access()
        folder = self._core.folder / "tls"
        opened = await serving(self._core, access, host=host, port=port, tls=tls, tls_folder=folder)
        self._core.closes_first(opened.close)
        return opened
