#!/bin/sh
# /usr/bin/bpf-isolator: with the node that the package brings, if it was built so, else with that of package nodejs.
lib=/usr/lib/bpf-isolator
node=$lib/node
[ -x "$node" ] || node=/usr/bin/node
exec "$node" "$lib/dist/isolator/cli/main.js" "$@"
