#!/usr/bin/env bash
# Makes the virtual environment that benchmarks/vs_pytorch.py runs in: torch, safetensors, numpy.
# The folder is the first argument, or $RECKON_BENCH_VENV, or benchmarks/.venv. TORCH_VERSION pins a version.
# On Linux the ordinary wheel brings CUDA libraries along (about 6 GB on disk); a CPU build, installed into the folder beforehand, is
# 1 GB and is kept. Only the CPU is used either way.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-${RECKON_BENCH_VENV:-$here/.venv}}
want=torch${TORCH_VERSION:+==$TORCH_VERSION}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --progress-bar off "$want" numpy safetensors
"$venv/bin/python" - <<'PY'
import torch, numpy, safetensors
print(f"torch {torch.__version__}, numpy {numpy.__version__}, safetensors {safetensors.__version__}")
print(f"mkldnn {torch.backends.mkldnn.is_available()}, mkl {torch.backends.mkl.is_available()}")
PY
echo "ready: $venv/bin/python benchmarks/vs_pytorch.py"
