"""Programs arrive by the first way that works, whole or not at all, and failures tell every way."""

import multiprocessing
import os
from pathlib import Path

import pytest

from depotlab._local import _host, _programs, _provision
from depotlab.errors import EngineError
from tests.support.fake_programs import archive, program, script

SAYS = {
    "buildkitd": "buildkitd github.com/moby/buildkit v9.1.2 abc",
    "buildctl": "buildctl github.com/moby/buildkit v9.1.2 abc",
    "registry": "registry github.com/distribution/distribution/v3 v8.1.2",
}


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path, empty_path) -> Path:
    monkeypatch.setenv("DEPOTLAB_ENGINE_DIR", str(tmp_path / "engine"))
    monkeypatch.delenv("DEPOTLAB_ENGINE_URL", raising=False)
    return tmp_path / "engine"


@pytest.fixture
def release(file_server) -> tuple[_programs.Product, ...]:
    """Made-up releases on the file server, with their sums."""
    on = _programs.this_platform()
    buildkit = archive(
        file_server.folder / "buildkit.tgz",
        {f"bin/{name}": script(SAYS[name]) for name in ("buildkitd", "buildctl")},
    )
    registry = archive(
        file_server.folder / "registry.tgz",
        {"registry": script(SAYS["registry"]), "LICENSE": "text"},
    )
    url = file_server.url
    return (
        _programs.Product("buildkit", "9.1.2", url, {on: ("buildkit.tgz", buildkit)}),
        _programs.Product("registry", "8.1.2", url, {on: ("registry.tgz", registry)}),
    )


def test_release_archives_are_fetched_checked_and_unpacked(release, own_folder) -> None:
    told: list[str] = []
    programs = _provision.install(wanted=release, on_progress=told.append)
    assert programs.buildkitd.host_path == own_folder / "buildkit-v9.1.2/bin/buildkitd"
    assert programs.registry.host_path == own_folder / "registry-v8.1.2/bin/registry"
    assert _programs.ask_version(programs.registry.host_path) == SAYS["registry"]
    assert told[-1] == "installed registry 8.1.2 from its release archive"


def test_nothing_is_left_of_the_work(release, own_folder) -> None:
    _provision.install(wanted=release)
    names = sorted(path.name for path in own_folder.iterdir())
    assert names == ["buildkit-v9.1.2", "install.lock", "registry-v8.1.2"]


def test_what_is_there_is_not_fetched_again(release, file_server) -> None:
    _provision.install(wanted=release)
    file_server.asked.clear()
    _provision.install(wanted=release)
    assert file_server.asked == []


def test_usable_programs_on_path_come_first(release, file_server, empty_path) -> None:
    for name in ("buildkitd", "registry"):
        program(empty_path / name, SAYS[name])
    programs = _provision.install(wanted=release)
    assert (programs.buildkitd.origin, programs.registry.origin) == ("PATH", "PATH")
    assert file_server.asked == []


def test_only_what_is_missing_is_fetched(release, file_server, empty_path) -> None:
    program(empty_path / "buildkitd", SAYS["buildkitd"])
    programs = _provision.install(wanted=release)
    assert (programs.buildkitd.origin, programs.registry.origin) == ("PATH", "installed")
    assert file_server.asked == ["/registry.tgz"]


def test_a_mirror_is_named_by_argument_or_variable(release, file_server, monkeypatch) -> None:
    elsewhere = [
        _programs.Product(p.name, p.version, "http://127.0.0.1:9/no", p.archives) for p in release
    ]
    monkeypatch.setenv("DEPOTLAB_ENGINE_URL", f"{file_server.url}/")
    _provision.install(wanted=elsewhere)
    assert file_server.asked == ["/buildkit.tgz", "/registry.tgz"]


def test_without_a_pinned_sum_nothing_is_downloaded(release, file_server) -> None:
    unpinned = [_programs.Product(p.name, p.version, p.url, {}) for p in release]
    with pytest.raises(EngineError, match="nothing is downloaded without one"):
        _provision.install(wanted=unpinned)
    assert file_server.asked == []


def test_a_file_with_another_sum_is_never_run_or_kept(release, file_server, own_folder) -> None:
    archive(file_server.folder / "buildkit.tgz", {"bin/buildkitd": "#!/bin/sh\ntouch /tmp/pwned\n"})
    with pytest.raises(EngineError, match="not the file that was expected"):
        _provision.install(wanted=release)
    assert not (own_folder / "buildkit-v9.1.2").exists()


def test_an_archive_of_another_version_is_refused(release, file_server, own_folder) -> None:
    says = script(SAYS["buildkitd"].replace("9.1.2", "9.1.1"))
    sha256 = archive(file_server.folder / "buildkit.tgz", {"bin/buildkitd": says})
    pins = {_programs.this_platform(): ("buildkit.tgz", sha256)}
    wanted = [_programs.Product("buildkit", "9.1.2", file_server.url, pins), release[1]]
    with pytest.raises(EngineError, match="another version"):
        _provision.install(wanted=wanted)
    assert not (own_folder / "buildkit-v9.1.2").exists()


def test_when_nothing_works_the_error_tells_every_way_and_what_to_do(empty_path) -> None:
    on = _programs.this_platform()
    wanted = [
        _programs.Product(name, version, "http://127.0.0.1:9", {on: (f"{name}.tgz", "0" * 64)})
        for name, version in (("buildkit", "9.1.2"), ("registry", "8.1.2"))
    ]
    program(empty_path / "buildkitd", "buildkitd github.com/moby/buildkit v0.9.0 abc")
    with pytest.raises(EngineError) as caught:
        _provision.install(wanted=wanted)
    lines = str(caught.value).splitlines()
    assert lines[0] == "The engine needs buildkitd and registry, and no way to get it worked:"
    assert [line.split(":")[0] for line in lines[1:6]] == [
        "  - buildkitd on PATH",
        "  - release archive of buildkit",
        "  - registry on PATH",
        "  - release archive of registry",
        "  - Go toolchain",
    ]
    assert "there is no `go` on PATH" in lines[5]
    assert "depotlab engine install" in caught.value.hint


FAKE_GO = """#!/bin/sh
# Do as `go build -o DIR/ PACKAGE...` does, with programs that say a version.
[ -f go.mod ] && [ -f go.sum ] || exit 9
[ "$CGO_ENABLED" = 0 ] || exit 8
while [ "$1" != -o ]; do shift; done
dir=$2; shift 2
for package; do
  echo "$package" >&2
  name=${package##*/}
  case $name in registry) v='github.com/distribution/distribution/v3 v8.1.2';;
                *) v='github.com/moby/buildkit v9.1.2';; esac
  printf '#!/bin/sh\\necho %s %s\\n' "$name" "$v" > "$dir/$name"
  /bin/chmod 755 "$dir/$name"
done
"""


def fake_go(folder: Path, text: str = FAKE_GO) -> None:
    (folder / "go").write_text(text)
    (folder / "go").chmod(0o755)


def unreachable(release) -> list[_programs.Product]:
    return [_programs.Product(p.name, p.version, "http://127.0.0.1:9", p.archives) for p in release]


def test_with_no_archive_go_builds_everything_in_one_run(release, empty_path, own_folder) -> None:
    fake_go(empty_path)
    told: list[str] = []
    programs = _provision.install(wanted=unreachable(release), on_progress=told.append)
    assert programs.buildctl is not None
    assert programs.buildctl.host_path == own_folder / "buildkit-v9.1.2/bin/buildctl"
    assert programs.registry.version == "8.1.2"
    assert (
        told[2]
        == "building buildkitd and registry from source with Go: 3 to 5 minutes on two cores, once"
    )


def test_a_failing_go_build_shows_its_last_words(release, empty_path) -> None:
    fake_go(empty_path, "#!/bin/sh\necho 'dial tcp: lookup proxy: no such host' >&2\nexit 1\n")
    with pytest.raises(EngineError, match="exit code 1: dial tcp: lookup proxy: no such host"):
        _provision.install(wanted=unreachable(release))


def test_the_system_it_cannot_run_on_is_named(monkeypatch) -> None:
    monkeypatch.setattr(_host.platform, "system", lambda: "Darwin")
    with pytest.raises(EngineError, match="needs Linux, and this is macOS") as caught:
        _provision.install()
    assert "docker-container://" in caught.value.hint


def _install_in_child(wanted, results) -> None:
    programs = _provision.install(wanted=wanted)
    results.put((os.getpid(), str(programs.buildkitd.host_path)))


def test_two_processes_install_at_once_and_one_does_the_work(release, file_server) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    children = [
        context.Process(target=_install_in_child, args=(release, results)) for _ in range(2)
    ]
    for child in children:
        child.start()
    paths = {results.get(timeout=60)[1] for _ in children}
    for child in children:
        child.join()
    results.close()
    results.join_thread()
    assert len(paths) == 1
    assert sorted(file_server.asked) == ["/buildkit.tgz", "/registry.tgz"]


def test_the_workspace_of_a_killed_installation_is_removed(release, own_folder) -> None:
    (own_folder / ".installing-dead").mkdir(parents=True)
    _provision.install(wanted=release)
    assert not (own_folder / ".installing-dead").exists()
