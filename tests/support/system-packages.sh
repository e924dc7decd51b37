#!/bin/sh
# Installs the system packages that the embedded engine and the tests use, when they are missing.
#   runc            runs the containers of a build
#   busybox-static  becomes the seeded busybox image
#   skopeo          reads pushed images back, as another tool
#   docker.io       a Docker Engine (20.10, with an old BuildKit), which the tests start privately
#   podman          another engine to load images into, likewise
#   openssh-server  the other end of ssh:// addresses, likewise
#   nodejs, npm     get the official Depot clients, one of which runs on them
#   iproute2        the bridge of that Docker Engine
#   curl            a client of the build service that is not ours (7.82 or newer)
#   chromium, fonts render the notebook tests
set -eu
PATH="$PATH:/usr/sbin:/sbin"
missing=""
command -v runc >/dev/null || command -v crun >/dev/null || missing="$missing runc"
[ -x /bin/busybox ] || missing="$missing busybox-static"
command -v skopeo >/dev/null || missing="$missing skopeo"
command -v dockerd >/dev/null || missing="$missing docker.io"
command -v podman >/dev/null || missing="$missing podman"
command -v sshd >/dev/null || missing="$missing openssh-server"
command -v npm >/dev/null || missing="$missing nodejs npm"
command -v ip >/dev/null || missing="$missing iproute2"
command -v curl >/dev/null || missing="$missing curl"
command -v chromium >/dev/null || missing="$missing chromium fonts-dejavu-core"
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "Missing:$missing. Install them with your system's package manager (on Debian, as root: apt-get install$missing)."
    exit 1
fi
echo "Installing system packages:$missing ..."
log=$(mktemp)
# The packages of daemons start them, now and at every boot; the tests want none of that. Source: invoke-rc.d(8).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log"
    exit 1
fi
rm -f "$log"
command -v systemctl >/dev/null || exit 0
for service in docker.io:docker.socket,docker.service,containerd.service podman:podman.socket,podman.service openssh-server:ssh.service; do
    case "$missing " in
    *" ${service%%:*} "*) systemctl disable $(echo "${service#*:}" | tr , ' ') >/dev/null 2>&1 || true ;;
    esac
done
