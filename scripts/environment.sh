#!/bin/sh
# Build the virtual environment from the lock: with uv when it is installed, else with venv and pip.
# usage: environment.sh VENV PYTHON
set -eu
venv=$1
python=$2
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
    echo "Python 3.11 to 3.13 is needed; name one with make PYTHON=python3.12" >&2
    exit 1
}
echo "building the environment in $venv (several minutes and 6 GB the first time)" >&2
if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --allow-existing --python "$python" "$venv"
    uv pip install --quiet --python "$venv/bin/python" --require-hashes -r requirements.lock
    uv pip install --quiet --python "$venv/bin/python" --no-deps -e .
else
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --require-hashes -r requirements.lock
    "$venv/bin/python" -m pip install --quiet --no-deps -e .
fi
# Type checkers do not follow the import mapping of pyproject.toml; a folder of links shows it to them.
mkdir -p .types/cloakbench
for folder in bench conf datasets methods models results; do
    ln -sfn "../../$folder" ".types/cloakbench/$folder"
done
touch "$venv/ready"
