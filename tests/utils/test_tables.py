"""Plain tables in a terminal's width, and cells of CSV files that spreadsheets take for text."""

import pytest

from weakshot_seg.utils.tables import aligned, csv_text


def test_columns_are_aligned_and_brackets_are_text() -> None:
    rows = [("", "IoU"), ("[red]sky", "7.0"), ("crème", "10.0")]
    assert aligned(rows, "<>").splitlines() == ["           IoU", "[red]sky   7.0", "crème     10.0"]


def test_long_texts_go_on_in_the_next_line_and_numbers_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    numbers = [f"{n}.0 ± 1.0" for n in range(10, 15)]
    lines = aligned([("ablation/" * 9 + "end", *numbers), ("many words " * 9, *numbers)], "<" + ">" * 5).splitlines()
    assert max(map(len, lines)) <= 100
    assert [number in lines[0] for number in numbers] == [True] * 5
    assert [sum(line.count(word) for line in lines) for word in ("ablation/", "end", "many", "words")] == [9, 1, 9, 9]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x", "@SUM(A1)", "\t=1", "a=1", ""])
def test_no_text_is_a_formula(text: str) -> None:
    assert csv_text(text) == (text if text in ("a=1", "") else f"'{text}")
