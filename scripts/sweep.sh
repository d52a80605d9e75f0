#!/bin/sh
# One process per split, one after the other: safe with several GPUs per job, where Hydra's -m is not.
#   scripts/sweep.sh experiment=coco data.root=DIR trainer=ddp trainer.devices=4
#   SPLITS="1 3" scripts/sweep.sh experiment=coco data.root=DIR resume=true
# A split that fails does not stop the others; the last line names all that failed, and the exit code is then 1.
set -u
export WANDB_RUN_GROUP="${WANDB_RUN_GROUP:-sweep-$(date +%Y%m%d-%H%M%S)}"
failed=
for split in ${SPLITS:-1 2 3 4}; do
    "${PYTHON:-python}" -m weakshot_seg.train "split=$split" "$@" || failed="$failed $split"
done
[ -z "$failed" ] || { echo "failed: split$failed" >&2; exit 1; }
