#!/bin/sh
# A release in target/dist: one binary that needs nothing but glibc, its SBOM (CycloneDX 1.5), manual pages, completions,
# deploy files, all in one archive that is the same from the same commit, and the checksums.
set -eu
cd "$(dirname "$0")/.."

if ! cargo cyclonedx --version >/dev/null 2>&1; then
    echo "cargo-cyclonedx is missing: cargo install cargo-cyclonedx --locked" >&2
    exit 1
fi
version=$(cargo metadata --no-deps --format-version 1 | sed -n 's/.*"name":"walwright","version":"\([^"]*\)".*/\1/p')
host=$(rustc -vV | sed -n 's/^host: //p')
name=walwright-$version-$host
out=${CARGO_TARGET_DIR:-target}/dist-files
if ! grep -q "^## \[$version\]" CHANGELOG.md; then
    echo "CHANGELOG.md says nothing of version $version" >&2
    exit 1
fi

cargo build --profile dist --locked --features vendored --bin walwright
binary=${CARGO_TARGET_DIR:-target}/dist/walwright
if ldd "$binary" | grep -E 'lib(ssl|crypto|z|zstd|rdkafka|sasl2)\.'; then
    echo "the binary needs more of its host than glibc" >&2
    exit 1
fi

rm -rf "$out"
mkdir -p "$out/$name/completions"
cp -R "$binary" LICENSE README.md CHANGELOG.md docs examples "$out/$name"
mkdir "$out/$name/deploy"
cp -R deploy/systemd deploy/kubernetes deploy/prometheus deploy/grafana "$out/$name/deploy"
"$binary" man "$out/$name/man1"
for shell in bash zsh fish; do
    "$binary" completions "$shell" >"$out/$name/completions/walwright.$shell"
done
cargo cyclonedx --format json --spec-version 1.5 --features vendored --target "$host" --override-filename sbom --quiet
mv sbom.json "$out/$name.cdx.json"

# The time of the commit, so that the archive does not depend on when it was made.
when=$(git log -1 --format=%ct 2>/dev/null || echo 0)
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$when" -C "$out" -cf - "$name" | gzip -n >"$out/$name.tar.gz"
rm -rf "${out:?}/$name"
(cd "$out" && sha256sum "$name.tar.gz" "$name.cdx.json" >SHA256SUMS && sha256sum --check --quiet SHA256SUMS)
ls -l "$out"
