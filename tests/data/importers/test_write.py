"""The new folder: whole or not at all, and photos that stay as they are."""

import errno
import os
import shutil
from hashlib import sha256

import numpy as np
import pytest
from filelock import FileLock

from importing import problems, run, write_json
from weakshot_seg.data.importers import write
from weakshot_seg.data.importers.run import import_sources
from weakshot_seg.data.importers.source import Source
from weakshot_seg.data.readers.files import FolderImages
from weakshot_seg.errors import ConfigError


@pytest.fixture
def birds(tmp_path, photo):
    photo(tmp_path / "birds/heron/a.jpg")
    photo(tmp_path / "birds/otter/b.png")
    return tmp_path / "birds"


@pytest.mark.parametrize("copy", [False, True])
def test_photos_are_linked_or_copied_and_never_changed(copy, tmp_path, birds):
    before = sha256((birds / "heron/a.jpg").read_bytes()).digest()
    made = run(tmp_path / "root", birds, copy=copy)
    target = tmp_path / "root/images/training/a.jpg"
    assert sha256(target.read_bytes()).digest() == before
    assert os.path.samefile(target, birds / "heron/a.jpg") is not copy
    assert not target.is_symlink()
    assert made.done.written.placed == {"copies" if copy else "hard links": 2}


def test_across_file_systems_symbolic_links_are_made(tmp_path, birds, monkeypatch):
    def fails(*_):
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(write.os, "link", fails)
    run(tmp_path / "root", birds)
    target = tmp_path / "root/images/training/a.jpg"
    assert target.is_symlink()
    assert os.path.samefile(target, birds / "heron/a.jpg")
    monkeypatch.setattr(write.os, "symlink", fails)
    assert run(tmp_path / "other", birds).done.written.placed == {"copies": 2}


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_exists_is_refused(kind, tmp_path, birds):
    root = tmp_path / "root"
    if kind == "folder":
        (root / "images").mkdir(parents=True)
    elif kind == "file":
        root.write_text("")
    else:
        root.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="exists: an import never adds to one"):
        import_sources([Source(birds)], root)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["birds", "root"]


def test_an_empty_folder_is_taken(tmp_path, birds):
    (tmp_path / "root").mkdir()
    assert run(tmp_path / "root", birds).classes == ["heron", "otter"]


def test_of_two_at_once_the_second_is_refused(tmp_path, birds):
    work = tmp_path / ".root.importing"
    work.mkdir()
    with FileLock(work / ".lock"), pytest.raises(ConfigError, match="another import writes to"):
        import_sources([Source(birds)], tmp_path / "root")
    assert work.is_dir()  # it is the other one's


def test_what_a_killed_import_has_left_is_not_mixed_in(tmp_path, birds):
    left = tmp_path / ".root.importing/root/images/training/old.jpg"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"")
    run(tmp_path / "root", birds)
    assert {path.name for path in (tmp_path / "root/images/training").iterdir()} == {"a.jpg", "b.png"}
    assert not (tmp_path / ".root.importing").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_nothing_is_left_after_an_interruption(error, tmp_path, birds, monkeypatch):
    def fails(*_):
        raise error

    monkeypatch.setattr(write, "_write_tags", fails)
    with pytest.raises(error):
        import_sources([Source(birds)], tmp_path / "root")
    assert [path.name for path in tmp_path.iterdir()] == ["birds"]


def test_validation_sources_become_validation_images(tmp_path, birds, photo):
    root = tmp_path / "val"
    photo(root / "images/v.jpg")
    (root / "masks").mkdir()
    (root / "classes.txt").write_text("heron\n")
    write.Image.fromarray(np.zeros((30, 40), np.uint8)).save(root / "masks/v.png")
    import_sources([Source(birds), Source(root, part="validation")], tmp_path / "root")
    written = sorted(path.relative_to(tmp_path / "root").as_posix() for path in (tmp_path / "root").rglob("v.*"))
    assert written == ["annotations/validation/v.png", "images/validation/v.jpg"]
    assert "v.jpg" not in (tmp_path / "root/tags.csv").read_text()


def test_training_reads_what_the_sources_say(tmp_path, birds, photo):
    """Masks of cats and dogs in one source, verified herons in another, and a folder for each of two birds."""
    for name in "xyz":
        photo(tmp_path / f"coco/{name}.jpg")
    images = [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate("xyz")]
    outline = [[4, 5, 20, 5, 20, 25, 4, 25]]
    entries = [{"id": 1, "image_id": 0, "category_id": 1, "segmentation": outline}]
    entries.append({"id": 2, "image_id": 1, "category_id": 2, "segmentation": outline})
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    write_json(tmp_path / "coco/c.json", {"images": images, "annotations": entries, "categories": categories})
    (tmp_path / "tags.csv").write_text("image,heron,swan\nx.jpg,1,0\ny.jpg,0,\n")
    run(tmp_path / "root", tmp_path / "coco", birds, tmp_path / "tags.csv")
    data = FolderImages(tmp_path / "root", "images/training", "annotations/training", tags="tags.csv")
    assert data.class_names == ("cat", "dog", "heron", "otter", "swan")
    names = [data.name(index) for index in range(len(data))]
    novel = np.array([False, False, True, True, True])
    for novel_too in (False, True):  # also if dogs are to be learnt without their masks
        novel[1] = novel_too
        states = ["".join("UAPM"[state] for state in row) for row in data.states(novel)]
        assert dict(zip(names, states, strict=True)) == {
            "a": "UUPAU",  # a heron in its folder: of the otter nobody says where it is not
            "b": "UUUPU",  # of the heron somebody does
            "x": "MMPAA",
            "y": "MMAAU",
            "z": "AAUAU",
        }


def test_an_archive_is_read_as_its_content(tmp_path, birds):
    shutil.make_archive(str(tmp_path / "birds"), "zip", birds)
    shutil.rmtree(birds)
    made = run(tmp_path / "root", tmp_path / "birds.zip")
    assert made.tags.keys() == {"a.jpg", "b.png"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["birds.zip", "root"]
    assert (tmp_path / "root/images/training/a.jpg").stat().st_size > 100
    content = (tmp_path / "birds.zip").read_bytes()
    (tmp_path / "birds.zip").write_bytes(content[:60] + bytes(20) + content[80:])
    (message,) = problems(tmp_path / "other", tmp_path / "birds.zip")
    assert message.startswith(f"cannot read the archive {tmp_path / 'birds.zip'} (")


def test_problems_in_an_archive_name_the_archive(tmp_path, photo):
    photo(tmp_path / "data/a.jpg")
    (tmp_path / "data/tags.csv").write_text("image,classes\nz.jpg,heron\n")
    shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path / "data")
    (message,) = problems(tmp_path / "root", tmp_path / "data.zip")
    assert message.startswith(
        f"line 2 of {tmp_path / 'data.zip'}/tags.csv: the photo z.jpg is not in {tmp_path}/data.zip"
    )
