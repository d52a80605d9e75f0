"""A run is decided by its settings: not by the number of workers, and not by interruptions."""

import pytest
import torch

from weakshot_seg.training.module import WeakShotModule

# Dropout, random points and random rows draw from torch's generator; three validations lie between the steps.
SIX_STEPS = (
    *("trainer.max_steps=6", "callbacks.last.every_n_steps=2", "model.dropout=0.1", "data.val_batch_size=1"),
    *("~callbacks.panels", "~callbacks.ranked"),
)
# Batches of several rounds for each worker, also in the validations.
LONGER = (*SIX_STEPS, "trainer.max_steps=12", "trainer.val_check_interval=6")


def state(folder, name="last"):
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def tensors(node, path=""):
    if isinstance(node, torch.Tensor):
        return {path: node}
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return {name: t for key, child in items for name, t in tensors(child, f"{path}/{key}").items()}


def assert_same_run(first, second, metrics_of, steps=6):
    a, b = state(first), state(second)
    assert a["global_step"] == b["global_step"] == steps
    for part in ("state_dict", "optimizer_states"):
        ours, theirs = tensors(a[part]), tensors(b[part])
        assert ours.keys() == theirs.keys()
        different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
        assert not different, f"{len(different)} of {len(ours)} differ in {part}"
    assert a["lr_schedulers"] == b["lr_schedulers"]
    assert metrics_of(first) == metrics_of(second)
    assert state(first, "best")["global_step"] == state(second, "best")["global_step"]


def interrupt(train, folder, at_batch, *overrides):
    """A run that breaks off at the given batch."""

    step = WeakShotModule.training_step

    def fail(module, batch, batch_idx):
        if batch_idx == at_batch:
            raise RuntimeError("power cut")
        return step(module, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeakShotModule, "training_step", fail)
        with pytest.raises(SystemExit) as caught:
            train(folder, *overrides)
    assert caught.value.code == 1


def test_another_seed_gives_another_run(trained, train, tmp_path):
    ours, theirs = (state(folder)["state_dict"] for folder in (train(tmp_path, "seed=1"), trained))
    assert ours.keys() == theirs.keys()
    assert not torch.equal(ours["model.query_decoder.queries.weight"], theirs["model.query_decoder.queries.weight"])


@pytest.fixture(scope="module")
def in_this_process(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("in_this_process"), *LONGER)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_seed_gives_the_same_run_with_any_number_of_workers(
    workers, in_this_process, train, metrics_of, tmp_path
):
    assert_same_run(train(tmp_path, *LONGER, f"data.num_workers={workers}"), in_this_process, metrics_of, 12)


ACCUMULATED = ("trainer.accumulate_grad_batches=2", "data.batch_size=2", "data.num_workers=2")


@pytest.mark.parametrize(("more", "at_batch"), [((), 3), (ACCUMULATED, 7)])  # 7: in the middle of step 4
def test_resumed_equals_uninterrupted(more, at_batch, train, metrics_of, tmp_path):
    settings, resumed = (*SIX_STEPS, *more), tmp_path / "resumed"
    interrupt(train, resumed, at_batch, *settings)
    assert state(resumed)["global_step"] == metrics_of(resumed)["step"] == 2
    assert_same_run(train(resumed, *settings, "resume=true"), train(tmp_path / "whole", *settings), metrics_of)
