# syntax=docker/dockerfile:1
# CloakBench in a container.
#
#   docker build -t cloakbench .                                 for CPUs: torch without CUDA libraries
#   docker build -t cloakbench:cuda --target cuda .              for CUDA devices: the torch of the lock
#
#   docker run --rm -v "$PWD/results:/results" cloakbench        make smoke
#   docker run --rm -v "$PWD/results:/results" cloakbench make bench
#   docker run --rm --gpus all -v "$PWD/results:/results" cloakbench:cuda make bench DEVICE=cuda
#   docker run --rm -v "$PWD/photos:/photos" cloakbench cloakbench protect input=/photos/mine output=/photos/out
#
# --user "$(id -u):$(id -g)" makes the results yours where your user is not the first one of the host.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/cloakbench
ENV VENV=/opt/venv \
    PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    CLOAKBENCH_RESULTS=/results \
    CLOAKBENCH_CACHE=/tmp/cloakbench \
    HOME=/tmp

FROM base AS cuda
COPY . .
RUN sh scripts/environment.sh "$VENV" bench \
    && python -m compileall -q bench datasets methods models results \
    && install -d -o 1000 -g 1000 /results
USER 1000:1000
VOLUME /results
CMD ["make", "smoke"]

# Last, so that it is what is built unless --target says otherwise.
FROM base AS cpu
COPY requirements.lock .
RUN python -m venv "$VENV" \
    && "$VENV/bin/pip" install --quiet --index-url https://download.pytorch.org/whl/cpu \
        $(sed -n 's/^\(torch\(vision\)\{0,1\}==[0-9.]*\).*/\1/p' requirements.lock)
COPY . .
RUN TORCH=keep sh scripts/environment.sh "$VENV" bench \
    && python -m compileall -q bench datasets methods models results \
    && install -d -o 1000 -g 1000 /results
USER 1000:1000
VOLUME /results
CMD ["make", "smoke"]
