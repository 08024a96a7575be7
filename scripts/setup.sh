#!/bin/sh
# Installs the Debian 12 packages that building needs; does nothing when they are there.
#
#     scripts/setup.sh            to build and run, and for the GCC tests
#     scripts/setup.sh --tests    for scripts/test.sh: Clang as well
set -eu

# OpenBLAS is opened at run time, so the library is enough. python3 (which Meson brings) runs checks.
packages="gcc g++ libc6-dev meson ninja-build pkg-config python3 libcjson-dev libpng-dev zlib1g-dev
    libjpeg62-turbo-dev libwebp-dev libutf8proc-dev libssl-dev libcmocka-dev libopenblas0-pthread scdoc"
case ${1-} in
'') ;;
--tests) packages="$packages clang" ;;
*)
    echo "usage: scripts/setup.sh [--tests]" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "setup: not a Debian system; install what these packages hold:" $packages >&2
    exit 0
fi

missing=
for package in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup: as root, run: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "setup: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get -q update >&2
$as_root apt-get -q install -y --no-install-recommends $missing >&2
