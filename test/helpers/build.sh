#!/usr/bin/env bash
# Compiles the test helpers into dist/test/helpers/.
set -euo pipefail
cd "$(dirname "$0")"

out=../../dist/test/helpers
mkdir -p "$out"
clang -O1 -Wall -Wextra -Werror -o "$out/attempt" attempt.c attempt/[a-z]*.c
clang -O1 -Wall -Wextra -Werror -o "$out/traffic" traffic.c
clang -O1 -Wall -Wextra -Werror -pthread -o "$out/connections" connections.c connections/[a-z]*.c
clang -O1 -Wall -Wextra -Werror -o "$out/prober" prober.c
clang -O1 -Wall -Wextra -Werror -o "$out/marking" marking.c marking/[a-z]*.c
clang -O1 -Wall -Wextra -Werror -o "$out/bandwidth" bandwidth.c
clang -O1 -Wall -Wextra -Werror -pthread -o "$out/files" files.c files/[a-z]*.c
clang -O1 -Wall -Wextra -Werror -o "$out/opens" opens.c
# The flags of bpf/build.sh.
clang -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -I"/usr/include/$(uname -m)-linux-gnu" \
	-c tag.bpf.c -o "$out/tag.bpf.o"
