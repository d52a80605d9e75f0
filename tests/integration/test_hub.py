"""``Segmenter.save_pretrained``, ``push_to_hub`` and ``from_pretrained``: huggingface_hub's own methods, our files."""

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.hf_api import RepoUrl

import weakshot_seg
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.inference.sliding import SlidingWindow
from weakshot_seg.prediction.segmenter import Segmenter

PHOTO = SyntheticScenes("validation", 1, size=64).load(0)[0]


@pytest.fixture(scope="module")
def segmenter(eager: Path) -> Segmenter:
    return weakshot_seg.load(eager, "cpu")


def test_what_is_saved_predicts_the_same(segmenter: Segmenter, tmp_path: Path) -> None:
    card = {"title": "herons", "dataset": "lake photos", "license": "mit"}
    segmenter.save_pretrained(tmp_path / "model", model_card_kwargs=card)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"README.md", "config.json", "model.safetensors"}
    again = Segmenter.from_pretrained(tmp_path / "model", device="cpu")
    expected = segmenter.predict(PHOTO)
    assert len(expected.classes) > 1
    assert np.array_equal(again.predict(PHOTO).labels, expected.labels)
    assert np.array_equal(weakshot_seg.load(tmp_path / "model", "cpu").predict(PHOTO).labels, expected.labels)
    read = ModelCard.load(tmp_path / "model" / "README.md")
    assert (read.data.license, read.data.library_name) == ("mit", "weakshot_seg")
    assert "# herons" in read.text
    assert "| data | lake photos |" in read.text
    windows = SlidingWindow(window=32)
    other = Segmenter.from_pretrained(tmp_path / "model", device="cpu", inference=windows).predict(PHOTO)
    assert np.array_equal(other.labels, weakshot_seg.load(tmp_path / "model", "cpu", windows).predict(PHOTO).labels)


def test_push_to_hub_uploads_the_folder(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: dict[str, object] = {}

    def upload(api: HfApi, *, folder_path: Path, repo_id: str, **options: object) -> str:
        pushed.update({"repo_id": repo_id, "files": sorted(path.name for path in Path(folder_path).iterdir())})
        return "https://hub/commit"

    monkeypatch.setattr(HfApi, "create_repo", lambda api, repo_id, **_: RepoUrl(f"https://huggingface.co/{repo_id}"))
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert segmenter.push_to_hub("ann/herons") == "https://hub/commit"
    assert pushed == {"repo_id": "ann/herons", "files": ["README.md", "config.json", "model.safetensors"]}
