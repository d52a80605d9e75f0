"""Hydra's own parser reads what was typed."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import assume, given
from hypothesis import strategies as st

from weakshot_seg.cli.entry_point import quote_settings


def read(argument: str) -> object:
    return OverridesParser.create().parse_override(argument).value()


@given(st.text(st.characters(exclude_characters="[]{}$\0", exclude_categories=["C"]), min_size=1))
def test_any_text_that_hydra_cannot_read_arrives_as_typed(text: str) -> None:
    typed = f"data.root={text}"
    try:
        read(typed)
    except HydraException:
        assume(text.strip() == text and text[0] not in "'\"")
        assert read(*quote_settings([typed])) == text
    else:
        assert quote_settings([typed]) == [typed]


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("data.root=/data/Größe (1)", "/data/Größe (1)"),
        ("source=[lake/ä.jpg,sea/0017.jpg,3]", ["lake/ä.jpg", "sea/0017.jpg", 3]),
        ("+out=a=b", "a=b"),
        ("source=Bob's photos, 2", "Bob's photos, 2"),
        ("source=photos\\ü\\", "photos\\ü\\"),
    ],
)
def test_paths(typed: str, value: object) -> None:
    assert read(*quote_settings([typed])) == value


def test_a_sweep_stays_a_sweep() -> None:
    quoted = quote_settings(["-m", "data.root=/Größe/a,/b", "split=1,2"])
    sweep = OverridesParser.create().parse_override(quoted[1])
    assert sweep.is_sweep_override()
    assert list(sweep.sweep_string_iterator()) == ["'/Größe/a'", "/b"]
    assert quoted[2] == "split=1,2"


@pytest.mark.parametrize(
    "typed", ["--help", "split=1", "data.root='ü'", "a=${oc.env:Ü}", "~loss.terms.similarity", "a=[ü"]
)
def test_everything_else_is_left_to_hydra(typed: str) -> None:
    assert quote_settings([typed]) == [typed]
