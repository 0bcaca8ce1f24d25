#!/bin/sh
# Keep a finished run as the reference run: keep_reference.sh results/runs/bench-XXXXXXXX
set -eu
run=$1
keep=results/reference/bench
rm -rf "$keep"
mkdir -p "$keep/data"
cp -r "$run/report.md" "$run/environment.json" "$run/config.yaml" "$run/tables" "$run/figures" "$keep/"
for name in about.json costs.parquet examples.zip measurements.parquet methods.parquet models.parquet thresholds.parquet; do
    cp "$run/data/$name" "$keep/data/"
done
rm "$keep"/figures/*.pdf "$keep"/tables/*.tex
sed -i 's/, \[LaTeX\]([^)]*)//; s/ \[PDF\]([^)]*)//' "$keep/report.md"
