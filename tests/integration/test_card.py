"""``weakshot card``: the folder predicts the same and holds no secrets, and its card is true."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import weakshot_seg
from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.checkpoints.model_folder import public_recipe
from weakshot_seg.checkpoints.reading import read_model
from weakshot_seg.cli import card, evaluate, predict
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.errors import ConfigError
from weakshot_seg.reporting.model_card import model_card
from weakshot_seg.reporting.results import Result

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Command = Callable[..., None]
Refusal = Callable[..., str]


@pytest.fixture(scope="module")
def folder(trained: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of the finished run."""
    out = tmp_path_factory.mktemp("card") / "shapes"
    ckpt = f"ckpt={trained}/checkpoints/last.ckpt"
    command(card.main, ckpt, f"out={out}", "dataset=generated scenes", "license=mit", folder=out.parent)
    return out


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub on this machine that has one model, user/shapes; gives what was asked of it."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            repository, _, rest = self.path.lstrip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            body, header, value = b"", "X-Error-Code", "EntryNotFound"
            if repository != "user/shapes":
                value = "RepoNotFound"
            elif revision not in ("main", "v1", COMMIT):
                value = "RevisionNotFound"
            elif (folder / name).is_file():
                body = (folder / name).read_bytes()
                header, value = "ETag", f'"{sha256(body).hexdigest()}"'
            self.send_response(200 if body else 404)
            for key, text in ((header, value), ("X-Repo-Commit", COMMIT), ("Content-Length", str(len(body)))):
                self.send_header(key, text)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def label_maps(source: str | Path) -> np.ndarray:
    segmenter = weakshot_seg.load(source, device="cpu")
    scenes = SyntheticScenes("validation", 3, size=64)
    return np.stack([segmenter.predict(scenes.load(index)[0]).labels for index in range(3)])


def test_folder_and_checkpoint_predict_the_same(eager: Path, command: Command, tmp_path: Path) -> None:
    command(card.main, f"ckpt={eager}", f"out={tmp_path}/model", folder=tmp_path)
    expected = label_maps(eager)
    assert len(np.unique(expected)) > 2  # else nothing is compared
    assert np.array_equal(expected, label_maps(tmp_path / "model"))


def test_the_folder_holds_the_network_alone(folder: Path, trained: Path) -> None:
    state = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = set(file.keys())
        assert all(torch.equal(file.get_tensor(name), state[name]) for name in names)
    assert names == {name for name in state if name.startswith("model.")}
    assert any("simnet" in name for name in state.keys() - names)
    assert (folder / "model.safetensors").stat().st_mode & 0o044  # others may read it


def test_the_folder_holds_no_paths_and_no_accounts(trained: Path, command: Command, tmp_path: Path) -> None:
    ckpt = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    recipe = ckpt["weakshot_seg"]["recipe"]
    assert str(trained) in json.dumps(recipe)
    recipe["data"]["split_file"] = "/home/ann/patients"
    recipe["logger"] = {"wandb": {"entity": "anns-clinic", "api_key": "s3cret"}}
    recipe["weights"] = "/home/ann/first.ckpt"
    recipe["model"]["backbone"]["checkpoint"] = r"C:\Users\ann\lite0.safetensors"
    torch.save(ckpt, tmp_path / "secret.ckpt")
    command(card.main, f"ckpt={tmp_path}/secret.ckpt", f"out={tmp_path}/model", folder=tmp_path)
    config = (tmp_path / "model" / "config.json").read_text()
    for secret in (str(trained), str(tmp_path), "/ann", "anns-clinic", "Users", "patients", "s3cret"):
        assert secret not in config + (tmp_path / "model" / "README.md").read_text()
    assert "first.ckpt" in config
    assert "lite0.safetensors" in config
    load_module(tmp_path / "model")  # does not look for that file


def test_public_recipe_cuts_paths_and_nothing_else() -> None:
    recipe = {"model": {"_target_": "a.b.C", "x": [1, "~/w.pt", "/a/b.pt"], "y": "1/2"}, "data": {"root": "/r"}}
    assert public_recipe(recipe) == {"model": {"_target_": "a.b.C", "x": [1, "w.pt", "b.pt"], "y": "1/2"}, "data": {}}


def test_the_hub_reads_the_card(folder: Path, trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    read = ModelCard.load(folder / "README.md")
    assert (read.data.license, read.data.library_name) == ("mit", "weakshot_seg")
    assert read.data.pipeline_tag == "image-segmentation"
    values = {result.metric_name: result.metric_value for result in read.data.eval_results}
    for name, key in {"novel IoU": "novel_iou", "base IoU": "base_iou", "pixel accuracy": "pixel_accuracy"}.items():
        assert values.get(name) == (None if metrics[key] is None else round(metrics[key], 2))
    rows = [line for line in read.text.splitlines() if line.startswith("| ")]
    for entry in metrics["classes"]:
        kind = "novel ★" if entry["novel"] else "base"
        iou = "-" if entry["iou"] is None else f"{entry['iou']:.1f}"
        assert any(row.startswith(f"| {entry['id']} | {entry['name']} | {kind} | {iou} |") for row in rows)
    assert "| data | generated scenes |" in rows
    assert "no mask of theirs" in read.text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"supervision": "full"}, "masks of all classes"),
        ({"supervision": "base_only"}, "nothing about the novel ones"),
        ({"stage": "retrain"}, "second stage"),
        ({"data": {"label_scope": "crop"}}, "labels of each crop"),
    ],
)
def test_the_card_names_the_supervision_and_the_hub_reads_any_title(
    change: dict[str, Any], expected: str, folder: Path, trained: Path
) -> None:
    saved = read_model(folder)
    saved = replace(saved, recipe=saved.recipe.model_copy(update=change))
    title = '"a": {b} 🐼 <c> | *d*'
    facts = {"title": title, "dataset": title, "license": "cc-by-4.0", "parameters": 1, "versions": []}
    text = model_card(saved, None, **facts)
    assert expected in text
    assert "Not measured with these weights" in text
    text = model_card(saved, Result.read(trained / "metrics.json"), **facts)
    read = ModelCard(text).data
    assert (read.model_name, read.eval_results[0].dataset_name, read.license) == (title, title, "cc-by-4.0")
    assert r"""# "a": \{b\} 🐼 \<c\> \| \*d\*""" in text


def test_the_hub_gives_the_same_model(hub: list[str], folder: Path) -> None:
    expected = label_maps(folder)
    for name in ("user/shapes", "user/shapes@v1"):
        assert np.array_equal(expected, label_maps(name))
    files = [line.rsplit("/", 1)[1] for line in hub if line.startswith("GET /user/shapes/resolve/")]
    assert files == ["config.json", "model.safetensors"]  # the second time from the cache


@pytest.mark.parametrize(
    ("name", "offline", "expected"),
    [
        ("user/none", False, "no such model at the hub"),
        ("user/shapes@v9", False, "no such revision"),
        ("user/shapes", True, "no such file or folder, and the hub cannot be reached"),
    ],
)
def test_what_the_hub_does_not_give(
    name: str, offline: bool, expected: str, hub: list[str], refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    assert expected in refusal(predict.main, f"ckpt={name}", f"source={__file__}")
    assert bool(hub) != offline


def test_a_model_of_another_library_at_the_hub(hub: list[str], folder: Path, tmp_path: Path) -> None:
    weights = folder / "model.safetensors"
    weights.rename(tmp_path / "away")
    try:
        with pytest.raises(ConfigError, match=r"none of ours"):
            read_model("user/shapes")
    finally:
        (tmp_path / "away").rename(weights)


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("config.json", None, "No such file"),
        ("config.json", "{", "download it again, or write it"),
        ("config.json", "[" * 100_000, "cannot read"),
        ("config.json", '{"model_type": "maskformer"}', "was not written by weakshot card"),
        ("model.safetensors", "cut", "download it again, or write it"),
        ("model.safetensors", "less", "does not fit this model"),
    ],
)
def test_broken_folders(
    file: str, content: str | None, expected: str, folder: Path, refusal: Refusal, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(folder, tmp_path / "model")) / file
    if content is None:
        path.unlink()
    elif content == "less":
        tensors = load_file(path)
        tensors.pop("model.head.classify.bias")
        save_file(tensors, path)
    else:
        path.write_bytes(path.read_bytes()[:1000] if content == "cut" else content.encode())
    line = refusal(predict.main, f"ckpt={tmp_path}/model", f"source={__file__}")
    assert expected in line
    assert f"{tmp_path}/model" in line


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["novel"], [200], "novel class ids must be distinct and in 0..15, got [200]"),
        (["novel"], [0.5], "novel one of their ids"),
        (["class_names"], [1, 2], "class_names must be a list of names"),
        (["step"], "abc", "step is 'abc', which is no whole number"),
        (["format"], 99, "install a newer version"),
        (["recipe"], None, "recipe: Input should be a valid dictionary"),
        (["recipe", "data", "val_transform"], {"a": 1}, "data.val_transform is no transform"),
        (["recipe", "data", "val_transform", "short_edge"], "wide", "(data.val_transform.short_edge='wide' must be"),
        (["recipe", "model", "num_heads"], "many", "has a recipe that cannot be used"),
        (["recipe", "optim"], {"_target_": "os.system"}, "is refused: optim of its recipe would call"),
    ],
)
def test_spoilt_settings_of_a_folder(
    path: list[str], value: object, expected: str, folder: Path, refusal: Refusal, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(folder, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    node = config
    for key in path[:-1]:
        node = node[key]
    assert path[-1] in node
    node[path[-1]] = value
    (model / "config.json").write_text(json.dumps(config))
    line = refusal(predict.main, f"ckpt={model}", f"source={__file__}")
    assert expected in line
    assert str(model) in line


def test_metrics_of_another_model_are_refused(trained: Path, refusal: Refusal, tmp_path: Path) -> None:
    content = json.loads((trained / "metrics.json").read_text())
    other = tmp_path / "metrics.json"
    for change, expected in (
        ({"step": 99}, "after 99 steps"),
        ({"classes": content["classes"][1:]}, "other classes or another split"),
        ({"miou": ...}, "is no metrics.json"),
    ):
        other.write_text(json.dumps({key: value for key, value in {**content, **change}.items() if value is not ...}))
        ckpt = f"ckpt={trained}/checkpoints/last.ckpt"
        assert expected in refusal(card.main, ckpt, f"out={tmp_path}/model", f"metrics={other}")
    assert not (tmp_path / "model").exists()


def test_a_folder_does_not_know_its_data(folder: Path, refusal: Refusal, tmp_path: Path) -> None:
    line = refusal(evaluate.main, f"ckpt={folder}", f"hydra.run.dir={tmp_path}/out")
    assert "name them with data=" in line


def test_a_training_starts_from_a_folder(folder: Path, train: Callable[..., Path], tmp_path: Path) -> None:
    run = train(tmp_path / "run", f"weights={folder}", "optim.lr=0.0")
    before, after = read_model(folder).state, read_model(run / "checkpoints" / "last.ckpt").state
    learned = [name for name in before if name.endswith("weight")]
    assert learned
    assert all(torch.equal(before[name], after[name]) for name in learned)
