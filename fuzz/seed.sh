#!/bin/sh
# Fills fuzz/corpus with seeds made from fixtures/info; the corpus itself is not kept in the repository.
# Then, for example: cargo +nightly fuzz run info -- -max_total_time=60
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/sanitize corpus/info corpus/label corpus/wal
for file in ../fixtures/info/*/*.json; do
    name=$(basename "$(dirname "$file")")-$(basename "$file")
    cp "$file" "corpus/info/$name"
    cp "$file" "corpus/sanitize/$name"
done
cat ../fixtures/info/*/*.json | grep -aoE '[0-9]{8}-[0-9]{6}F(_[0-9]{8}-[0-9]{6}[DI])?' | sort -u |
    while read -r label; do printf '%s' "$label" >"corpus/label/$label"; done
cat ../fixtures/info/*/*.json | grep -aoE '"([0-9A-F]{24}|[0-9A-F]+/[0-9A-F]+)"' | tr -d '"' | sort -u |
    while read -r word; do printf '%s' "$word" >"corpus/wal/$(printf '%s' "$word" | tr / -)"; done
