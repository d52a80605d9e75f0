"""Fetching from a real HTTP server that breaks connections, unpacking, and the command that does both."""

import contextlib
import hashlib
import io
import re
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import prepare_data
from downloading import download, unpack
from official_layouts import random_maps, write_coco, write_voc
from weakshot_seg.data.readers.official import OfficialImages
from weakshot_seg.data.splits import published_class_names
from weakshot_seg.errors import DataError

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA1 = f"sha1:{hashlib.sha1(CONTENT).hexdigest()}"
LIMIT = 100_000
LINKS_AND_DEVICES = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)


@dataclass
class Site:
    """What the server does, and what it was asked for."""

    files: dict[str, bytes]
    breaks: int = 0  # so many answers end after LIMIT bytes
    ranges: bool = True
    address: str = ""
    asked: list = field(default_factory=list)  # the Range of each request


class Handler(BaseHTTPRequestHandler):
    def __init__(self, site, *arguments):
        self.site = site
        super().__init__(*arguments)

    def do_GET(self):
        site, wanted = self.site, self.headers["Range"]
        site.asked.append(wanted)
        content = site.files.get(self.path.lstrip("/"))
        if content is None:
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and site.ranges else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + LIMIT if site.breaks else None
        site.breaks -= bool(site.breaks)
        self.wfile.write(content[start:end])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site():
    site = Site({"data.bin": CONTENT})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, site))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("breaks", "ranges", "arrived", "asked"),
    [
        (0, True, None, [None]),
        (2, True, None, [None, "bytes=100000-", "bytes=200000-"]),  # a lost connection is taken up where it broke
        (1, False, None, [None, "bytes=100000-"]),  # a server that cannot resume sends everything again
        (0, True, CONTENT[:7], ["bytes=7-"]),  # what an earlier call has fetched
        (0, True, CONTENT, ["bytes=300000-"]),
        (0, True, CONTENT + b"of another file", ["bytes=300015-", None]),
    ],
)
def test_a_file_arrives_whole(breaks, ranges, arrived, asked, site, tmp_path):
    site.breaks, site.ranges, folder = breaks, ranges, tmp_path / "new"
    if arrived is not None:
        folder.mkdir()
        (folder / "data.bin.part").write_bytes(arrived)
    download(f"{site.address}/data.bin", folder / "data.bin", SHA1, pause=0.01)
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["data.bin"]
    assert site.asked == asked


@pytest.mark.parametrize(
    ("file", "content", "breaks", "message", "left"),
    [
        ("data.bin", CONTENT, 1, r"100,000 of 300,000 bytes arrived\): run the same command again", ["data.bin.part"]),
        ("data.bin", b"<html>Log in</html>", 0, rf"has the sha1 [0-9a-f]{{40}}, but {SHA1[5:]} was expected", []),
        ("other.bin", CONTENT, 0, r"\(HTTP Error 404: .*\): fetch it by hand", []),
    ],
)
def test_what_does_not_arrive(file, content, breaks, message, left, site, tmp_path):
    site.files["data.bin"], site.breaks = content, breaks
    with pytest.raises(DataError, match=message):
        download(f"{site.address}/{file}", tmp_path / file, SHA1, retries=0)
    assert [path.name for path in tmp_path.iterdir()] == left
    assert all(path.read_bytes() == CONTENT[:LIMIT] for path in tmp_path.iterdir())  # for the next call
    assert len(site.asked) == 1


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def tarred(members, kind=tarfile.REGTYPE):
    """A tar file of files, or of links to what their contents name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if kind == tarfile.REGTYPE:
                info.size = len(content)
            else:
                info.type, info.linkname = kind, content.decode()
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def folder_as(make, folder):
    return make({p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()})


def unpacked(folder, content):
    (folder / "archive").write_bytes(content)
    unpack(folder / "archive", folder / "here")
    return folder / "here"


@pytest.mark.parametrize("make", [zipped, tarred])
def test_unpacking(make, tmp_path):
    folder = unpacked(tmp_path, make({"a/b.txt": b"content", "c.txt": b""}))
    assert (folder / "a/b.txt").read_bytes() == b"content"
    assert (folder / "c.txt").read_bytes() == b""


@pytest.mark.parametrize("make", [zipped, tarred, *(partial(tarred, kind=kind) for kind in LINKS_AND_DEVICES)])
@pytest.mark.parametrize("name", ["../outside.txt", "a/../../outside.txt", "/weakshot_outside.txt", "link"])
def test_nothing_lands_outside(make, name, tmp_path):
    with contextlib.suppress(DataError):  # tar files lose leading slashes, and plain files of the name "link" are none
        unpacked(tmp_path, make({name: b"../../outside.txt"}))
        assert name in ("/weakshot_outside.txt", "link")
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "here"}
    assert not Path("/weakshot_outside.txt").exists()
    assert all(path.is_dir() or (path.is_file() and not path.is_symlink()) for path in tmp_path.rglob("*"))


def test_what_cannot_be_unpacked(tmp_path):
    damaged = bytearray(zipped({"a.txt": b"content" * 100}))
    damaged[40] ^= 1
    with pytest.raises(DataError, match="there is no archive"):
        unpack(tmp_path / "nowhere", tmp_path / "here")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a").write_text("a file, not a folder")
    for content, message in (
        (b"<html>Please log in</html>", "is no zip or tar archive: remove it"),
        (bytes(damaged), "cannot be unpacked"),
        (zipped({"a/b.txt": b"content"}), r"cannot unpack .*archive to .*here \(.*\): make room"),
    ):
        with pytest.raises(DataError, match=message):
            unpacked(tmp_path, content)


def test_the_command_from_a_server_to_images(site, tmp_path, capsys, monkeypatch):
    write_coco(tmp_path / "source", maps := random_maps(171, train=3, val=2))
    site.files["coco.zip"] = folder_as(zipped, tmp_path / "source")
    root, name = tmp_path / "root", "coco_stuff_10k"
    small = prepare_data.DATASETS[name]._replace(counts={"train": 3, "val": 2})
    monkeypatch.setitem(prepare_data.DATASETS, name, small)
    for source in (["--download", "--url", f"{site.address}/coco.zip"],) * 2 + ([],):  # fetched once, then unpacked
        prepare_data.main([name, "--root", str(root), *source])
        assert capsys.readouterr().out == f"ready: data={name} data.root={root}\n"
    assert len(site.asked) == 1
    assert len([path for path in (root / ".weakshot_seg").iterdir() if path.is_dir()]) == 4  # unpacked twice
    images = OfficialImages(small.dataset, root, "val", published_class_names(name))
    assert np.array_equal(images.load(1)[1], maps["val"][1])


def test_what_the_command_refuses(site, tmp_path, capsys):
    """Another archive than the official one, and too few images."""
    write_voc(tmp_path / "source", random_maps(21, train=2, val=2))
    site.files["voc.tar"] = folder_as(tarred, tmp_path / "source")
    (tmp_path / "mine.tar").write_bytes(site.files["voc.tar"])
    root = str(tmp_path / "root")
    for message, *given in (
        ("but 6cd6e144f989b92b3379bac3b3de84fd was expected", "--download", "--url", f"{site.address}/voc.tar"),
        ("holds 2 images of PASCAL VOC 2012 for train, but the official", "--archive", str(tmp_path / "mine.tar")),
    ):
        with pytest.raises(SystemExit, match=r"^2$"):
            prepare_data.main(["voc2012", "--root", root, *given])
        assert message in capsys.readouterr().err
