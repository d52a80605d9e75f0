"""What the page of a report shows: tables, charts and pictures of runs."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from weakshot_seg.reporting import figures
from weakshot_seg.reporting.figures import Bar, Picture
from weakshot_seg.reporting.pages import render
from weakshot_seg.reporting.run_pictures import Block, bar_charts, confusion_width, confusions, curve_sections, panels
from weakshot_seg.reporting.runs import Run
from weakshot_seg.reporting.summary import Group, Score, Spread, Summary
from weakshot_seg.reporting.tables import ReportTables

Pair = tuple[float | None, float | None]
"""IoU of a run and of its reference."""


def report_page(summary: Summary, runs: Sequence[Run], tables: ReportTables, pictures: int) -> str:
    """The page; ``pictures``: best, median and worst images to show of each run."""
    groups = [group for group in summary.groups if group.scores]
    colours = [figures.COLOURS[index % len(figures.COLOURS)] for index in range(len(groups))]
    method = ([group for group in groups if not group.full] or groups)[-1:]  # the last before the upper bound
    damaged_logs: list[str] = []

    def blocks(draw: Callable[[Group, list[str]], list[Picture]]) -> list[Block]:
        remarks: list[list[str]] = [[] for _ in groups]
        made = [Block(g.title, draw(g, noted), g in method, noted) for g, noted in zip(groups, remarks, strict=True)]
        return [block for block in made if block.pictures or block.remarks]

    return render(
        "report.html",
        finished=sum(run.result is not None for run in runs),
        total=len(runs),
        has_full=any(group.full for group in groups),
        tables=tables,
        kinds=[("base", figures.BASE), ("novel", figures.NOVEL), ("fully supervised", figures.INK)],
        means=_means(groups) if groups else None,
        classes=blocks(_class_charts),
        confusions=blocks(lambda group, remarks: confusions(group.runs, remarks)),
        confusion_width=confusion_width(run for group in groups for run in group.runs),
        colours=[(group.title, colour) for group, colour in zip(groups, colours, strict=True)],
        curves=curve_sections([group.runs for group in groups], colours, damaged_logs),
        damaged_logs=damaged_logs,
        panels=blocks(lambda group, remarks: panels(group.runs, pictures, remarks)),
    )


def class_bars(scores: Sequence[Score]) -> Iterator[Bar]:
    """Mean IoU of every class over the runs in which it is base, and over those in which it is novel."""
    pairs: dict[tuple[str, bool], list[Pair]] = defaultdict(list)
    for score in scores:
        full = score.reference if score.reference is not score.run else None
        most = {c.name: c.iou for c in full.measured.classes} if full else {}
        for c in score.run.measured.classes:
            pairs[c.name, c.name in score.novel_classes].append((c.iou, most.get(c.name)))
    order = list(dict.fromkeys(name for name, _ in pairs))
    for name, novel in sorted(pairs, key=lambda place: (order.index(place[0]), place[1])):
        values, marks = zip(*pairs[name, novel], strict=True)
        yield _bar(name, novel, values, Spread.of(marks).mean)


def _bar(label: str, novel: bool, values: Iterable[float | None], mark: float | None = None) -> Bar:
    spread = Spread.of(values)
    text = "no ground truth" if spread.mean is None else str(spread)
    return Bar(label, spread.mean, novel, text, spread.deviation, mark)


def _means(groups: Sequence[Group]) -> Picture:
    kinds = [(group, novel) for group in groups for novel in (False, True)]
    bars = [_bar("" if novel else g.title, novel, [s.values[novel] for s in g.scores]) for g, novel in kinds]
    return figures.bar_chart("Base and novel IoU", bars, width=15.8)


def _class_charts(group: Group, _: list[str]) -> list[Picture]:
    return bar_charts(f"IoU by class: {group.title}", list(class_bars(group.scores)))
