"""The wheel holds all it needs and works from any folder, and so does a working copy by path alone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[2]


def run(*command: str, cwd: Path, path: Path | None = None) -> str:
    """Runs a command with ``path`` as the only entry of PYTHONPATH and returns what it printed."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT), cwd=folder)
    (path,) = folder.glob("weakshot_seg-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel), cwd=target)
    return target


def test_wheel_holds_configuration_and_package_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "src" / "weakshot_seg"
    data = [path for path in package.rglob("*") if path.is_file() and path.suffix not in {".pyc", ""}]
    expected = {path.relative_to(ROOT / "src").as_posix() for path in data}
    expected |= {
        f"weakshot_seg/conf/{p.relative_to(ROOT / 'conf').as_posix()}" for p in (ROOT / "conf").rglob("*.yaml")
    }
    assert {"weakshot_seg/py.typed", "weakshot_seg/conf/train.yaml"} <= expected
    assert not expected - names
    assert not [name for name in names if name.split("/")[0] not in {"weakshot_seg"} and ".dist-info/" not in name]


def test_wheel_trains_from_another_folder(installed: Path, tmp_path: Path) -> None:
    where = run(sys.executable, "-c", "import weakshot_seg; print(weakshot_seg.__file__)", cwd=tmp_path, path=installed)
    assert Path(where.strip()).is_relative_to(installed)
    printed = run(sys.executable, "-m", "weakshot_seg.train", "--cfg", "job", cwd=tmp_path, path=installed)
    assert OmegaConf.create(printed).split == 1


def test_working_copy_trains_from_another_folder(tmp_path: Path) -> None:
    printed = run(sys.executable, "-m", "weakshot_seg.train", "--cfg", "job", cwd=tmp_path, path=ROOT / "src")
    assert OmegaConf.create(printed).split == 1
