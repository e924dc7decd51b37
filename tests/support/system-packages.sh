#!/bin/sh
# Installs the system packages that the embedded engine and the tests use, when they are missing.
#   runc            runs the containers of a build
#   busybox-static  becomes the seeded busybox image
#   skopeo          reads pushed images back, as another tool
#   chromium, fonts render the notebook tests
set -eu
PATH="$PATH:/usr/sbin:/sbin"
missing=""
command -v runc >/dev/null || command -v crun >/dev/null || missing="$missing runc"
[ -x /bin/busybox ] || missing="$missing busybox-static"
command -v skopeo >/dev/null || missing="$missing skopeo"
command -v chromium >/dev/null || missing="$missing chromium fonts-dejavu-core"
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "Missing:$missing. Install them with your system's package manager (on Debian, as root: apt-get install$missing)."
    exit 1
fi
echo "Installing system packages:$missing ..."
log=$(mktemp)
if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log"
    exit 1
fi
rm -f "$log"
