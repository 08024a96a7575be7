#!/bin/bash
# A tarball whose programs run on Debian 12 and on anything with a later glibc, with nothing installed.
#
#     scripts/release.sh [FOLDER [ARGUMENT…]]    FOLDER/vlmpack-VERSION-linux-ARCH.tar.gz (default: build/release);
#                                                arguments go to meson setup: -Dcuda=disabled
#
# Every library but glibc lies beside the programs, in lib/vlmpack, as the build machine's packages have
# it, OpenBLAS among them; programs look there first (-Dbundle=true). Build it on the oldest
# system that it is for. The same tree and packages give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-build/release}
mkdir -p "$out"
out=$(cd "$out" && pwd)
scripts/setup.sh
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y meson.build)}

again=
[ ! -f "$out/build/build.ninja" ] || again=--reconfigure
meson setup $again "$out/build" -Dtests=false -Dman=enabled -Dbundle=true --prefix=/ --libdir=lib --strip "${@:2}"
ninja -C "$out/build"
version=$(meson introspect "$out/build" --projectinfo | python3 -c 'import json, sys; print(json.load(sys.stdin)["version"])')
name=vlmpack-$version-linux-$(uname -m)
rm -rf "${out:?}/$name"
DESTDIR=$out/$name meson install -C "$out/build" --no-rebuild >/dev/null
tree=$out/$name

# The paths of all libraries that a file needs, glibc's own left out.
needs() {
    ldd "$@" | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | sort -u |
        grep -vE '/(libc|libm|libdl|libpthread|librt|libresolv|ld-linux[^/]*)\.so\.[0-9]+$'
}
blas=$(ldconfig -p | awk '$1 == "libopenblas.so.0" { print $NF; exit }')
[ -n "$blas" ] || { echo "release: there is no OpenBLAS to put beside the programs" >&2; exit 1; }
libraries=$tree/lib/vlmpack
licences=$tree/share/doc/vlmpack/libraries
mkdir -p "$libraries" "$licences"
for library in "$blas" $({ needs "$tree"/bin/*; needs "$blas"; } | sort -u); do
    cp -L "$library" "$libraries/$(basename "$library")"
    file=$(readlink -f "$library")
    # dpkg knows some by the name that they had before /lib became a link to /usr/lib
    package=$({ dpkg -S "$file" || dpkg -S "${file#/usr}"; } 2>/dev/null | cut -d: -f1)
    [ -n "$package" ] || { echo "release: no package has $file, whose licence would go with it" >&2; exit 1; }
    cp -L "/usr/share/doc/$package/copyright" "$licences/$package.copyright"
    dpkg-query -W -f '${Package} ${Version} (${source:Package})\n' "$package" >>"$licences/packages"
done
sort -u -o "$licences/packages" "$licences/packages"
chmod -R u=rwX,go=rX "$tree"

glibc=$(objdump -T "$tree"/bin/* "$libraries"/* | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -1)
tar -C "$out" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" |
    gzip -9n >"$out/$name.tar.gz"
(cd "$out" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "$out/$name.tar.gz: $(stat -c %s "$out/$name.tar.gz") bytes, needs glibc ${glibc#GLIBC_}"
