"""Fetching from a real HTTP server that breaks connections, unpacking, and the command that does both."""

import contextlib
import hashlib
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import prepare_data
from official_layouts import random_maps, write_coco, write_voc
from weakshot_seg.data.download import download, unpack
from weakshot_seg.data.readers.coco_stuff import COCO_STUFF_10K
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
    asked: list[str | None] = field(default_factory=list)  # the Range of each request


class Handler(BaseHTTPRequestHandler):
    def __init__(self, site: Site, *arguments: object) -> None:
        self.site = site
        super().__init__(*arguments)

    def do_GET(self) -> None:
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

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
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
def test_a_file_arrives_whole(
    breaks: int, ranges: bool, arrived: bytes | None, asked: list[str | None], site: Site, tmp_path: Path
) -> None:
    site.breaks, site.ranges, folder = breaks, ranges, tmp_path / "new"
    if arrived is not None:
        folder.mkdir()
        (folder / "data.bin.part").write_bytes(arrived)
    download(f"{site.address}/data.bin", folder / "data.bin", SHA1, pause=0.01)
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["data.bin"]
    assert site.asked == asked


def test_what_has_arrived_is_kept(site: Site, tmp_path: Path) -> None:
    site.breaks = 1
    with pytest.raises(DataError, match=r"100,000 of 300,000 bytes arrived\): run the same command again"):
        download(f"{site.address}/data.bin", tmp_path / "data.bin", SHA1, retries=0)
    assert [file.name for file in tmp_path.iterdir()] == ["data.bin.part"]
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:LIMIT]


def test_wrong_content_is_refused(site: Site, tmp_path: Path) -> None:
    site.files["data.bin"] = b"<html>Please log in</html>"
    with pytest.raises(DataError, match=rf"has the sha1 [0-9a-f]{{40}}, but {SHA1[5:]} was expected"):
        download(f"{site.address}/data.bin", tmp_path / "data.bin", SHA1)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_not_repeated(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(HTTP Error 404: .*\): fetch it by hand"):
        download(f"{site.address}/other.bin", tmp_path / "other.bin")
    assert len(site.asked) == 1


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
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


def folder_as(make: Callable[[dict[str, bytes]], bytes], folder: Path) -> bytes:
    return make({p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()})


@pytest.fixture
def try_to_unpack(tmp_path: Path) -> Callable[[bytes], Path]:
    """Unpacks an archive of this content; returns the folder."""

    def unpacked(content: bytes) -> Path:
        (tmp_path / "archive").write_bytes(content)
        unpack(tmp_path / "archive", tmp_path / "here")
        return tmp_path / "here"

    return unpacked


Unpack = Callable[[bytes], Path]


@pytest.mark.parametrize("make", [zipped, tarred])
def test_unpacking(make: Callable[..., bytes], try_to_unpack: Unpack) -> None:
    folder = try_to_unpack(make({"a/b.txt": b"content", "c.txt": b""}))
    assert (folder / "a/b.txt").read_bytes() == b"content"
    assert (folder / "c.txt").read_bytes() == b""


@pytest.mark.parametrize("make", [zipped, tarred, *(partial(tarred, kind=kind) for kind in LINKS_AND_DEVICES)])
@pytest.mark.parametrize("name", ["../outside.txt", "a/../../outside.txt", "/weakshot_outside.txt", "link"])
def test_nothing_lands_outside(make: Callable[..., bytes], name: str, try_to_unpack: Unpack, tmp_path: Path) -> None:
    with contextlib.suppress(DataError):  # tar files lose leading slashes, and plain files of the name "link" are none
        try_to_unpack(make({name: b"../../outside.txt"}))
        assert name in ("/weakshot_outside.txt", "link")
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "here"}
    assert not Path("/weakshot_outside.txt").exists()
    assert all(path.is_dir() or (path.is_file() and not path.is_symlink()) for path in tmp_path.rglob("*"))


def test_damaged_archives(try_to_unpack: Unpack, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no archive"):
        unpack(tmp_path / "nowhere", tmp_path / "here")
    with pytest.raises(DataError, match="is no zip or tar archive: remove it"):
        try_to_unpack(b"<html>Please log in</html>")
    content = bytearray(zipped({"a.txt": b"content" * 100}))
    content[40] ^= 1
    with pytest.raises(DataError, match="cannot be unpacked"):
        try_to_unpack(bytes(content))


def test_a_folder_that_cannot_be_written(try_to_unpack: Unpack, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"cannot unpack .*archive to .*here \(.*\): make room"):
        try_to_unpack(zipped({"a/b.txt": b"content"}))


def test_the_command_from_a_server_to_images(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coco(tmp_path / "source", maps := random_maps(171, train=3, val=2))
    site.files["coco.zip"] = folder_as(zipped, tmp_path / "source")
    root, name = tmp_path / "root", "coco_stuff_10k"
    small = replace(COCO_STUFF_10K, counts={"train": 3, "val": 2})
    monkeypatch.setitem(prepare_data.DATASETS, name, small)
    for source in (["--download", "--url", f"{site.address}/coco.zip"],) * 2 + ([],):  # fetched once, then unpacked
        prepare_data.main([name, "--root", str(root), *source])
        assert capsys.readouterr().out == f"ready: data={name} data.root={root}\n"
    assert len(site.asked) == 1
    assert len([path for path in (root / ".weakshot_seg").iterdir() if path.is_dir()]) == 4  # unpacked twice
    images = OfficialImages(small, root, "val", published_class_names(name))
    assert np.array_equal(images.load(1)[1], maps["val"][1])


def test_what_the_command_refuses(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
