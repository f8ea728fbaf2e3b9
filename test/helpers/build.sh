#!/usr/bin/env bash
# Compiles the test helpers into dist/test/helpers/.
set -euo pipefail
cd "$(dirname "$0")"

out=../../dist/test/helpers
mkdir -p "$out"
clang -O1 -Wall -Wextra -Werror -o "$out/attempt" attempt.c attempt/[a-z]*.c
clang -O1 -Wall -Wextra -Werror -o "$out/traffic" traffic.c
clang -O1 -Wall -Wextra -Werror -pthread -o "$out/connections" connections.c
clang -O1 -Wall -Wextra -Werror -o "$out/prober" prober.c
