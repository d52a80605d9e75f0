r"""Takes the pictures of docs/get-started.md: the page of a check, that of a run, and one of its panels.

    python scripts/make_scenes.py scenes
    weakshot check experiment=folder data.root=scenes html=check.html
    weakshot train experiment=folder data.root=scenes name=scenes trainer.max_steps=1200 \
        data.train_transform.crop_size=96 data.train_transform.short_edge=96 data.val_transform.short_edge=96
    python scripts/draw_pages.py check.html outputs/scenes/split1

It needs Chromium.
"""

import argparse
import subprocess
from pathlib import Path

from PIL import Image

OUT = Path(__file__).parents[1] / "docs" / "images"
WIDTH, HEIGHT = 1000, 1000
SHOWN = 800
"""Pixels of the window, and the width of the pictures."""


def photograph(page: Path, out: Path) -> None:
    """The top of a page."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
    subprocess.run(["chromium", *options, f"--screenshot={out}", page.resolve().as_uri()], check=True)
    shrink(out, out)


def shrink(source: Path, out: Path) -> None:
    """As a small PNG file."""
    image = Image.open(source).convert("RGB")
    image.thumbnail((SHOWN, image.height))
    image.quantize(256).save(out, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--panel", default="01_0001.png")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    photograph(args.check, args.out / "check.png")
    photograph(args.run / "index.html", args.out / "run.png")
    shrink(args.run / "pictures" / args.panel, args.out / "panel.png")
