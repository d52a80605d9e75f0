"""What a mask says beside its photo, and beside the masks of other photos."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from weakshot_seg.data.masks import Mask
from weakshot_seg.data.source import of_other_size


class Turn(Enum):
    """How certain it is that a mask was drawn on its photo as shown, turned upright by its EXIF orientation."""

    SAME = auto()  # both carry the same orientation, or none
    PROVEN = auto()  # the photo is turned, and the mask has its sides
    OPEN = auto()  # the photo is turned upside down, mirrored or square, which sizes cannot show


def compare_turns(file: Path, mask: Mask, size: tuple[int, int], turn: int) -> tuple[Turn, str]:
    """Compares a mask with its photo, of height and width ``size`` when turned upright by its orientation ``turn``.

    Also what is wrong with the mask, if anything, and the remedy.
    """
    shape, decisive = mask.ids.shape, size[0] != size[1]
    apply = "apply the orientation to the pixels of both files (such as exiftran -ai, or mogrify -auto-orient)"
    if mask.orientation not in (1, turn) and not (turn == 1 and mask.orientation >= 5 and decisive and shape == size):
        return Turn.SAME, (
            f"mask {file} has the EXIF orientation {mask.orientation}, but its photo {turn}: which way round it was "
            f"drawn is not certain; turn it as the photo is shown, and remove its EXIF data, or {apply}"
        )
    if shape == size:
        if turn == mask.orientation or mask.orientation != 1:
            return Turn.SAME, ""
        return (Turn.PROVEN if turn >= 5 and decisive else Turn.OPEN), ""
    if turn >= 5 and shape == size[::-1]:
        return Turn.SAME, (
            f"mask {file} is {shape[1]}x{shape[0]} but its image is {size[1]}x{size[0]} as shown: the photo has the "
            f"EXIF orientation {turn}, and the mask was drawn without it; turn the mask as the photo is shown (do not "
            "resize it)"
        )
    return Turn.SAME, of_other_size(f"mask {file}", shape, size)


@dataclass
class Turns:
    """Counts photos that are turned while their masks are not."""

    counts: Counter[Turn] = field(default_factory=Counter)
    example: Path | None = None

    def add(self, photo: Path, turn: Turn) -> None:
        """Counts one."""
        self.counts[turn] += 1
        if turn == Turn.OPEN and self.example is None:
            self.example = photo

    def remarks(self) -> tuple[str, ...]:
        """In a line, that masks may be the wrong way round; nothing where other photos prove that they are not."""
        if not self.counts[Turn.OPEN] or self.counts[Turn.PROVEN]:
            return ()
        return (
            f"{self.counts[Turn.OPEN]} photos are turned by their EXIF orientation and their masks are not, such as "
            f"{self.example}: look whether these masks were drawn on the photos as shown (html=FILE of weakshot check)",
        )


class Palettes:
    """Finds masks whose numbers are not ids, because a program has put their palettes in another order."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int, int], dict[int, tuple[Path, bool]]] = {}

    def contradiction(self, file: Path, mask: Mask) -> str:
        """What is wrong with the next mask: it has a colour of another one under another number."""
        for number, colour in mask.colours.items():
            seen = self._seen.setdefault(colour, {})
            other = next((n for n, (_, tight) in seen.items() if n != number and (tight or mask.is_tight)), None)
            if other is not None:
                return (
                    f"mask {file} has the colour #{bytes(colour).hex()} under the number {number}, {seen[other][0]} "
                    f"under {other}: a program has reduced the palette of one, and its numbers are no ids any more; "
                    "save the ids anew from what they were drawn with"
                )
            if number not in seen or mask.is_tight:
                seen[number] = file, mask.is_tight
        return ""
