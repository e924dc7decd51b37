"""For every kind of machine: how the engine runs there, or what is in the way and what to do."""

from dataclasses import replace
from pathlib import Path

import pytest

from depotlab._local import _host
from depotlab.errors import EngineError

KIT = Path("/usr/bin/rootlesskit")
ROOT = _host.Host(
    root=True,
    may_mount=True,
    rootlesskit=None,
    newuidmap=False,
    has_subids=False,
    user_namespaces="",
    proc_mountable=True,
    cgroups="v2",
)
USER = replace(ROOT, root=False, may_mount=False, rootlesskit=KIT, newuidmap=True, has_subids=True)


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        pytest.param(ROOT, _host.Mode(), id="root runs the daemon as it is"),
        pytest.param(USER, _host.Mode(rootlesskit=KIT), id="a user runs it in rootlesskit"),
        pytest.param(
            replace(USER, proc_mountable=False),
            _host.Mode(rootlesskit=KIT, process_sandbox=False),
            id="inside a container that masks /proc steps share processes",
        ),
    ],
)
def test_how_the_engine_runs(host: _host.Host, mode: _host.Mode) -> None:
    assert _host.decide(host) == mode


@pytest.mark.parametrize(
    ("host", "message", "hint"),
    [
        pytest.param(
            replace(ROOT, may_mount=False),
            "CAP_SYS_ADMIN is missing",
            "--privileged",
            id="root of a container without rights",
        ),
        pytest.param(
            replace(USER, rootlesskit=None),
            "rootlesskit is missing",
            "install",
            id="no rootlesskit",
        ),
        pytest.param(
            replace(USER, rootlesskit=None, newuidmap=False),
            "rootlesskit and uidmap are missing",
            "install",
            id="neither package",
        ),
        pytest.param(
            replace(USER, has_subids=False), "/etc/subuid", "--add-subuids", id="no range of ids"
        ),
        pytest.param(
            replace(USER, user_namespaces="the limit is 0"),
            "the limit is 0",
            "administrator",
            id="no user namespaces",
        ),
    ],
)
def test_what_is_in_the_way_has_a_fix(host: _host.Host, message: str, hint: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        _host.decide(host)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("apt-get", "sudo apt-get install -y busybox-static uidmap"),
        ("dnf", "sudo dnf install -y busybox shadow-utils"),
        ("apk", "sudo apk add busybox-static shadow-uidmap"),
        ("none", "install busybox-static and uidmap with the system's package manager"),
    ],
)
def test_packages_are_named_as_the_system_names_them(manager: str, command: str) -> None:
    def has(name: str) -> str | None:
        return f"/usr/bin/{name}" if name == manager else None

    assert _host.install_command("busybox-static", "uidmap", has=has, root=False) == command


def test_root_needs_no_sudo() -> None:
    assert _host.install_command("runc", has=lambda n: n, root=True) == "apt-get install -y runc"


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["cgroup.controllers"], "v2"),
        (["unified/cgroup.controllers", "pids/tasks"], "hybrid"),
        (["pids/tasks"], "v1"),
        ([], "none"),
    ],
)
def test_control_groups_are_told_apart(tmp_path, files: list[str], kind: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert _host.cgroups(tmp_path) == kind


def test_this_machine_can_be_looked_at() -> None:
    assert isinstance(_host.look(), _host.Host)
