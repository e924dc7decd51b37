"""The service under load, in a process of its own: its peak memory is that of nothing else.

Called by `run` with a JSON object on its command line. All contexts are uploaded first; then all builds are asked
for at once, project by project in turns, as when many customers push within a second. Prints one JSON object: what
each build came to, what telemetry has of it, how long all of it took, and how long a build took alone before.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from depotlab.service import BuildService, Depot, Limits, LocalStorage
from tests.support.buildservice import archive
from tests.support.memory import memory_mb

__all__ = ["Plan"]

_WARM_UP, _ROUNDS = 2, 9

DOCKERFILE = """\
FROM busybox
COPY app.txt /app.txt
RUN app=$(cat /app.txt); i=0; while [ $i -lt {n_lines} ]; do echo "line $i of $app"; i=$((i+1)); done
"""

# Lines of the last try of each build; they have no number of a try, but none is older than its first step.
_LINES = """
WITH last AS (SELECT build_id, max(attempt) AS attempt FROM build_steps_v1 GROUP BY build_id),
     begun AS (SELECT build_id, min(started_at) AS began_at FROM build_steps_v1 JOIN last USING (build_id, attempt)
               GROUP BY build_id)
SELECT build_id, step_id, count(*) AS n FROM build_step_logs_v1 JOIN begun USING (build_id)
WHERE stream > 0 AND time >= began_at GROUP BY build_id, step_id
"""


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        plane: State folder of the Depot that it builds on.
        folder: For everything of the service.
        n_builds: In all.
        n_projects: They take turns.
        n_machines: Projects that build at the same time.
        n_lines: That the step of each build prints; no build finds another one's in the cache.
        idle_s: How long that Depot keeps a machine that nobody uses.
    """

    plane: str
    folder: str
    n_builds: int = 200
    n_projects: int = 20
    n_machines: int = 4
    n_lines: int = 50
    idle_s: float = 0.5


def run(plan: Plan) -> dict[str, Any]:
    folder = Path(plan.folder)
    limits = Limits(max_machines=plan.n_machines, max_running=2 * plan.n_machines)
    with BuildService(
        depot=Depot(local=plan.plane),
        storage=LocalStorage(folder / "contexts"),
        telemetry=str(folder / "builds.duckdb"),
        state=folder / "state",
        limits=limits,
    ) as service:
        alone_s = _alone_s(service)
        orders = [(f"project-{n % plan.n_projects:02}", f"d{n:03}") for n in range(plan.n_builds)]

        def upload(order: tuple[str, str]) -> str:
            project, deployment = order
            text = DOCKERFILE.format(n_lines=plan.n_lines)
            files = {"Dockerfile": text, "app.txt": f"{project} {deployment}\n"}
            return service.upload(project, archive(files))

        with ThreadPoolExecutor(8) as threads:
            contexts = list(threads.map(upload, orders))
        idle_mb = memory_mb()
        began_s = time.perf_counter()
        asked = [
            service.create_build(context, project=project, deployment=deployment)
            for context, (project, deployment) in zip(contexts, orders, strict=True)
        ]
        asked_s = time.perf_counter() - began_s
        with ThreadPoolExecutor(4) as threads:
            # The stream of its log ends with a build, so nothing has to be asked again and again.
            list(threads.map(lambda build: _last(service, build.build_id), asked))
        took_s = time.perf_counter() - began_s
        builds = [service.get_build(build.build_id) for build in asked]
        steps = service.telemetry.sql("SELECT build_id, step_id, attempt FROM build_steps_v1")
        lines = service.telemetry.sql(_LINES)
        return {
            "plan": asdict(plan),
            "alone_s": alone_s,
            "took_s": took_s,
            "asked_s": asked_s,
            "idle_mb": idle_mb,
            "peak_mb": memory_mb(),
            "builds": [_fields(build) for build in builds],
            "steps": [list(row.values()) for row in steps],
            "lines": [list(row.values()) for row in lines],
        }


def _alone_s(service: BuildService) -> list[float]:
    """How long builds take of which all is in the cache but the push, one after the other, with nothing beside them."""
    context = service.upload("alone", archive({"Dockerfile": "FROM busybox\nRUN echo alone\n"}))
    took_s = []
    for _ in range(_WARM_UP + _ROUNDS):
        began_s = time.perf_counter()
        service.build(context, project="alone", deployment="d1").check()
        took_s.append(time.perf_counter() - began_s)
    return took_s[_WARM_UP:]


def _last(service: BuildService, build_id: str) -> None:
    for _line in service.get_build_logs(build_id):
        pass


def _fields(build: Any) -> dict[str, Any]:
    return {
        "build_id": build.build_id,
        "project": build.project,
        "state": build.state,
        "error": build.error.message + " " + build.error.raw if build.error else "",
        "attempts": build.attempts,
        "stages": dict(build.stages),
        "created_s": build.created_at.timestamp(),
        "started_s": build.started_at.timestamp() if build.started_at else 0.0,
        "finished_s": build.finished_at.timestamp() if build.finished_at else 0.0,
        "depot_project_id": build.depot_project_id,
        "depot_build_id": build.depot_build_id,
        "n_log_lines": build.n_log_lines,
        "total_steps": build.total_steps,
    }


if __name__ == "__main__":
    json.dump(run(Plan(**json.loads(sys.argv[1]))), sys.stdout)
