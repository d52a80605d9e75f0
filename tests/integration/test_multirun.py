"""Several jobs in one process do not know of each other."""

import json

from weakshot_seg import train as training
from weakshot_seg.data.splits import make_split
from weakshot_seg.data.synthetic.scenes import SyntheticScenes


def test_two_splits_in_one_sweep_with_offline_wandb(
    command, train, small, few_scenes, metrics_of, tmp_path, monkeypatch
):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb = ("logger=wandb", "logger.wandb.mode=offline", "hydra.callbacks.sweep_start.time=${now:%f}")
    command(training.main, "-m", "split=1,2", *small, *few_scenes, *wandb, folder=tmp_path)
    runs = [tmp_path / "outputs" / "synthetic" / f"split{split}" for split in (1, 2)]
    for split, folder in enumerate(runs, 1):
        metrics = metrics_of(folder)
        assert metrics["split"] == split
        assert metrics["novel_classes"] == list(make_split(SyntheticScenes.class_names, split).novel_names)
        assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
        assert (folder / "csv" / "version_0" / "metrics.csv").is_file()
        run_id = json.loads((folder / "wandb_run.json").read_text())["id"]
        assert [path.name.rsplit("-", 1)[1] for path in folder.glob("wandb/offline-run-*")] == [run_id]
        assert list(folder.glob(f"wandb/offline-run-*/run-{run_id}.wandb"))
    first, second = (json.loads((folder / "wandb_run.json").read_text()) for folder in runs)
    assert first["id"] != second["id"]
    assert first["group"] == second["group"]
    # the second job is what it would have been alone, without W&B
    assert metrics_of(train(tmp_path / "alone", "split=2")) == metrics_of(runs[1])
