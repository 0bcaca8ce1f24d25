#!/bin/sh
# Keep a finished run as the reference run: keep_reference.sh results/runs/bench-XXXXXXXX
set -eu
run=$1
keep=results/reference/bench
rm -rf "$keep"
mkdir -p "$keep/data"
cp -r "$run/report.md" "$run/environment.json" "$run/config.yaml" "$run/tables" "$run/figures" "$keep/"
cp "$run"/data/about.json "$run"/data/examples.zip "$run"/data/*.parquet "$keep/data/"
rm "$keep"/data/records_*.parquet
rm "$keep"/figures/*.pdf "$keep"/tables/*.tex
sed -i 's/, \[LaTeX\]([^)]*)//; s/ \[PDF\]([^)]*)//' "$keep/report.md"
