#!/usr/bin/env bash
# Whether the module compiles against other versions of Mesos: their source trees, with nothing of them built. It compiles and
# throws the result away; what compiles is not run.
#
#   MESOS_INCLUDES=DIR:DIR isolator/module/compile-check.sh TREE...
#
# TREE is Mesos's source (git worktree add ../mesos-1.11 1.11.0). MESOS_INCLUDES has boost, picojson, rapidjson and what else
# is not in /usr/include: those of an installed Mesos are in PREFIX/lib/mesos/3rdparty/include. protoc has to fit the
# protobuf headers there.
set -euo pipefail

module=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Mesos's headers with the messages generated: an include directory of its own for each tree.
prepare() {
  local tree=$1 include=$2 version
  cp -r "$tree/include/." "$include"
  version=${MESOS_VERSION:-$(sed -n 's/^AC_INIT(\[mesos\], \[\(.*\)\])/\1/p' "$tree/configure.ac")}
  IFS=. read -r major minor patch <<<"$version"
  sed -e "s/@PACKAGE_VERSION@/$version/; s/@MESOS_MAJOR_VERSION@/$major/g" \
    -e "s/@MESOS_MINOR_VERSION@/$minor/g; s/@MESOS_PATCH_VERSION@/$patch/g" \
    "$include/mesos/version.hpp.in" >"$include/mesos/version.hpp"
  # The module includes no other messages than those that mesos/slave/isolator.hpp does.
  (cd "$include" && find mesos -name '*.proto' -exec protoc -I. --cpp_out=. {} +)
  mkdir -p "$include/bpf_isolator"
  cp "$module/../../proto/isolator.proto" "$include/bpf_isolator/"
  (cd "$include" && protoc -I. --cpp_out=. bpf_isolator/isolator.proto)
  echo "$version"
}

check() {
  local tree=$1 include=$2 source directory flags=()
  IFS=: read -ra directories <<<"${MESOS_INCLUDES:-}"
  for directory in "$include" "$tree/3rdparty/libprocess/include" "$tree/3rdparty/stout/include" "${directories[@]}"; do
    flags+=(-isystem "$directory")
  done
  for source in "$module"/*.cpp; do
    "${CXX:-g++}" -std=c++14 -fsyntax-only -Wall -I"$module" "${flags[@]}" -DPICOJSON_USE_INT64 -D__STDC_FORMAT_MACROS \
      -DBPF_ISOLATOR_VERSION='"0"' "$source"
  done
}

for tree in "$@"; do
  include=$work/$(basename "$tree")
  mkdir "$include"
  version=$(prepare "$tree" "$include")
  check "$tree" "$include"
  echo "the module compiles against Mesos $version"
done
