#!/bin/sh
# Pin exact versions with hashes, for every supported Python: what the benchmark needs in requirements.lock, what the
# tests add in requirements-test.lock, what the documentation adds in requirements-docs.lock. Versions that are locked
# stay unless pyproject.toml no longer takes them.
# usage: lock.sh UV [OPTIONS OF uv pip compile, e.g. --upgrade-package rich]
set -eu
uv=$1
shift
unset PIP_FIND_LINKS UV_FIND_LINKS || true
compile() {
    "$uv" pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
        --quiet "$@"
}
compile --extra detect --extra onnx --extra sweep -o requirements.lock "$@"
# What is locked for Windows alone is not there elsewhere, where another layer may want it.
locked=$(sed -n -e '/win32/d' -e 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements.lock | sort -u)
# shellcheck disable=SC2086  # one word each
compile --extra detect --extra onnx --extra sweep --extra arc2face --extra frbench --extra mlflow --extra tensorboard \
    --extra peers --extra dev --group attacks --constraint requirements.lock $locked -o requirements-test.lock "$@"
# Packages that the tests have, too, are of the same version, so that one environment can hold all three.
# shellcheck disable=SC2086
compile --extra docs --constraint requirements.lock --constraint requirements-test.lock $locked \
    -o requirements-docs.lock "$@"
