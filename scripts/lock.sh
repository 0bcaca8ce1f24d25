#!/bin/sh
# Pin exact versions with hashes, for every supported Python: what the benchmark needs in requirements.lock, what the
# tests add in requirements-test.lock. Versions that are locked stay unless pyproject.toml no longer takes them.
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
locked=$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements.lock | sort -u)
# shellcheck disable=SC2086  # one word each
compile --all-extras --group attacks --constraint requirements.lock $locked -o requirements-test.lock "$@"
