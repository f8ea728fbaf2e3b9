#!/usr/bin/env bash
# Builds the Debian package from a checkout that is built (npm run build), into dist/.
#
#   build.sh [--bundle-node] [--version VERSION] [--out DIRECTORY] [--no-compression]
#
# Without --bundle-node it depends on nodejs (>= 20), which Debian 12 and Ubuntu 24.04 do not have of their own (they have 18):
# take it from NodeSource, or from a newer release. With it the package brings the node that runs this script, and depends on none.
set -euo pipefail
cd "$(dirname "$0")/../.."

bundle=false version=$(node -p 'require("./package.json").version') out=dist compression=zstd
while [ $# -gt 0 ]; do
	case $1 in
	--bundle-node) bundle=true ;;
	--no-compression) compression=none ;;
	--version) version=${2:?--version needs one} && shift ;;
	--out) out=${2:?--out needs a directory} && shift ;;
	*)
		echo "usage: build.sh [--bundle-node] [--version VERSION] [--out DIRECTORY] [--no-compression]" >&2
		exit 2
		;;
	esac
	shift
done
if [ ! -e dist/bpf/isolator.bpf.o ] || [ ! -e dist/isolator/cli/main.js ]; then
	echo "build.sh: nothing is built here: run npm run build" >&2
	exit 1
fi

# So that the same commit gives the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
umask 022
chmod 755 "$root"
lib=$root/usr/lib/bpf-isolator doc=$root/usr/share/doc/bpf-isolator
mkdir -p "$lib/dist" "$doc" "$root/DEBIAN" "$root/usr/bin" "$root/etc/bpf-isolator" "$root/usr/lib/systemd/system"

# The program, with those npm packages that it needs at run time, of the versions in package-lock.json.
cp -r dist/isolator dist/bpf "$lib/dist/"
VERSION=$version node -e 'const p = require("./package.json"); p.version = process.env.VERSION;
	delete p.scripts; delete p.devDependencies; console.log(JSON.stringify(p, null, 2))' >"$lib/package.json"
npm ls --omit=dev --all --parseable | sed 1d | while read -r package; do
	to=$lib/${package#"$PWD/"}
	mkdir -p "$(dirname "$to")"
	[ -e "$to" ] || cp -r "$package" "$to"
done
# Sources and types, which nothing reads there.
rm -rf "$lib"/node_modules/koffi/{vendor,doc} "$lib/node_modules/.bin"
find "$lib" -type f \( -name '*.map' -o -name '*.ts' -o -name '*.cts' -o -name '*.mts' \) -delete

node=
if $bundle; then
	cp "$(node -p process.execPath)" "$lib/node"
	chmod 755 "$lib/node"
else
	node="nodejs (>= 20), "
fi

install -m 755 config/deb/command.sh "$root/usr/bin/bpf-isolator"
install -m 644 config/isolator.yaml "$root/etc/bpf-isolator/"
install -m 644 config/systemd/*.service "$root/usr/lib/systemd/system/"
install -m 644 README.md config/isolator.schema.json "$doc/"
cp LICENSE "$doc/copyright"

main=dist/isolator/cli/main.js
man=$root/usr/share/man/man1 completions=$root/usr/share
mkdir -p "$man" "$completions"/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
node "$main" manual --date "$(date -u --date="@$SOURCE_DATE_EPOCH" +%F)" | gzip -9n >"$man/bpf-isolator.1.gz"
node "$main" completion bash >"$completions/bash-completion/completions/bpf-isolator"
node "$main" completion zsh >"$completions/zsh/vendor-completions/_bpf-isolator"
node "$main" completion fish >"$completions/fish/vendor_completions.d/bpf-isolator.fish"
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"

for script in postinst prerm postrm; do install -m 755 "config/deb/$script.sh" "$root/DEBIAN/$script"; done
echo /etc/bpf-isolator/isolator.yaml >"$root/DEBIAN/conffiles"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
architecture=$(dpkg --print-architecture)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@NODE@/$node/" \
	-e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$root" | cut -f1)/" config/deb/control >"$root/DEBIAN/control"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$out"
file=$out/bpf-isolator_${version}_$architecture.deb
dpkg-deb --root-owner-group -Z"$compression" --build "$root" "$file" >/dev/null
echo "$file"
