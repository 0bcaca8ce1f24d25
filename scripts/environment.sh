#!/bin/sh
# Build the virtual environment from the lock, without resolving anything: the lock is complete, and resolvers of old
# pips look packages that are wanted with an extra up a second time and find newer releases than the locked ones.
#
# usage: environment.sh VENV LAYER
#   VENV    the folder of the environment
#   LAYER   bench: what the benchmark needs; test: the linters, peers and test tools, too; docs: what builds the
#           documentation, too
# environment variables
#   PYTHON  the Python to build with (default: python3, or else the newest supported one on the path)
#   TORCH   keep: VENV is an environment of yours; its torch, torchvision and CUDA libraries stay as they are
set -eu
venv=$1
layer=$2
python=${PYTHON:-python3}
keep=${TORCH:-}
case $layer in
    bench) locks=requirements.lock ;;
    docs) locks='requirements.lock requirements-docs.lock' ;;
    *) locks='requirements.lock requirements-test.lock' ;;
esac

say() { echo "$*" >&2; }
give_up() { say "error: $*"; exit 1; }
supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

# What is ours may be removed; what is not, never. A folder counts as ours from before its first file to its end.
ours=$venv/made-by-cloakbench
building=$venv/cloakbench-building
ready=$venv/ready-$layer
builder=
if [ -e "$building" ]; then read -r builder <"$building" || true; fi
if [ -n "$builder" ] && kill -0 "$builder" 2>/dev/null; then
    give_up "process $builder is building $venv: wait for it; if it is some other program, remove $venv"
fi
rm -f "$ready"

if [ -e "$venv/bin/python" ] && [ ! -e "$ours" ]; then
    [ "$keep" = keep ] || give_up "$venv is an environment that this script did not make; use it as it is with" \
        "'$venv/bin/python -m pip install -e .', let this script fill it with 'make $layer VENV=$venv TORCH=keep', or remove it"
    python=$venv/bin/python
    supported "$python" || give_up "$venv has no Python 3.11 to 3.13"
    "$python" -c 'import torch, torchvision' 2>/dev/null || give_up "$venv has no torch with its torchvision to keep;" \
        "install both there first, or leave TORCH=keep out and name another folder"
elif [ "$keep" = keep ]; then
    give_up "TORCH=keep wants an environment that exists, named with VENV=FOLDER; there is none in $venv"
elif [ -n "$keep" ]; then
    give_up "TORCH=$keep: only TORCH=keep is known"
else
    for candidate in "$python" python3.13 python3.12 python3.11 ''; do
        [ -n "$candidate" ] || give_up "Python 3.11 to 3.13 is needed, and $python is none; name one with PYTHON=python3.12"
        if supported "$candidate"; then python=$candidate; break; fi
    done
    if [ ! -e "$ours" ] && [ -n "$(ls -A "$venv" 2>/dev/null)" ]; then
        give_up "$venv holds something else; name a folder of its own with VENV=FOLDER"
    fi
    if [ -e "$building" ]; then
        say "removing $venv: an earlier build of it was interrupted"
        rm -rf "$venv"
    fi
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

uv=
if command -v uv >/dev/null 2>&1; then uv=yes; fi
if [ ! -e "$venv/bin/python" ]; then
    mkdir -p "$venv"
    touch "$ours"
    echo $$ >"$building"
    if [ -n "$uv" ]; then
        uv venv --quiet --allow-existing --python "$python" "$venv"
    else
        "$python" -m venv "$venv"
    fi
fi

# A package whose installation was cut off may look complete, so an environment of yours gets all of them anew then.
again=
if [ -e "$building" ] && [ ! -e "$ours" ]; then again=--force-reinstall; fi
echo $$ >"$building"

install() {
    if [ -n "$uv" ]; then
        uv pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation $again "$@"
    else
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $again "$@"
    fi
}

# The few packages without a wheel are built here by the locked setuptools, not by whatever is newest today.
awk '/^[a-z0-9]/ { mine = /^setuptools==/ } mine' requirements.lock >"$scratch/first.lock"
for lock in $locks; do
    if [ "$keep" = keep ]; then
        awk '/^[a-z0-9]/ { mine = !/^(torch|torchvision|triton|nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*)==/ } mine' "$lock"
    else
        cat "$lock"
    fi
done >"$scratch/all.lock"

case $layer in
    bench) say "building the environment in $venv: about 2 minutes and 6 GB the first time, most of it torch" ;;
    docs) say "building the environment in $venv with what builds the documentation" ;;
    *) say "building the environment in $venv: about 3 minutes and 6.5 GB the first time, most of it torch" ;;
esac
install --require-hashes -r "$scratch/first.lock"
install --require-hashes -r "$scratch/all.lock"
install --editable .
"$venv/bin/python" -c 'import torch, cloakbench.bench.cli.main'

# Type checkers do not follow the import mapping of pyproject.toml; a folder of links shows it to them.
mkdir -p .types/cloakbench
for folder in bench conf datasets methods models results; do
    ln -sfn "../../$folder" ".types/cloakbench/$folder"
done
for file in __init__.py py.typed; do
    ln -sfn "../../bench/api/$file" ".types/cloakbench/$file"
done
rm -f "$building"
touch "$venv/ready-bench" "$ready"
