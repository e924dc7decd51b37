"""No old copy at the daemon may pass for the new file; see the docstring of `versions.py`."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from depotlab._session import versions
from depotlab._session.versions import Versions, shared_key
from depotlab._transfer import Entry, filemode

DAY_NS = 86_400 * 10**9
LONG_AGO = time.time_ns() - 30 * DAY_NS


def entry(
    path: str = "f", *, time_ns: int = LONG_AGO, changed_ns: int | None = None, inode: int = 1, link: str = "",
    size: int = 4, mode: int = 0o644,
) -> Entry:  # fmt: skip
    """An entry that was written plainly, unless `changed_ns` says that somebody set its time."""
    changed = time_ns if changed_ns is None else changed_ns
    return Entry(path.encode(), mode, size, time_ns, link.encode(), None, None, changed, inode)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], Versions]:
    return lambda: Versions(Path("/src"), tmp_path / "state" / "file")


def sent_ns(opened: Versions, one: Entry) -> int:
    (stamped,) = opened.stamp([one])
    assert stamped._replace(modified_ns=0) == one._replace(modified_ns=0)
    return stamped.modified_ns


def test_files_that_were_written_plainly_are_sent_as_they_are(
    opened: Callable[[], Versions],
) -> None:
    entries = [entry("a"), entry("b", time_ns=LONG_AGO + 5)]
    assert opened().stamp(entries) is entries


@pytest.mark.parametrize("mode", [filemode.DIR | 0o755, filemode.SYMLINK | 0o777, filemode.FIFO])
def test_what_has_no_content_is_sent_as_it_is(opened: Callable[[], Versions], mode: int) -> None:
    one = entry(mode=mode, changed_ns=LONG_AGO + DAY_NS)
    assert sent_ns(opened(), one) == LONG_AGO


def test_an_unchanged_file_is_sent_with_the_same_time_in_every_session(
    opened: Callable[[], Versions],
) -> None:
    one = entry(changed_ns=LONG_AGO + DAY_NS)
    first = sent_ns(opened(), one)
    assert sent_ns(opened(), one) == first
    assert first - LONG_AGO < 1000


def test_every_version_with_the_same_size_and_time_is_sent_with_another_time(
    opened: Callable[[], Versions],
) -> None:
    plain = sent_ns(opened(), entry())
    changed = [sent_ns(opened(), entry(changed_ns=LONG_AGO + n * DAY_NS)) for n in range(1, 10)]
    replaced = sent_ns(opened(), entry(changed_ns=LONG_AGO + DAY_NS, inode=2))
    assert len({plain, *changed, replaced}) == 11


def test_a_version_that_comes_back_after_another_is_still_told_apart(
    opened: Callable[[], Versions],
) -> None:
    one = sent_ns(opened(), entry(changed_ns=LONG_AGO + DAY_NS))
    sent_ns(opened(), entry(time_ns=LONG_AGO + 5, changed_ns=LONG_AGO + 2 * DAY_NS))
    assert sent_ns(opened(), entry(changed_ns=LONG_AGO + 3 * DAY_NS)) != one


def test_equal_times_of_different_files_stay_equal(opened: Callable[[], Versions]) -> None:
    """Tools such as make compare times; unpacked archives have many equal ones."""
    unpacked = [entry(name, changed_ns=LONG_AGO + DAY_NS + n) for n, name in enumerate("abc")]
    assert len({one.modified_ns for one in opened().stamp(unpacked)}) == 1


def test_all_names_of_an_inode_go_with_one_time(opened: Callable[[], Versions]) -> None:
    sent_ns(opened(), entry("a", changed_ns=LONG_AGO + DAY_NS))
    names = [
        entry("a", changed_ns=LONG_AGO + 2 * DAY_NS),
        entry("b", changed_ns=LONG_AGO + 2 * DAY_NS, link="a"),
    ]
    assert len({one.modified_ns for one in opened().stamp(names)}) == 1


@pytest.mark.parametrize(
    ("age_ns", "whole_seconds", "fresh"),
    [
        pytest.param(0, False, True, id="just now"),
        pytest.param(10**9, False, False, id="a second ago, by a fine clock"),
        pytest.param(10**9, True, True, id="a second ago, by a clock of whole seconds"),
        pytest.param(10 * 10**9, True, False, id="ten seconds ago"),
    ],
)
def test_a_file_that_may_still_change_within_a_tick_is_sent_again_next_time(
    opened: Callable[[], Versions], age_ns: int, whole_seconds: bool, fresh: bool
) -> None:
    time_ns = time.time_ns() - age_ns
    time_ns -= time_ns % 10**9 if whole_seconds else 0
    time_ns += 0 if whole_seconds or time_ns % 10**9 else 1
    one = entry(time_ns=time_ns)
    now, later = sent_ns(opened(), one), sent_ns(opened(), one)
    assert (now != time_ns) is fresh
    assert (now != later) is fresh


def test_two_sessions_at_once_see_each_others_records(opened: Callable[[], Versions]) -> None:
    one, other = opened(), opened()
    first = sent_ns(one, entry(changed_ns=LONG_AGO + DAY_NS))
    second = sent_ns(other, entry(changed_ns=LONG_AGO + 2 * DAY_NS))
    third = sent_ns(one, entry(changed_ns=LONG_AGO + 3 * DAY_NS))
    assert len({first, second, third}) == 3


def test_the_state_file_is_private_and_names_nothing(
    opened: Callable[[], Versions], tmp_path: Path
) -> None:
    opened().stamp([entry("very-secret-name", changed_ns=LONG_AGO + DAY_NS)])
    file = tmp_path / "state" / "file"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert b"secret" not in file.read_bytes()
    assert len(file.read_bytes()) == 16 + 16


@pytest.mark.parametrize("content", [b"", b"short", bytes(16 + 5)])
def test_records_that_were_cut_off_start_again_with_another_id(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    fresh = Versions(Path("/src"), file)
    assert fresh.id != content[:16]
    assert file.read_bytes() == fresh.id
    assert Versions(Path("/src"), file).id == fresh.id


def test_too_many_records_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_MAX_RECORDS", 3)
    file = tmp_path / "file"
    first = Versions(Path("/src"), file)
    first.stamp([entry(name, changed_ns=LONG_AGO + DAY_NS) for name in "abcd"])
    assert Versions(Path("/src"), file).id != first.id


def test_when_records_start_again_under_a_session_it_sends_times_that_nobody_else_uses(
    opened: Callable[[], Versions], tmp_path: Path
) -> None:
    one = opened()
    (tmp_path / "state" / "file").write_bytes(b"another id 16 by")
    changed = entry(changed_ns=LONG_AGO + DAY_NS)
    assert sent_ns(one, changed) - LONG_AGO > 1000


def test_when_records_cannot_be_written_nothing_is_shared(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    one = Versions(Path("/src"), tmp_path / "file" / "x")
    other = Versions(Path("/src"), tmp_path / "file" / "x")
    assert one.id != other.id
    assert sent_ns(one, entry(changed_ns=LONG_AGO + DAY_NS)) == LONG_AGO + 1


def test_records_of_directories_that_were_not_used_for_long_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "_MAX_FILES", 3)
    for n in range(5):
        Versions(Path("/src"), tmp_path / "state" / str(n))
        os.utime(tmp_path / "state" / str(n), (n, n))
        if n == 2:
            Versions(Path("/src"), tmp_path / "state" / "0")  # used again
    assert sorted(os.listdir(tmp_path / "state")) == ["0", "3", "4"]


def test_the_shared_key_tells_directories_names_and_machines_apart(tmp_path: Path) -> None:
    def key(**folders: str) -> str:
        return shared_key({name: Versions.of(Path(path)) for name, path in folders.items()})

    assert key(context="/a") == key(context="/a")
    assert (
        len({key(context="/a"), key(context="/b"), key(other="/a"), key(context="/a", d="/a")}) == 4
    )
    assert key(context="/a", d="/b") == key(d="/b", context="/a")
    assert ":" not in key(context="/a")
    assert key() != key()


def test_another_machine_with_the_same_home_has_another_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = Versions.of(Path("/a")).id
    monkeypatch.setattr(versions.socket, "gethostname", lambda: "elsewhere")
    assert Versions.of(Path("/a")).id != here


def test_the_state_directory_is_that_of_the_user(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Versions.of(Path("/a"))
    assert len(os.listdir(home / ".local/state/depotlab/contexts")) == 1
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    Versions.of(Path("/a"))
    assert len(os.listdir(tmp_path / "xdg/depotlab/contexts")) == 1
