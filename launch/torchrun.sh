#!/usr/bin/env bash
# Train with torchrun on one or several machines. Run the same command on every machine, with its own NODE_RANK:
#
#     NODES=2 NODE_RANK=0 MASTER_ADDR=node0 GPUS=8 launch/torchrun.sh data/mine --out /shared/runs/mine
#
# NODES        machines (1)
# NODE_RANK    number of this machine, from 0 (0)
# GPUS         processes on each machine, one per GPU (1)
# MASTER_ADDR  name or address of machine 0, which the others reach (127.0.0.1)
# MASTER_PORT  free port on machine 0 (29500)
#
# The data and the run must lie under the same path on every machine: on a shared file system.
set -euo pipefail

exec torchrun \
    --nnodes "${NODES:-1}" --node-rank "${NODE_RANK:-0}" --nproc-per-node "${GPUS:-1}" \
    --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${MASTER_PORT:-29500}" \
    -m gavamoe train "$@"
