#!/bin/sh
# Build source distribution and wheel, install the wheel by its name into an empty environment, and use it from an empty
# folder, as somebody does who never saw the repository.
#
# usage: try_wheel.sh UV FOLDER [PYTHON]
#   UV      the uv to build and install with
#   FOLDER  gets the two distributions; the environment lies in a folder that is removed at the end
#   PYTHON  the Python to install for (default: python3)
set -eu
uv=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
python=${3:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

rm -f "$folder"/cloakbench-*.whl "$folder"/cloakbench-*.tar.gz
"$uv" build --quiet --python "$python" --out-dir "$folder" .   # the wheel is made from the source distribution
"$uv" venv --quiet --python "$python" "$scratch/venv"
# Versions are those of the lock: what is tried here is our distribution, not the newest release of anything.
sed -e 's/ *\\$//' -e '/--hash=/d' -e '/^ *#/d' requirements.lock >"$scratch/versions.txt"
"$uv" pip install --quiet --python "$scratch/venv/bin/python" --constraint "$scratch/versions.txt" \
    --find-links "$folder" 'cloakbench[detect,onnx,sweep]'
"$uv" pip check --quiet --python "$scratch/venv/bin/python"

mkdir "$scratch/elsewhere"
cd "$scratch/elsewhere"
export PYTHONNOUSERSITE=1 CLOAKBENCH_CACHE="$scratch/cache"
unset CLOAKBENCH_RESULTS PYTHONPATH || true
bin=$scratch/venv/bin
"$bin/cloakbench" --version
"$bin/cloakbench" list methods >methods.txt
grep -q opom_convex_hull methods.txt
"$bin/cloakbench" check method=fgsm >/dev/null
"$bin/cloakbench" experiment=smoke dataset.identities=4 dataset.distractors=20 dataset.impostor_identities=20 \
    dataset.auxiliary_identities=4 statistics.resamples=50
ls results/runs/smoke-*/report.md results/runs/smoke-*/figures/psr_ssim.png
"$bin/python" -c 'import cloakbench; print(cloakbench.__version__, cloakbench.load_recogniser("cosface_ir").card.family)'
echo "the wheel works: $(ls "$folder"/cloakbench-*.whl)"
