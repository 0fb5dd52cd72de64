#!/bin/sh
# Environments of the peers that the scripts of this folder are set beside, one each.
#
#     sh tests/benchmarks/peers.sh [neuralforecast] [darts] [gluonts]
#
# They go into the folder that TSFORECAST_PEERS names (default ~/.cache/tsforecast-peers; about 1.5
# GB each). The versions are those of peers/*.txt. Where pip's index has torch with CUDA alone, point
# pip at one with the build for the CPU first (PIP_INDEX_URL or PIP_FIND_LINKS): it is much smaller.
# PYTHON names the interpreter to start from.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${TSFORECAST_PEERS:-$HOME/.cache/tsforecast-peers}
[ $# -gt 0 ] || set -- neuralforecast darts gluonts

for peer in "$@"; do
    case $peer in
        neuralforecast) packages=neuralforecast ;;
        darts) packages='darts[torch]' ;;
        gluonts) packages='gluonts[torch]' ;;
        *) echo "no such peer: $peer" >&2; exit 2 ;;
    esac
    [ -x "$folder/$peer/bin/python" ] || "${PYTHON:-python3}" -m venv "$folder/$peer"
    "$folder/$peer/bin/python" -m pip install -q -c "$here/peers/$peer.txt" "$packages" pyarrow
    "$folder/$peer/bin/python" -c "import $peer; print('$peer', $peer.__version__)"
done
