"""What an import has made, as tables and lines."""

from collections.abc import Iterator

from weakshot_seg.data.importers.records import Export, Record
from weakshot_seg.data.importers.run import Imported
from weakshot_seg.utils.tables import Table, first_few


def tables(done: Imported) -> Iterator[Table]:
    """Sources, classes, and what was left out and why."""
    sources = [
        (export.title, *(str(len({r.photo for r in records})) for records in (export.records, _drawn(export))))
        for export in done.exports
    ]
    yield Table("Sources", (("format", "photos", "with masks"), *sources), "<>>")
    photos = [(d, r) for d, r in zip(done.written.drawn, done.written.rows, strict=True) if r.photo.part == "training"]
    rows: list[tuple[str, ...]] = [("class", "photos with mask", "pixels", "tagged", "absent", "unknown")]
    for name in done.merged.classes:
        seen = [drawn.pixels[name] for drawn, _ in photos if name in drawn.pixels]
        tagged = sum(name in row.tags for _, row in photos)
        absent = sum(name in row.absent or name in row.annotated for _, row in photos) - len(seen)
        unknown = len(photos) - len(seen) - tagged - absent
        rows.append((name, *map(str, (len(seen), sum(seen), tagged, absent, unknown))))
    yield Table("Classes in the training photos", tuple(rows), "<>>>>>")
    left_out = [
        (reason, str(len(places)), first_few([str(place) for place in places]))
        for export in done.exports
        for reason, places in export.left_out.items()
    ]
    if left_out:
        yield Table("Left out", (("what", "times", "where"), *left_out), "<><")


def _drawn(export: Export) -> list[Record]:
    return [record for record in export.records if record.regions or record.masks]


def remarks(done: Imported) -> Iterator[str]:
    """What the user should know; the last line says how much there is."""
    merged, written = done.merged, done.written
    if assumed := [name for name in merged.classes if name in merged.assumed]:
        yield (
            f"note: no source says in which photos there is no {first_few(assumed)}: absent wherever none names it; "
            "unnamed=unknown leaves that open"
        )
    seen = {name for drawn in written.drawn for name in drawn.pixels} | {t for row in written.rows for t in row.tags}
    if nowhere := [name for name in merged.classes if name not in seen]:
        yield f"note: no photo shows {first_few(nowhere)} ({len(nowhere)} of the classes)"
    if done.unlisted:
        yield f"note: {len(done.unlisted)} photos are left out: no source lists them, such as {done.unlisted[0]}"
    if merged.silent:
        yield f"note: {merged.silent} photos are left out: no source says anything of these classes in them"
    masks = sum(bool(drawn.pixels) for drawn in written.drawn)
    tags = sum(len(row.tags) for row in written.rows)
    ways = " and ".join(f"{number} {way}" for way, number in written.placed.items())
    yield f"{len(merged.photos)} photos ({ways}), {masks} masks, {tags} tags, {len(merged.classes)} classes"
