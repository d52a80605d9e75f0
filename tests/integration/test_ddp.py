"""Two processes do what one would do with the union of their batches."""

import torch

from processes import CONTEXT, Distributed, start
from random_batches import make_targets
from rank_gradients import gradients, write_gradients
from weakshot_seg.cli import evaluate


def inputs() -> dict[str, torch.Tensor]:
    """Four images, two pairs; the halves differ in the number of classes of each kind, but not in their pixels.

    Each pair has one base class in common, so that chance has no choice.
    """
    targets = make_targets([(0, 1), (0, 2), (1,), (1, 2)], [(3, 4), (3,), (), (4,)], size=(16, 24), paired=True)
    return {
        "label_maps": targets.label_map,
        "padding": targets.padding,
        "states": targets.states,
        "novel": targets.novel,
        "class_logits": torch.randn(2, 4, 5, 6),
        "mask_logits": torch.randn(2, 4, 5, 8, 12),
        "presence_logits": torch.randn(1, 4, 5),
        "pixel_embeddings": torch.randn(4, 3, 8, 12),
    }


def test_mean_gradient_of_the_ranks_is_that_of_the_union(tmp_path):
    """Logits belong to images: their gradients are put together. SimNet's weights are shared: theirs are averaged."""
    given = inputs()
    processes = [CONTEXT.Process(target=write_gradients, args=(given, tmp_path, rank, 2)) for rank in (0, 1)]
    for process in processes:
        process.start()
    union = gradients(given, slice(0, 4))
    for process in processes:
        process.join(60)
    first, second = (torch.load(tmp_path / f"gradients-{rank}.pt") for rank in (0, 1))
    terms = {name.split("/")[0] for name in union}
    assert terms == {"classification", "mask", "complement", "absence", "presence", "similarity"}
    for name, expected in union.items():
        assert expected.abs().sum() > 0, name
        of_images = name.endswith("_logits")
        found = torch.cat([first[name], second[name]], dim=1) / 2 if of_images else (first[name] + second[name]) / 2
        # the class balance of the similarity begins with one pair of each kind, however many processes there are
        rtol = 2e-3 if name.startswith("similarity/simnet") else 1e-4
        torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-7, msg=lambda text, n=name: f"{n}: {text}")


def test_training_on_two_processes(small, few_scenes, command, metrics_of, tmp_path):
    """A loss that is NaN in one of them is a step that neither takes; both together measure what one does alone."""
    two = ("trainer=ddp", "trainer.devices=2", "trainer.sync_batchnorm=false", "data.val.num_images=3")
    run = tmp_path / "run"
    arguments = (*two, *small, *few_scenes, two[-1], f"hydra.run.dir={run}")
    jobs = [start(tmp_path / f"{rank}", *arguments, fault=Distributed(rank, 2, tmp_path, 1)) for rank in (0, 1)]
    assert [job.finish() for job in jobs] == [0, 0], [job.output for job in jobs]
    first, second = (torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    for before, after, taken in zip(first[:-1], first[1:], (True, False, True, True), strict=True):
        assert any(not torch.equal(before[name], after[name]) for name in before) == taken
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    settings = ("trainer.accelerator=cpu", f"hydra.run.dir={tmp_path}/alone")
    command(evaluate.main, f"ckpt={run}/checkpoints/last.ckpt", *settings, folder=tmp_path)
    alone, together = metrics_of(tmp_path / "alone"), metrics_of(run)
    assert (alone.pop("skipped_steps"), together.pop("skipped_steps")) == (0, 1)
    assert alone == together
