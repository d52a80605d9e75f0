"""From an archive, or from nothing, to a data set that is ready for training."""

from __future__ import annotations

from pathlib import Path

from weakshot_seg.data.download import download, unpack, verify_checksum
from weakshot_seg.data.readers.official import KnownDataset, OfficialImages, Part
from weakshot_seg.data.splits import published_class_names
from weakshot_seg.errors import DataError


def prepare(
    dataset: KnownDataset,
    root: Path,
    archive: Path | None = None,
    url: str | None = None,
    cache_dir: Path | None = None,
) -> dict[Part, OfficialImages]:
    """Fetches and unpacks a data set where asked to, counts its images, and builds its caches.

    Args:
        dataset: Which one.
        root: Folder of the data set.
        archive: Unpack this file first.
        url: Fetch the archive from here first, into ``root``; an archive that is there is not fetched again.
        cache_dir: See :class:`~weakshot_seg.data.readers.official.OfficialImages`.

    Returns:
        The training and the validation images.

    Raises:
        DataError: something is missing, damaged, or not the official data.
    """
    official = dataset.archive
    if url is not None:
        archive = root / url.rsplit("/", 1)[-1]
        if not archive.is_file():
            download(url, archive, official.checksum)
        else:
            verify_checksum(archive, official.checksum)
    elif archive is not None and archive.is_file() and archive.name == official.url.rsplit("/", 1)[-1]:
        verify_checksum(archive, official.checksum)
    if archive is not None:
        unpack(archive, root)
    for part, count in official.counts.items():
        layout, folder = dataset.recognise(root, part)
        found = len(layout.files(folder, part))
        if found < count:
            raise DataError(
                f"{folder} holds {found:,} images of {dataset.title} for {part}, but the official data have {count:,}: "
                "unpack the archive again"
            )
    names = published_class_names(dataset.name)
    return {part: OfficialImages(dataset, root, part, names, cache_dir) for part in official.counts}
