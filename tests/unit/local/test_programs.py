"""Which program is taken, and why another is not."""

import pytest

from depotlab._local import _programs
from tests.support.fake_programs import program

BUILDKIT, REGISTRY = _programs.products()


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DEPOTLAB_ENGINE_DIR", str(tmp_path / "engine"))


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        pytest.param(
            "buildkitd github.com/moby/buildkit v0.32.2 7a1d6ab", (0, 32, 2), id="buildkitd"
        ),
        pytest.param(
            "docker-registry github.com/docker/distribution 2.8.2+ds1", (2, 8, 2), id="Debian's"
        ),
        pytest.param("runc version 1.1.5+ds1\ncommit: x\nspec: 1.0.2-dev", (1, 1, 5), id="runc"),
        pytest.param("crun version 1.15\ncommit: f8a0", (1, 15, 0), id="crun"),
        pytest.param("buildkitd x v0.0.0+unknown", None, id="a build without version flags"),
        pytest.param("no number", None, id="nothing to see"),
    ],
)
def test_versions_as_real_programs_say_them(says: str, expected: object) -> None:
    assert _programs.parse_version(says) == expected


def test_the_shipped_pins_are_whole() -> None:
    for product in _programs.products():
        assert set(product.archives) == {"linux/amd64", "linux/arm64"}
        for file, sha256 in product.archives.values():
            assert product.version in file
            assert len(bytes.fromhex(sha256)) == 32


def test_go_mod_pins_the_same_versions_as_the_release_archives() -> None:
    text = _programs.resources.files("depotlab._local").joinpath("engine/go.mod").read_text()
    assert f"github.com/moby/buildkit v{BUILDKIT.version} " in text
    assert f"github.com/distribution/distribution/v3 v{REGISTRY.version} " in text


def test_a_usable_program_on_path_is_found(empty_path) -> None:
    path = program(empty_path / "buildkitd", "buildkitd github.com/moby/buildkit v0.30.0 abc")
    found, _ = _programs.find(BUILDKIT)
    assert found == _programs.Program("buildkitd", path, "0.30.0", "PATH")


def test_an_installed_program_is_preferred_to_the_system_one(empty_path) -> None:
    program(empty_path / "buildkitd", "buildkitd github.com/moby/buildkit v0.99.0 abc")
    folder = BUILDKIT.host_dir / "bin"
    folder.mkdir(parents=True)
    program(folder / "buildkitd", "never asked")
    found, _ = _programs.find(BUILDKIT)
    assert found is not None
    assert (found.origin, found.version) == ("installed", BUILDKIT.version)


@pytest.mark.parametrize(
    ("says", "exit_code", "reason"),
    [
        pytest.param("buildkitd github.com/moby/buildkit v0.16.0 a", 0, "0.17.0", id="too old"),
        pytest.param(
            "buildkitd github.com/moby/buildkit v0.0.0+unknown", 0, "v0.0.0", id="unknown"
        ),
        pytest.param("something else 9.9.9", 0, "another program", id="a stranger"),
        pytest.param("cannot open shared object", 127, "does not run", id="broken"),
    ],
)
def test_a_program_that_will_not_do_is_refused_with_the_reason(
    empty_path, says, exit_code, reason
) -> None:
    program(empty_path / "buildkitd", says, exit_code)
    found, why = _programs.find(BUILDKIT)
    assert found is None
    assert reason in why


def test_the_registry_may_have_the_name_that_debian_gives_it(empty_path) -> None:
    program(empty_path / "registry", "some windows registry editor 1.2.3")
    program(empty_path / "docker-registry", "docker-registry github.com/docker/distribution 2.8.2")
    found, _ = _programs.find(REGISTRY)
    assert found is not None
    assert found.host_path.name == "docker-registry"


def test_crun_is_taken_where_there_is_no_runc(empty_path) -> None:
    assert _programs.find_runtime() == (None, "neither runc nor crun is on PATH")
    program(empty_path / "crun", "crun version 1.20")
    found, _ = _programs.find_runtime()
    assert found is not None
    assert (found.name, found.version) == ("crun", "1.20.0")


def test_a_runtime_without_the_option_that_buildkit_needs_is_refused(empty_path) -> None:
    program(empty_path / "crun", "crun version 1.8.1")
    program(empty_path / "runc", "runc version 1.0.3")
    found, why = _programs.find_runtime()
    assert found is None
    assert "1.1.0" in why
    assert "1.15.0" in why


def test_the_runc_of_the_release_archive_is_the_last_resort(empty_path) -> None:
    folder = BUILDKIT.host_dir / "bin"
    folder.mkdir(parents=True)
    program(folder / "buildkit-runc", "runc version 1.3.0")
    found, _ = _programs.find_runtime()
    assert found is not None
    assert found.origin == "installed"


def test_folders_that_a_users_path_lacks_are_searched_last(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/mine:/usr/bin")
    assert (
        _programs.search_path()
        == "/mine:/usr/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/bin"
    )
