"""Where the engine keeps things on this machine, and files that only their owner can read.

Three folders, each with its own override:

* programs: `$XDG_CACHE_HOME/depotlab/engine` (`DEPOTLAB_ENGINE_DIR`), may be deleted at any time;
* state: `$XDG_DATA_HOME/depotlab/engine` (`DEPOTLAB_STATE`), cache, images, logs;
* sockets: `run` inside the state folder, or a private folder elsewhere when that path is too long.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from depotlab.errors import EngineError

# sun_path holds 108 bytes with its closing zero. Source: Linux unix(7).
SOCKET_PATH_LIMIT_BYTES = 107
_LONGEST_SOCKET_NAME = "rootlesskit/api.sock"


def engine_dir() -> Path:
    """Return the folder that holds installed programs, one folder for each version."""
    override = os.environ.get("DEPOTLAB_ENGINE_DIR")
    if override:
        return Path(override).expanduser().absolute()
    return _xdg("XDG_CACHE_HOME", ".cache") / "depotlab" / "engine"


def state_dir(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the engine's state: `given`, or `DEPOTLAB_STATE`, or the default."""
    chosen = os.fspath(given) if given is not None else os.environ.get("DEPOTLAB_STATE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return _xdg("XDG_DATA_HOME", ".local/share") / "depotlab" / "engine"


def _xdg(variable: str, below_home: str) -> Path:
    # A relative value has to be ignored. Source: XDG Base Directory Specification.
    value = os.environ.get(variable, "")
    return Path(value) if Path(value).is_absolute() else Path.home() / below_home


def make_private_dir(path: Path) -> Path:
    """Create a folder that only we can enter, or take away the rights of others on it.

    Raises:
        EngineError: It cannot be created, or it belongs to someone else.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise EngineError(
                f"{path} belongs to another user (uid {found.st_uid}).",
                hint="choose another folder with the environment variable DEPOTLAB_STATE",
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise EngineError(
            f"The folder {path} cannot be used: {error.strerror}.",
            hint="choose another folder with the environment variable DEPOTLAB_STATE",
        ) from error
    return path


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, so that a reader sees the old text or the new; mode 0600."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_text(path: Path) -> str | None:
    """Return what is in a file, or None when there is no such file."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None


class State:
    """The names inside one state folder. Makes no file by itself.

    Attributes:
        host_dir: The folder.
    """

    def __init__(self, host_dir: Path) -> None:
        self.host_dir = host_dir
        self.root = host_dir / "root"
        self.registry = host_dir / "registry"
        self.logs = host_dir / "logs"
        self.buildkitd_config = host_dir / "buildkitd.toml"
        self.registry_config = host_dir / "registry.yml"
        self.port = host_dir / "port"
        self.record = host_dir / "supervisor.json"
        self.last_end = host_dir / "last-end.json"
        self.start_lock = host_dir / "start.lock"
        self.supervisor_lock = host_dir / "supervisor.lock"
        self._run_dir_note = host_dir / "run-dir"

    def make(self) -> None:
        """Create the folders.

        Raises:
            EngineError: One of them cannot be used.
        """
        for folder in (self.host_dir, self.root, self.registry, self.logs):
            make_private_dir(folder)

    def run_dir(self) -> Path:
        """Return the folder of the sockets as last recorded; it may not exist."""
        note = read_text(self._run_dir_note)
        return Path(note) if note else self.host_dir / "run"

    def choose_run_dir(self) -> Path:
        """Create and record the folder of the sockets. Call it under the start lock.

        A path that is too long for a socket gets a fresh private folder below
        `XDG_RUNTIME_DIR` or the temporary folder. A recorded one is used again only while
        it is ours alone: anyone may create names in a temporary folder.
        """
        inside = self.host_dir / "run"
        if fits_a_socket(inside):
            self._run_dir_note.unlink(missing_ok=True)
            return make_private_dir(inside)
        recorded = self.run_dir()
        if recorded != inside and _is_ours_alone(recorded):
            return recorded
        made = Path(tempfile.mkdtemp(prefix="depotlab-", dir=_short_base()))
        write_private(self._run_dir_note, str(made))
        return made


def fits_a_socket(run_dir: Path) -> bool:
    """Return whether every socket name that we use is short enough in this folder."""
    return len(os.fsencode(run_dir / _LONGEST_SOCKET_NAME)) <= SOCKET_PATH_LIMIT_BYTES


def _is_ours_alone(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and not stat.S_IMODE(found.st_mode) & 0o077
    )


def _short_base() -> Path:
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    fits = fits_a_socket(runtime / "depotlab-12345678")
    if runtime.is_absolute() and fits and os.access(runtime, os.W_OK | os.X_OK):
        return runtime
    return Path("/tmp")  # noqa: S108 - the folder below it is made by mkdtemp, private and new
