"""The online teacher on a network whose view of each image is known."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.structures import IGNORE, Knowledge, SegOutput, WeakTargets
from weakshot_seg.training import running
from weakshot_seg.training import teacher as teacher_module
from weakshot_seg.training.teacher import OnlineTeacher

BACKGROUND, DOG, PERSON, CAT = range(4)
SIZE = 8
LETTERS = {letter: state for state in Knowledge for letter in state.name[0]}


class Seer(nn.Module):
    """Sees in each pixel the class that red says, and is quite sure; to its backbone it looks as green says."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = SimpleNamespace(channels=[4, 4])
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def encode(self, images: Tensor) -> list[Tensor]:
        views, looks = (F.one_hot(images[:, colour].long(), 4).movedim(-1, 1).float() for colour in (0, 1))
        noise = torch.rand(looks.shape, generator=torch.Generator().manual_seed(0))
        return [views, looks + 0.1 * noise, looks]

    def decode(self, features: list[Tensor], last_only: bool = False) -> SegOutput:
        images = features[0]
        views = images.argmax(1)
        masks = torch.stack([torch.where(views == k, 4.0, -4.0) for k in range(4)], 1)
        classes = torch.full((4, 5), -5.0).fill_diagonal_(5.0).expand(1, len(images), 4, 5)
        return SegOutput(classes, masks[None], torch.zeros(len(images), 1, SIZE, SIZE))


def halves(left: int, right: int) -> Tensor:
    return torch.tensor([left] * 4 + [right] * 4, dtype=torch.uint8).expand(SIZE, SIZE)


def batch(
    views: Sequence[Tensor], states: Sequence[str], padded_rows: int = 0, dog_looks: int = DOG
) -> tuple[Tensor, WeakTargets]:
    """Images in which ``views`` are seen; where the states have masks, that is also what they are.

    In images tagged with a cat, what is seen as a dog looks like ``dog_looks``.
    """
    table = torch.tensor([[LETTERS[letter] for letter in row] for row in states], dtype=torch.uint8)
    maps = torch.stack([v if "M" in row else torch.full_like(v, IGNORE) for v, row in zip(views, states, strict=True)])
    padding = torch.zeros(len(views), SIZE, SIZE, dtype=torch.bool)
    padding[:, SIZE - padded_rows :] = padded_rows > 0
    targets = WeakTargets.collate(maps, padding, table, torch.arange(4) == CAT)
    seen = torch.stack(list(views))
    looks = seen.masked_fill((seen == DOG) & (targets.tagged[:, CAT, None, None]), dog_looks)
    return torch.stack([seen, looks, looks], 1), targets


def taught(teacher: OnlineTeacher, steps: int = 60) -> None:
    """Masks show a dog in one of four images and a person in half; images of cats look as if all showed a dog."""
    masked = 2 * [halves(DOG, BACKGROUND)] + 4 * [halves(PERSON, BACKGROUND)] + 2 * [halves(BACKGROUND, BACKGROUND)]
    tagged = 3 * [halves(DOG, BACKGROUND)] + [halves(DOG, PERSON)]
    for step in range(steps):
        images = batch([*masked, *tagged], 8 * ["MMMA"] + 4 * ["UUUP"], dog_looks=CAT)
        teacher(*images, progress=0.3 if step < steps // 2 else 0.5)


@pytest.fixture
def teacher() -> OnlineTeacher:
    teacher = OnlineTeacher(start=0.4)
    teacher.attach(Seer(), 4)
    return teacher


def test_what_masks_do_not_explain_is_what_the_tag_names(teacher: OnlineTeacher) -> None:
    taught(teacher)
    images = [halves(DOG, BACKGROUND), halves(DOG, PERSON), halves(CAT, BACKGROUND)]
    seen = teacher(*batch(images, 3 * ["UUUP"], dog_looks=CAT), progress=0.5)
    labels = seen.pseudo_map
    assert labels is not None
    assert labels.dtype == torch.uint8
    for label, (left, right) in zip(labels, [(CAT, BACKGROUND), (CAT, PERSON), (CAT, BACKGROUND)], strict=True):
        assert torch.equal(label, halves(left, right))
    # the dog is none; whether there is a person remains unknown
    assert ["".join("UAPM"[state] for state in row) for row in seen.states[:2]] == ["UAUP", "UAUP"]


def test_what_looks_like_a_known_class_is_not_what_the_tag_names(teacher: OnlineTeacher) -> None:
    taught(teacher)
    seen = teacher(*batch([halves(DOG, PERSON)], ["UUUP"]), progress=0.5)
    assert seen.pseudo_map is not None
    assert torch.equal(seen.pseudo_map[0], halves(IGNORE, PERSON))
    assert seen.states[0, DOG] == Knowledge.UNKNOWN


def test_without_a_tag_it_is_what_it_looks_like(teacher: OnlineTeacher) -> None:
    taught(teacher)
    labels = teacher(*batch([halves(DOG, PERSON), halves(CAT, BACKGROUND)], ["UUUA", "UUUA"]), progress=0.5).pseudo_map
    assert labels is not None
    assert torch.equal(labels[0], halves(DOG, PERSON))
    assert torch.equal(labels[1], halves(IGNORE, BACKGROUND))  # there is no cat


def test_only_open_pixels_get_labels(teacher: OnlineTeacher) -> None:
    taught(teacher)
    images, targets = batch([halves(PERSON, BACKGROUND), halves(DOG, BACKGROUND)], ["MMMP", "UUUP"], 2, CAT)
    labels = teacher(images, targets, progress=0.5).pseudo_map
    assert labels is not None
    assert (labels[0] == IGNORE).all()  # its masks leave nothing unknown
    assert (labels[1, -2:] == IGNORE).all()
    assert (labels[1, :-2] != IGNORE).all()


def test_it_looks_on_before_it_labels(teacher: OnlineTeacher) -> None:
    images, targets = batch([halves(DOG, BACKGROUND)], ["UUUP"])
    assert teacher(images, targets, progress=0.1) is targets
    assert not teacher.found.any()
    assert teacher(images, targets, progress=0.3) is targets
    assert teacher.found[CAT].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert teacher(images, targets, progress=0.4).pseudo_map is not None
    assert teacher(*batch([halves(DOG, BACKGROUND)], ["MMMP"]), progress=0.5).pseudo_map is None


def test_the_average_follows_the_weights() -> None:
    network, teacher = Seer(), OnlineTeacher(decay=0.9)
    teacher.attach(network, 4)
    expected = 0.0
    for step in range(200):
        with torch.no_grad():
            network.weight.fill_(step)
            network.steps.fill_(step)
        teacher.follow(network, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    average = teacher.train().average
    assert isinstance(average, Seer)
    torch.testing.assert_close(average.weight.detach(), torch.full((3,), expected))
    assert average.steps == 199
    assert not average.training
    assert not any(p.requires_grad for p in teacher.parameters())


@pytest.mark.parametrize("progress", [0.1, 0.3, 0.5])
def test_every_rank_takes_part_in_every_sum(monkeypatch: pytest.MonkeyPatch, progress: float) -> None:
    """One whose images leave nothing open, too: else the others would wait for it."""
    shapes: list[torch.Size] = []

    def sum_over_ranks(value: Tensor) -> Tensor:
        shapes.append(value.shape)
        return value

    for module in (teacher_module, running):
        monkeypatch.setattr(module, "mean_over_ranks", sum_over_ranks)
    sums = []
    for states in ("MMMP", "UUUP"):
        shapes.clear()
        teacher = OnlineTeacher(start=0.4)
        teacher.attach(Seer(), 4)
        teacher(*batch([halves(PERSON, BACKGROUND)], [states]), progress=progress)
        sums.append(list(shapes))
    assert sums[0] == sums[1]
    assert len(sums[0]) >= 2
