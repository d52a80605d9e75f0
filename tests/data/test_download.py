"""Fetching from a real HTTP server that breaks connections, unpacking, and the command that does both."""

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
from weakshot_seg.data.prepare import prepare
from weakshot_seg.data.readers.coco_stuff import COCO_STUFF_10K
from weakshot_seg.data.readers.voc import VOC2012
from weakshot_seg.errors import DataError

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA1 = f"sha1:{hashlib.sha1(CONTENT).hexdigest()}"
LIMIT = 100_000


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
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if site.breaks:
            site.breaks -= 1
            self.wfile.write(content[start : start + LIMIT])
            self.close_connection = True
        else:
            self.wfile.write(content[start:])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site({"data.bin": CONTENT})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    server.server_close()


def test_a_whole_file(site: Site, tmp_path: Path) -> None:
    download(f"{site.address}/data.bin", tmp_path / "new" / "data.bin", SHA1)
    assert (tmp_path / "new" / "data.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data.bin"]


def test_a_lost_connection_is_taken_up_where_it_broke(site: Site, tmp_path: Path) -> None:
    site.breaks = 2
    download(f"{site.address}/data.bin", tmp_path / "data.bin", SHA1, pause=0.01)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert site.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_the_next_call_goes_on(site: Site, tmp_path: Path) -> None:
    site.breaks = 1
    url, path = f"{site.address}/data.bin", tmp_path / "data.bin"
    with pytest.raises(DataError, match=r"100,000 of 300,000 bytes arrived\): run the same command again"):
        download(url, path, SHA1, retries=0)
    assert [file.name for file in tmp_path.iterdir()] == ["data.bin.part"]
    download(url, path, SHA1, retries=0)
    assert path.read_bytes() == CONTENT
    assert site.asked == [None, "bytes=100000-"]


def test_all_had_arrived_already(site: Site, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    download(f"{site.address}/data.bin", tmp_path / "data.bin", SHA1)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_more_had_arrived_than_there_is(site: Site, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT + b"of another file")
    download(f"{site.address}/data.bin", tmp_path / "data.bin", SHA1, pause=0.01)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_server_that_cannot_resume(site: Site, tmp_path: Path) -> None:
    site.breaks, site.ranges = 1, False
    download(f"{site.address}/data.bin", tmp_path / "data.bin", SHA1, pause=0.01)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_wrong_content_is_refused(site: Site, tmp_path: Path) -> None:
    site.files["data.bin"] = b"<html>Please log in</html>"
    with pytest.raises(DataError, match=rf"has the sha1 [0-9a-f]{{40}}, but {SHA1[5:]} was expected"):
        download(f"{site.address}/data.bin", tmp_path / "data.bin", SHA1)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_not_repeated(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="answers 404 Not Found: fetch it by hand"):
        download(f"{site.address}/other.bin", tmp_path / "other.bin")
    assert len(site.asked) == 1


def zipped(members: dict[str, bytes], link: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if link else 0o100644) << 16
            file.writestr(info, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes], link: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = 0 if link else len(content)
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, content.decode()
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def folder_as(make: Callable[[dict[str, bytes]], bytes], folder: Path) -> bytes:
    return make({p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()})


@pytest.mark.parametrize("make", [zipped, tarred])
def test_unpacking(make: Callable[..., bytes], tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(make({"a/b.txt": b"content", "c.txt": b""}))
    unpack(archive, tmp_path / "here")
    assert (tmp_path / "here/a/b.txt").read_bytes() == b"content"
    assert (tmp_path / "here/c.txt").read_bytes() == b""


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize(("name", "link"), [("../outside.txt", False), ("a/../../outside.txt", False), ("link", True)])
def test_nothing_lands_outside(make: Callable[..., bytes], name: str, link: bool, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(make({name: b"../outside.txt"}, link))
    with pytest.raises(DataError, match=r"archive (holds|cannot be unpacked)"):
        unpack(archive, tmp_path / "here")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["archive", "here"]


@pytest.mark.parametrize("kind", ["absolute", "hard link", "device", "pipe", "through a link"])
def test_what_a_tar_may_not_hold(kind: str, tmp_path: Path) -> None:
    outside, member = tmp_path / "outside.txt", tarfile.TarInfo("member")
    members = [member]
    if kind == "absolute":
        member.name = str(outside)
    elif kind == "through a link":
        member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path)
        members.append(tarfile.TarInfo("member/outside.txt"))
    else:
        member.type = {"hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE, "pipe": tarfile.FIFOTYPE}[kind]
        member.linkname = "../outside.txt"
    with tarfile.open(tmp_path / "archive", "w") as file:
        for entry in members:
            file.addfile(entry, io.BytesIO())
    if kind == "absolute":  # the leading slash is cut off
        unpack(tmp_path / "archive", tmp_path / "here")
    else:
        with pytest.raises(DataError, match="cannot be unpacked"):
            unpack(tmp_path / "archive", tmp_path / "here")
    assert not outside.exists()
    assert all(path.is_file() or path.is_dir() for path in (tmp_path / "here").rglob("*"))


def test_an_absolute_name_in_a_zip(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(zipped({str(tmp_path / "outside.txt"): b""}))
    with pytest.raises(DataError, match="would land outside"):
        unpack(tmp_path / "archive", tmp_path / "here")
    assert not (tmp_path / "outside.txt").exists()


def test_damaged_archives(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with pytest.raises(DataError, match="there is no archive"):
        unpack(archive, tmp_path / "here")
    archive.write_bytes(b"<html>Please log in</html>")
    with pytest.raises(DataError, match="is no zip or tar archive: remove it"):
        unpack(archive, tmp_path / "here")
    content = bytearray(zipped({"a.txt": b"content" * 100}))
    content[40] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "here")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(zipped({"a/b.txt": b"content"}))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"cannot unpack .*archive to .*here \(.*\): make room"):
        unpack(archive, tmp_path / "here")


def test_from_a_server_to_images(site: Site, tmp_path: Path) -> None:
    write_coco(tmp_path / "source", maps := random_maps(171, train=3, val=2))
    site.files["coco.zip"] = folder_as(zipped, tmp_path / "source")
    site.breaks = 1
    small = replace(COCO_STUFF_10K, archive=replace(COCO_STUFF_10K.archive, counts={"train": 3, "val": 2}))
    for _ in range(2):  # the archive is not fetched again
        parts = prepare(small, tmp_path / "root", url=f"{site.address}/coco.zip")
        assert {part: len(images) for part, images in parts.items()} == {"train": 3, "val": 2}
        assert np.array_equal(parts["val"].load(1)[1], maps["val"][1])
    assert len([wanted for wanted in site.asked if wanted is None]) == 1


def test_the_command(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it says of another archive than the official one, and of too few images."""
    write_voc(tmp_path / "source", random_maps(21, train=2, val=2))
    site.files["voc.tar"] = folder_as(tarred, tmp_path / "source")
    (tmp_path / "mine.tar").write_bytes(site.files["voc.tar"])
    for given, message in (
        (["--download", "--url", f"{site.address}/voc.tar"], "but 6cd6e144f989b92b3379bac3b3de84fd was expected"),
        (
            ["--archive", str(tmp_path / "mine.tar")],
            "holds 2 images of PASCAL VOC 2012 for train, but the official data",
        ),
    ):
        with pytest.raises(SystemExit) as caught:
            prepare_data.main(["voc2012", "--root", str(tmp_path / "root"), *given])
        assert caught.value.code == 2
        assert message in capsys.readouterr().err


def test_the_command_on_unpacked_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_voc(tmp_path, random_maps(21, train=2, val=2))
    small = replace(VOC2012, archive=replace(VOC2012.archive, counts={"train": 2, "val": 2}))
    monkeypatch.setitem(prepare_data.DATASETS, "voc2012", small)
    prepare_data.main(["voc2012", "--root", str(tmp_path)])
    assert capsys.readouterr().out == f"ready: data=voc2012 data.root={tmp_path}\n"
    assert len([path for path in (tmp_path / ".weakshot_seg").iterdir() if path.is_dir()]) == 2
