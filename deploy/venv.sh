#!/bin/bash
# venv.sh FOLDER [REQUIREMENTS]: makes a virtual environment and installs the pinned packages, installing what it lacks.
set -euo pipefail
folder=$1 requirements=${2:-}

python=""
for candidate in python3.11 python3 python3.12 python3.13; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        python=$candidate
        break
    fi
done

install() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing $* …"
        apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
    else
        echo "Waybill needs $*. Install it as root: apt-get install $*" >&2
        exit 1
    fi
}

[ -n "$python" ] || { install python3 python3-venv; python=python3; }
"$python" -c 'import ensurepip, venv' 2>/dev/null || install python3-venv
[ -x "$folder/bin/pip" ] || { echo "Making the virtual environment $folder …"; "$python" -m venv --clear "$folder"; }
[ -n "$requirements" ] || exit 0
echo "Installing the packages of $requirements …"
"$folder/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" -c constraints.txt
