#!/usr/bin/env bash
# Builds the status page's part for browsers into dist/isolator/operator/page/: no bundler, the modules are served as they are.
set -euo pipefail
cd "$(dirname "$0")/../../.."

npx --no-install tsc -p isolator/operator/page
mkdir -p dist/isolator/operator/page
cp isolator/operator/page/{index.html,page.css,icon.svg} dist/isolator/operator/page/
