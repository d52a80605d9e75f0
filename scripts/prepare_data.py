"""Makes a published data set ready for training: fetches and unpacks it, counts its images, builds the cache of labels.

    python scripts/prepare_data.py ade20k --root DIR --download                       # an interrupted one goes on
    python scripts/prepare_data.py coco_stuff_10k --root DIR --archive cocostuff-10k-v1.1.zip
    python scripts/prepare_data.py voc2012 --root DIR                                 # unpacked already

Training needs none of this: data.root=DIR may be any unpacked download, and the cache is built at first use.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from downloading import download, unpack, verify_checksum
from weakshot_seg.cli.entry_point import entry_point
from weakshot_seg.data.readers.ade20k import ADE20K
from weakshot_seg.data.readers.coco_stuff import COCO_STUFF_10K
from weakshot_seg.data.readers.official import KnownDataset, OfficialImages, Part
from weakshot_seg.data.readers.voc import VOC2012
from weakshot_seg.data.splits import published_class_names
from weakshot_seg.errors import DataError


class Official(NamedTuple):
    """The official download of a data set.

    Attributes:
        checksum: "md5:..." or "sha1:..." of the archive; None where none is known for certain.
        counts: Images of each part.
    """

    dataset: KnownDataset
    url: str
    checksum: str | None
    counts: dict[Part, int]


DATASETS = {
    "ade20k": Official(
        ADE20K,
        "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
        "sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",  # as GluonCV and others check it
        {"train": 20210, "val": 2000},
    ),
    "coco_stuff_10k": Official(
        COCO_STUFF_10K,
        "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/cocostuff-10k-v1.1.zip",
        None,  # none is published; the archive has a checksum of each of its files
        {"train": 9000, "val": 1000},
    ),
    "voc2012": Official(
        VOC2012,
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "md5:6cd6e144f989b92b3379bac3b3de84fd",  # as torchvision checks it
        {"train": 1464, "val": 1449},
    ),
}


@entry_point
def main(arguments: Sequence[str] | None = None) -> None:
    """Prepares as the command line says; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", choices=sorted(DATASETS), help=", ".join(sorted(DATASETS)))
    parser.add_argument("--root", metavar="DIR", type=Path, required=True, help="folder of the data set")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--archive", metavar="FILE", type=Path, help="unpack this zip or tar file into DIR first")
    source.add_argument("--download", action="store_true", help="fetch the official archive into DIR and unpack it")
    parser.add_argument("--url", help="with --download: fetch the same archive from here")
    parser.add_argument("--cache-dir", metavar="DIR", type=Path, help="as data.cache_dir; default: ROOT/.weakshot_seg")
    options = parser.parse_args(arguments)
    if options.url and not options.download:
        parser.error("--url needs --download")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    official, root = DATASETS[options.name], options.root.expanduser()
    archive = options.archive
    if options.download:
        archive = fetched(options.url or official.url, root, official.checksum)
    elif archive and archive.is_file() and archive.name == file_name(official.url):
        verify_checksum(archive, official.checksum)
    if archive is not None:
        unpack(archive, root)
    check_counts(official, root)
    for part in official.counts:
        OfficialImages(official.dataset, root, part, published_class_names(options.name), options.cache_dir)
    print(f"ready: data={options.name} data.root={options.root.absolute()}")


def file_name(url: str) -> str:
    """Last part of an address."""
    return url.rsplit("/", 1)[-1]


def fetched(url: str, root: Path, checksum: str | None) -> Path:
    """The archive in ``root``, fetched unless it is there.

    Raises:
        DataError: it cannot be fetched, or has another checksum.
    """
    archive = root / file_name(url)
    if archive.is_file():
        verify_checksum(archive, checksum)
    else:
        download(url, archive, checksum)
    return archive


def check_counts(official: Official, root: Path) -> None:
    """Refuses a folder that holds fewer images than the official data.

    Raises:
        DataError: naming the part that has too few.
    """
    dataset = official.dataset
    for part, count in official.counts.items():
        layout, folder = dataset.recognise(root, part)
        found = len(layout.files(folder, part))
        if found < count:
            raise DataError(
                f"{folder} holds {found:,} images of {dataset.title} for {part}, but the official data have {count:,}: "
                "unpack the archive again"
            )


if __name__ == "__main__":
    main()
