#!/usr/bin/env bash
# Gathers what scripts/gpu_check.sh needs on a machine without network: Debian packages unpacked into packages/ (ignored by
# git), and the wheel of safetensors for the comparison. Run it where there is a network; carry the folder along.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p packages/downloads packages/python
(cd packages/downloads && apt-get download libfmt-dev libfmt9 nlohmann-json3-dev libcli11-dev libgtest-dev googletest zlib1g-dev libeigen3-dev ninja-build)
for package in packages/downloads/*.deb; do dpkg-deb -x "$package" packages; done
python3 -m pip download --quiet --no-deps --only-binary :all: --python-version "${PYTHON_VERSION:-3.12}" --dest packages/downloads safetensors
python3 -m pip install --quiet --no-deps --no-compile --target packages/python --python-version "${PYTHON_VERSION:-3.12}" --only-binary :all: safetensors
rm -r packages/downloads
du -sh packages
