"""Two processes do what one would do with the union of their batches."""

import torch

from processes import CONTEXT, Distributed, start
from rank_gradients import gradients, write_gradients
from weakshot_seg.cli import evaluate
from weakshot_seg.structures import IGNORE


def inputs() -> dict[str, torch.Tensor]:
    """Four images, two pairs; the halves differ in the number of classes of each kind, but not in their pixels.

    Each pair has one base class in common, so that chance has no choice.
    """
    base = [(0, 1), (0, 2), (1,), (1, 2)]
    tags = [(3, 4), (3,), (), (4,)]
    generator = torch.Generator().manual_seed(0)
    label_maps = torch.stack(
        [torch.tensor([*ids, IGNORE])[torch.randint(len(ids) + 1, (8, 12), generator=generator)] for ids in base]
    ).to(torch.uint8)
    padding = torch.zeros(4, 8, 12, dtype=torch.bool)
    padding[1, 6:] = True
    label_maps[padding] = IGNORE
    tag_table = torch.zeros(4, 5, dtype=torch.bool)
    for row, ids in zip(tag_table, tags, strict=True):
        row[list(ids)] = True
    return {
        "label_maps": label_maps,
        "padding": padding,
        "tags": tag_table,
        "novel": torch.tensor([False, False, False, True, True]),
        "class_logits": torch.randn(2, 4, 5, 6, generator=generator),
        "mask_logits": torch.randn(2, 4, 5, 4, 6, generator=generator),
        "pixel_embeddings": torch.randn(4, 3, 4, 6, generator=generator),
    }


def test_mean_gradient_of_the_ranks_is_that_of_the_union(tmp_path):
    """Logits belong to images: their gradients are put together. SimNet's weights are shared: theirs are averaged."""
    processes = [CONTEXT.Process(target=write_gradients, args=(inputs(), tmp_path, rank, 2)) for rank in (0, 1)]
    for process in processes:
        process.start()
    union = gradients(inputs(), slice(0, 4))
    for process in processes:
        process.join(60)
    first, second = (torch.load(tmp_path / f"gradients-{rank}.pt") for rank in (0, 1))
    terms = {name.split("/")[0] for name in union}
    assert terms == {"classification", "mask", "complement", "absence", "similarity"}
    for name, expected in union.items():
        assert expected.abs().sum() > 0, name
        of_images = name.endswith("_logits")
        found = torch.cat([first[name], second[name]], dim=1) / 2 if of_images else (first[name] + second[name]) / 2
        # the class balance of the similarity begins with one pair of each kind, however many processes there are
        rtol = 2e-3 if name.startswith("similarity/simnet") else 1e-4
        torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-7, msg=lambda text, n=name: f"{n}: {text}")


def test_training_on_two_processes(small, few_scenes, command, metrics_of, tmp_path):
    """It ends, and what two processes measured together is what one measures alone."""
    two = ("trainer=ddp", "trainer.devices=2", "trainer.sync_batchnorm=false", "data.val.num_images=3")
    run = tmp_path / "run"
    arguments = (*two, *small, *few_scenes, two[-1], f"hydra.run.dir={run}")
    jobs = [start(tmp_path / f"{rank}", *arguments, fault=Distributed(rank, 2, tmp_path)) for rank in (0, 1)]
    assert [job.finish() for job in jobs] == [0, 0], [job.output for job in jobs]
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    settings = ("trainer.accelerator=cpu", f"hydra.run.dir={tmp_path}/alone")
    command(evaluate.main, f"ckpt={run}/checkpoints/last.ckpt", *settings, folder=tmp_path)
    assert metrics_of(tmp_path / "alone") == metrics_of(run)
