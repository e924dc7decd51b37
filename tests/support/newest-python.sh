#!/bin/sh
# install: makes an environment of the newest CPython of this machine; test: runs the unit and protocol tests in it.
set -eu
cd "$(dirname "$0")/../.."
newest=$(
    for candidate in $(ls "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3 2>/dev/null) \
        $(command -v python3.14 python3.13 python3.12 python3.11 python3 2>/dev/null); do
        "$candidate" -c 'import sys, platform
if sys.version_info >= (3, 11) and platform.python_implementation() == "CPython":
    print("%d.%03d" % sys.version_info[:2], sys.executable)' 2>/dev/null || true
    done | sort | tail -n 1 | cut -d' ' -f2
)
version=$("$newest" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$version" = "$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" ]; then
    echo "Newest Python is $version, which the other suites run on: nothing more to do."
    exit 0
fi
venv=.venv-$version
case "$1" in
install)
    if [ ! -e "$venv/.installed" ] || [ pyproject.toml -nt "$venv/.installed" ]; then
        echo "Installing the Python packages into $venv ..."
        "$newest" -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --no-compile --editable '.[all]' pytest pytest-timeout pytest-xdist hypothesis h2 ipykernel pandas pyarrow
        touch "$venv/.installed"
    fi
    ;;
test)
    # Python is what differs here; the many random examples were run on the other one.
    echo "Unit and protocol tests on Python $version, with fewer random examples:"
    DEPOTLAB_QUICK=1 "$venv/bin/python" -bb -m pytest --numprocesses=$(($(getconf _NPROCESSORS_ONLN) + 1)) tests/unit tests/protocol
    ;;
*)
    echo "Say install or test."
    exit 2
    ;;
esac
