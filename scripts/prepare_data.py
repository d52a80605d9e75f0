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

from weakshot_seg.cli.entry_point import entry_point
from weakshot_seg.data.prepare import prepare
from weakshot_seg.data.readers.ade20k import ADE20K
from weakshot_seg.data.readers.coco_stuff import COCO_STUFF_10K
from weakshot_seg.data.readers.voc import VOC2012

DATASETS = {dataset.name: dataset for dataset in (ADE20K, COCO_STUFF_10K, VOC2012)}


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
    dataset = DATASETS[options.name]
    url = (options.url or dataset.archive.url) if options.download else None
    prepare(dataset, options.root.expanduser(), options.archive, url, options.cache_dir)
    print(f"ready: data={dataset.name} data.root={options.root.absolute()}")


if __name__ == "__main__":
    main()
