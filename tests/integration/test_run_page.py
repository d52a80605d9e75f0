"""A training and an evaluation end with a page; that of a model to give away says nothing about its owner."""

import shlex
from collections.abc import Callable
from pathlib import Path

from elements import Elements
from weakshot_seg.cli import card, evaluate

Command = Callable[..., None]


def test_a_training_ends_with_a_page(trained: Path) -> None:
    page = Elements((trained / "index.html").read_text())
    for text in (
        "synthetic, split 1",
        "4 steps",
        "striped disc ",
        "Best, median and worst",
        "f1 similar",
        "max_steps: 4",
    ):
        assert text in page.text
    line = next(line for line in page.text.splitlines() if line.startswith("weakshot train"))
    assert "trainer.max_steps=4" in shlex.split(line)
    assert sum(link.startswith("data:image/jpeg") for link in page.links) == 3


def test_an_evaluation_ends_with_a_page(trained: Path, command: Command, tmp_path: Path) -> None:
    settings = (f"ckpt={trained}/checkpoints/last.ckpt", "hydra.run.dir=new", "trainer.accelerator=cpu")
    command(evaluate.main, *settings, "data.num_workers=0", folder=tmp_path)
    page = Elements((tmp_path / "new" / "index.html").read_text())
    assert "evaluation of a checkpoint" in page.text
    assert "weakshot evaluate" in page.text


def test_a_card_links_its_page(trained: Path, command: Command, tmp_path: Path) -> None:
    command(card.main, f"ckpt={trained}/checkpoints/last.ckpt", "out=model", folder=tmp_path)
    assert "(training.html)" in (tmp_path / "model" / "README.md").read_text()
    page = Elements((tmp_path / "model" / "training.html").read_text())
    assert "striped disc " in page.text
    assert str(trained.parent) not in page.source
    assert not any(link.startswith("data:image/jpeg") for link in page.links)
