#!/usr/bin/env bash
# Compiles the BPF object into dist/bpf/. One object holds every program, so that they share their maps.
set -euo pipefail
cd "$(dirname "$0")/.."

out=dist/bpf
mkdir -p "$out"
case $(uname -m) in
x86_64) arch=x86 ;;
aarch64) arch=arm64 ;;
*) arch=$(uname -m) ;;
esac
# -g: BTF, which CO-RE and the layout check live on. -mcpu=v3: 32-bit and atomic instructions (kernel 5.12).
# Written beside its name and renamed, so that a reader never sees half an object.
clang -O2 -g -target bpf -mcpu=v3 -D"__TARGET_ARCH_$arch" -Wall -Wextra -Werror \
	-Wno-unused-parameter -I"/usr/include/$(uname -m)-linux-gnu" -Ibpf \
	-c bpf/isolator.bpf.c -o "$out/.isolator.bpf.o.$$"
mv "$out/.isolator.bpf.o.$$" "$out/isolator.bpf.o"
