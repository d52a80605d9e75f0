"""What is read from source is what Python itself says of the imported code."""

import inspect
import subprocess
import sys
from pathlib import Path
from pydoc import locate
from typing import Any, get_type_hints

import pytest
from omegaconf import OmegaConf

from weakshot_seg.checkpoints.trusted_targets import named_targets
from weakshot_seg.config.compose import conf_dir
from weakshot_seg.config.signatures import signature
from weakshot_seg.config.types import described

TARGETS = sorted(
    {
        name
        for file in conf_dir().rglob("*/*.yaml")
        for name in named_targets(OmegaConf.to_container(OmegaConf.load(file)))
    }
)


def taken(called: Any) -> dict[str, tuple[str, Any]]:
    """Of imported code: each argument's annotation in words, and its default."""
    code = called.__init__ if inspect.isclass(called) else called
    hints = get_type_hints(code, include_extras=True)
    named = [
        p for p in inspect.signature(called).parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    return {p.name: (described(hints.get(p.name, Any)), None if p.default is p.empty else p.default) for p in named}


@pytest.mark.parametrize("name", [name for name in TARGETS if callable(locate(name))])
def test_shipped_targets(name: str) -> None:
    known = signature(name, trusted=True)
    of_class = name.endswith((".from_folders", ".from_official"))  # hands on what it does not name
    expected = taken(locate(name)) if not of_class else taken(locate(name.rpartition(".")[0])) | taken(locate(name))
    assert {key: (described(hint), default) for key, (hint, default) in known.arguments.items()} == expected
    assert known.takes_others == (
        name == "weakshot_seg.models.backbone.TimmBackbone" or name.endswith(("WandbLogger", "TensorBoardLogger"))
    )


def test_nothing_is_imported() -> None:
    code = f"""
import sys
from weakshot_seg.config.signatures import signature
assert all(signature(name, trusted=True) for name in {TARGETS})
assert not {{"torch", "numpy", "pytorch_lightning"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


OWN_CODE = """
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path as Place
from typing import Generic, Literal, TypeVar
import own_base
from own_names import *

T = TypeVar("T")
Kind = Literal["a", "b"]

class Plain(own_base.Base, Generic[T]):
    pass

class Other:
    def __init__(self, kind: Kind, place: "Place | None" = None, *, count: Positive = -3, more: undefined = f()): ...
    @classmethod
    def made(cls, size: int, **others): ...

def changed(function):
    return partial(function, size=3)

@changed
def decorated(size): ...

@dataclass
class Data:
    size: int

class Counted(dict):
    pass

made = partial(decorated)
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_code.py").write_text(OWN_CODE)
    (tmp_path / "own_names.py").write_text("from own_code import *\nfrom own_numbers import Positive\n")  # a circle
    (tmp_path / "own_numbers.py").write_text("try:\n    Positive = int\nexcept Exception:\n    Positive = None\n")
    (tmp_path / "own_base").mkdir()
    (tmp_path / "own_base" / "__init__.py").write_text("from .deep import Base\n")
    (tmp_path / "own_base" / "deep.py").write_text(
        "class Base:\n    def __init__(self, a, /, b: float, *c, **d): ...\n"
    )
    (tmp_path / "own_broken.py").write_text("def (:")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("own_code")
def test_code_of_the_user() -> None:
    def known(name: str) -> dict[str, tuple[str, Any]]:
        arguments = signature(f"own_code.{name}", trusted=False).arguments
        return {key: (described(hint), default) for key, (hint, default) in arguments.items()}

    assert known("Plain") == {"b": ("a number", None)}
    other = {"kind": ("one of a, b", None), "place": ("text or null", None), "count": ("a whole number", -3)}
    assert known("Other") == other | {"more": ("", None)}
    assert known("Other.made") == other | {"more": ("", None), "size": ("a whole number", None)}
    assert not signature("own_code.Other", trusted=False).takes_others
    assert signature("own_code.Plain", trusted=False).takes_others


@pytest.mark.usefixtures("own_code")
@pytest.mark.parametrize(
    "name",
    [
        *("own_code.decorated", "own_code.Data", "own_code.Counted", "own_code.made", "own_code", "own_code.nothing"),
        *(
            "nothing.x",
            "own_broken.f",
            "collections.OrderedDict",
            "builtins.dict",
            "__main__.f",
            "torch.device",
            "",
            "..",
        ),
    ],
)
def test_what_source_does_not_tell_is_left_open(name: str) -> None:
    known = signature(name, trusted=False)
    assert known.takes_others
    assert not known.arguments
