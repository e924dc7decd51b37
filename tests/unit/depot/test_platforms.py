import platform as this_computer

import pytest

from depotlab._depot import emulated, machine_platform, machines_for
from depotlab.errors import UsageError


@pytest.mark.parametrize(
    ("platform", "machine", "is_emulated"),
    [
        ("linux/amd64", "amd64", False),
        ("linux/amd64/v3", "amd64", False),
        ("x86_64", "amd64", False),
        ("linux/386", "amd64", False),
        ("linux/i686", "amd64", False),
        ("linux/arm64", "arm64", False),
        ("linux/arm64/v8", "arm64", False),
        ("linux/aarch64", "arm64", False),
        ("linux/arm/v7", "arm64", False),
        ("armv7l", "arm64", False),
        ("LINUX/ARM64", "arm64", False),
        ("linux/riscv64", "amd64", True),
        ("linux/s390x", "amd64", True),
    ],
)
def test_each_platform_has_its_machine(platform, machine, is_emulated):
    assert machine_platform(platform) == machine
    assert emulated(platform, machine) == is_emulated
    assert emulated(platform, {"amd64": "linux/arm64", "arm64": "amd64"}[machine])


@pytest.mark.parametrize("ours", ["x86_64", "aarch64"])
def test_without_a_platform_it_is_this_computers(ours, monkeypatch):
    monkeypatch.setattr(this_computer, "machine", lambda: ours)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[ours]
    assert machine_platform() == machine
    assert machines_for([]) == {machine: (f"linux/{machine}",)}


def test_one_machine_for_each_architecture_unless_one_is_forced():
    wanted = ["linux/arm64", "linux/386", "linux/arm/v7", "linux/arm64"]
    both = {"arm64": ("linux/arm64", "linux/arm/v7"), "amd64": ("linux/386",)}
    assert machines_for(wanted) == both
    assert machines_for(wanted, forced="dynamic") == both
    forced = machines_for(wanted, forced="linux/amd64")
    assert forced == {"amd64": ("linux/arm64", "linux/386", "linux/arm/v7")}


@pytest.mark.parametrize("platform", ["linux/", "a/b/c/d/e", "/", 7])
def test_what_is_no_platform_is_refused(platform):
    with pytest.raises(UsageError, match="platform="):
        machine_platform(platform)
