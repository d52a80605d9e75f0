"""What is suspicious about a data set: ``weakshot check`` prints it, training logs it."""

from collections.abc import Sequence

from numpy import bool_
from numpy.typing import NDArray

from weakshot_seg.data.source import LabelledImages, by_tag
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.tables import first_few

NO_CLASSES = {"__ignore__", "_background_", "__background__", "background", "ignore", "unlabeled", "unlabelled", "void"}
MOST = 12


def remarks(
    split: ClassSplit, known: NDArray[bool_], train: LabelledImages, val: LabelledImages | None, drawn: bool
) -> list[str]:
    """A line each; ``known`` is what training knows of ``train``, ``drawn``: the split was drawn from a user's data."""
    lines: list[str] = []
    novel, by_mask = list(split.novel), _by_mask(train)
    if drawn:
        names = ",".join(split.novel_names)
        lines.append(
            f"NOVEL CLASSES ARE DRAWN AT RANDOM: {', '.join(split.novel_names)}. TRAINING DOES NOT SEE THEIR MASKS. "
            f"Name them instead: data.novel_classes=[{names}], or [] for none"
        )
    for source in (train, val):
        lines += getattr(source, "remarks", ())
    lines += _odd_names(split.names, by_mask, bool(train.presence()[:, 0].any()))
    if no_label := [split.names[i] for i in novel if not known[:, i].any()]:
        lines.append(f"novel classes that no training image carries: {first_few(no_label, MOST)}")
    if no_mask := [split.names[i] for i in split.base if not by_mask[:, i].any()]:
        lines.append(f"base classes without a mask in the training images: {first_few(no_mask, MOST)}")
    if novel and (val is None or not _by_mask(val)[:, novel].any()):
        lines.append("no validation image has a mask of a novel class: novel IoU cannot be measured")
    return lines


def _by_mask(source: LabelledImages) -> NDArray[bool_]:
    return source.presence() & ~by_tag(source)


def _odd_names(names: Sequence[str], by_mask: NDArray[bool_], first_seen: bool) -> list[str]:
    first = names[0].lower()
    if first == "__ignore__":
        return [
            f"the first class is '{names[0]}': it is a class with an id here, but labelme gives it none; if the masks "
            "are labelme's, remove it from the class names, or all ids mean the class before theirs"
        ]
    if first in NO_CLASSES and by_mask[:, 0].any():
        return [f"the class '{names[0]}' is learnt like any other; if it means unlabelled, set data.ignore_label"]
    if not first_seen and first not in NO_CLASSES and by_mask[:, 1:].any():
        return [f"no mask has the first class, '{names[0]}': if ids start one higher than that, set data.label_offset"]
    return []
