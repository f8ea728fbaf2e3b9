#!/bin/sh
# /usr/bin/bpf-isolator: with the node that the package brings, if it was built so, else with that of package nodejs.
lib=/usr/lib/bpf-isolator
node=$lib/node
[ -x "$node" ] || node=/usr/bin/node
# The option is that of the first line of main.js, which says why.
exec "$node" --max-semi-space-size=4 "$lib/dist/isolator/cli/main.js" "$@"
