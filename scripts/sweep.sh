#!/usr/bin/env bash
# One process per split, one after the other: safe with several GPUs per job, where Hydra's -m is not.
#   scripts/sweep.sh experiment=coco data.root=DIR trainer=ddp trainer.devices=4
set -uo pipefail
status=0
for split in ${SPLITS:-1 2 3 4}; do
    "${PYTHON:-python}" -m weakshot_seg.train split="$split" "$@" || { echo "split $split FAILED" >&2; status=1; }
done
exit $status
