"""``weakshot predict`` of videos: every frame as if it were a photo, and a video of the overlays."""

import json
import sys
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import predicting
import weakshot_seg
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.prediction import records
from weakshot_seg.prediction.video_files import read_frames

FRAMES, RATE = 7, 10
Predict = Callable[..., None]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A scene that wanders, of odd height in the overlay; lossless, so that tests know every pixel."""
    scene, _ = SyntheticScenes("validation", 1, size=96).load(0)
    path = tmp_path / "in" / "clip.mkv"
    path.parent.mkdir()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 70, 40, "bgr0"
        for step in range(FRAMES):
            picture = np.ascontiguousarray(scene[step : 40 + step, 2 * step : 70 + 2 * step])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def predict(eager: Path, video: Path, out: Path) -> Predict:
    return partial(predicting.predict, f"ckpt={eager}", f"source={video.parent}", f"out={out}")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def record(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "classes" / "clip.json").read_text())["frames"]


def pictures(path: Path) -> tuple[list[np.ndarray], list[float], Fraction]:
    """Frames, times and rate of a video, without the code that is tested."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        rate = container.streams.video[0].average_rate
    return [frame.to_ndarray(format="rgb24") for frame in frames], [float(frame.time) for frame in frames], rate


def test_every_frame_is_predicted_as_a_photo_is(eager: Path, predict: Predict, video: Path, out: Path) -> None:
    Image.new("RGB", (40, 30), "green").save(video.parent / "photo.png")
    predict("video_labels=true")
    assert names(out / "labels") == ["clip", "photo.png"]
    assert names(out / "overlays") == ["clip.mp4", "photo.jpg"]
    assert names(out / "classes") == ["clip.json", "photo.json"]
    segmenter, (frames, times, _) = weakshot_seg.load(eager, "cpu"), pictures(video)
    for number, (entry, pixels) in enumerate(zip(record(out), frames, strict=True)):
        result = segmenter.predict(pixels)
        with Image.open(out / "labels" / "clip" / f"{number:06d}.png") as picture:
            assert np.mean(np.array(picture) == result.labels) > 0.999
        assert (entry["frame"], entry["seconds"]) == (number, pytest.approx(number / RATE, abs=1e-3))
        assert {area["name"] for area in entry["classes"]} == {area.name for area in result.classes}

    drawn, drawn_times, rate = pictures(out / "overlays" / "clip.mp4")
    assert drawn_times == pytest.approx(times, abs=1e-3)
    assert rate == RATE
    listed = {area["class_id"] for entry in record(out) for area in entry["classes"] if area["share"] >= 0.01}
    expected = segmenter.predict(frames[3]).overlay(listed=listed)
    height, width = drawn[3].shape[:2]
    assert (width, height) == (expected.width + expected.width % 2, expected.height + expected.height % 2)
    difference = np.abs(drawn[3][: expected.height, : expected.width].astype(int) - np.asarray(expected))
    assert difference.mean() < 12  # compression
    assert len({frame.tobytes() for frame in drawn}) == FRAMES


def test_some_frames_and_no_label_maps(predict: Predict, out: Path) -> None:
    predict("video_every=3", "scores=[water]")
    assert [entry["frame"] for entry in record(out)] == [0, 3, 6]
    assert pictures(out / "overlays" / "clip.mp4")[1] == pytest.approx([0, 0.3, 0.6], abs=1e-3)
    assert names(out / "labels") == []
    assert names(out / "scores" / "clip") == [f"00000{n}.npz" for n in (0, 3, 6)]
    before = (out / "overlays" / "clip.mp4").stat().st_mtime_ns
    predict("video_every=3", "scores=[water]")
    assert (out / "overlays" / "clip.mp4").stat().st_mtime_ns == before
    predict("video_every=2", "video_labels=true")
    assert names(out / "labels" / "clip") == [f"00000{n}.png" for n in (0, 2, 4, 6)]


def test_an_interrupted_video_goes_on(predict: Predict, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, noted = records.write_json, []

    def interrupted(path: Path, content: dict[str, object]) -> None:
        noted.append(path.stem)
        if noted.count("000004") == 1 and path.stem == "000004":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(records, "write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict("threads=1")
    kept, done = names(out / "classes" / "clip"), len(noted)
    assert {"000000.json", "000003.json"} <= set(kept)
    assert names(out / "classes") == ["clip"]
    predict("threads=1")
    assert not {f"{name}.json" for name in noted[done:]} & set(kept)
    assert [entry["frame"] for entry in record(out)] == list(range(FRAMES))


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), -1), ((0, -1, 1, 0), 1), ((-1, 0, 0, -1), 2)])
def test_videos_are_turned_upright(matrix: tuple[int, ...], turns: int, tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40  # the track header (ISO 14496-12), version 0: a, b, u, c, d, v, x, y, w
    for place, value in zip((0, 1, 3, 4), matrix, strict=True):
        content[start + 4 * place : start + 4 * place + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    ((_, _, pixels),) = read_frames(path)
    assert pixels.shape == np.rot90(picture, turns).shape
    assert np.abs(pixels.astype(int) - np.rot90(picture, turns)).mean() < 5


@pytest.mark.parametrize("with_pyav", [True, False])
def test_broken_videos_are_named_and_the_others_done(
    with_pyav: bool, predict: Predict, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = out.with_name("in")
    Image.new("RGB", (40, 30), "green").save(source / "photo.png")
    (source / "broken.mp4").write_bytes((source / "clip.mkv").read_bytes()[:300])
    (source / "text.avi").write_text("no video")
    if not with_pyav:
        monkeypatch.setitem(sys.modules, "av", None)
        monkeypatch.delitem(sys.modules, "weakshot_seg.prediction.video_files")
    with pytest.raises(SystemExit, match="1"):
        predict("video_every=4")
    failed = ["broken.mp4", "text.avi"] if with_pyav else ["broken.mp4", "clip.mkv", "text.avi"]
    title, *lines = capsys.readouterr().err.splitlines()[-1 - len(failed) :]
    assert title == f"{len(failed)} could not be:"
    for name, line in zip(failed, lines, strict=True):
        assert f"/{name} (" in line
        assert ("pip install -e '.[video]'" in line) != with_pyav
    assert names(out / "overlays") == ["clip.mp4", "photo.jpg"][1 - with_pyav :]


def test_no_frames_of_another_inference_remain(predict: Predict, video: Path, out: Path) -> None:
    predict("video_labels=true")
    video.write_bytes(b"broken")
    with pytest.raises(SystemExit):
        predict("inference=sliding", "overwrite=true")
    assert [path.name for path in out.rglob("*") if path.is_file()] == ["predictions.json"]
