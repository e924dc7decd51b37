#!/bin/sh
# Generates depotlab/_proto from the schemas beside this file; with --check, compares instead.
# The compiler is old on purpose: generated code runs on newer runtimes, not on older ones, and from
# 4.25 it loads on every protobuf runtime from 4.25.3 to 7 (later compilers write a version check
# that refuses other major versions). It has wheels for Python up to 3.12, so it gets an environment of its own.
set -eu
cd "$(dirname "$0")/.."
tools=.venv-proto
if [ ! -x "$tools/bin/python" ] || ! "$tools/bin/python" -c 'import grpc_tools' 2>/dev/null; then
    for python in python3.11 python3.12 python3; do
        command -v "$python" >/dev/null 2>&1 || continue
        "$python" -c 'import sys; sys.exit(not (3, 8) <= sys.version_info < (3, 13))' 2>/dev/null && break
    done
    "$python" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet 'grpcio-tools==1.62.3' 'setuptools<81'
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$tools/bin/python" -m grpc_tools.protoc -I protos --python_out="$out" --pyi_out="$out" protos/depotlab/_proto/*.proto
if [ "${1:-}" = "--check" ]; then
    stale=0
    for file in "$out"/depotlab/_proto/*; do
        cmp -s "$file" "depotlab/_proto/$(basename "$file")" || { echo "not fresh: depotlab/_proto/$(basename "$file")"; stale=1; }
    done
    for file in depotlab/_proto/*_pb2.py depotlab/_proto/*_pb2.pyi; do
        [ -e "$out/$file" ] || { echo "no schema for: $file"; stale=1; }
    done
    [ "$stale" = 0 ] || { echo "run: make proto"; exit 1; }
else
    rm -f depotlab/_proto/*_pb2.py depotlab/_proto/*_pb2.pyi
    cp "$out"/depotlab/_proto/* depotlab/_proto/
fi
