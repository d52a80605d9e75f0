"""One folder per class: ``heron/a.jpg`` shows a heron; what else it shows is not said."""

from collections import defaultdict
from pathlib import Path
from unicodedata import normalize

from weakshot_seg.data.importers.records import Export, Place, Record, is_class
from weakshot_seg.data.importers.source import Source, is_photo, name_of

TITLE = "one folder per class in the source"
OF_TOOLS = {".json", ".xml", ".csv", ".txt", ".yaml", ".yml"}
NO_CLASSES = {
    "images",
    "image",
    "img",
    "photos",
    "jpegimages",
    "train",
    "training",
    "val",
    "valid",
    "validation",
    "test",
    "masks",
}


def find(source: Source) -> list[Path]:
    """The photos, if all lie in folders that may be classes, and no file of a tool does."""
    photos = [file for file in source.files if is_photo(file)]
    readme = ("readme", "license", "licence")
    others = [f for f in source.files if f.suffix.lower() in OF_TOOLS and not f.stem.lower().startswith(readme)]
    if not source.path.is_dir() or others or any(file.parent == source.path for file in photos):
        return []
    first = {file.relative_to(source.path).parts[0].lower() for file in photos}
    return [] if first & NO_CLASSES else photos


def read(source: Source, files: list[Path]) -> Export:
    """One record for each photo; the name of the first folder is the class, folders in it are part of the name."""
    export = Export(TITLE)
    by_class: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        by_class[normalize("NFC", file.relative_to(source.path).parts[0])].append(file)
    export.add_classes(by_class)
    export.presence_only = frozenset(export.classes)
    for name, photos in by_class.items():
        for photo in photos:
            if is_class(name):
                inner = Path(*photo.relative_to(source.path).parts[1:]).as_posix()
                export.records.append(Record(name_of(photo, inner), photo, Place(photo), present=frozenset({name})))
            else:
                export.leave_out(Place(photo), f"the folder {name} is no class")
    return export
