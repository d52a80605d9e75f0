"""Time and memory of a training step, against the MaskFormer of transformers (extra ``dev``), in one process.

    python scripts/benchmark_step.py                                  # the issue's setting: 320 x 320, batch 4
    python scripts/benchmark_step.py --size 640 --batch 2             # memory
    python scripts/benchmark_step.py --floor default folder paper     # against the products within a step
    python scripts/benchmark_step.py --device cuda --precision bf16 --batch 8 --size 640 --compile

Same ResNet-50 with frozen BatchNorm, 100 queries, 6 decoder layers, images and AdamW for all. "Plain" is
classification + mask loss, "full" all four terms, "all" these with class queries, absence, presence and the online
teacher, half of the images having tags alone. Contestants take turns (A B C A B C ...), ratios are medians over the
rounds with quartiles. Phases are timed in rounds of their own, because every phase then waits for the device.

--floor takes trainings as their settings make them: the default, experiment=folder preset=laptop, and experiment=coco
with --size and --batch; see benchmarks/floor.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.contestants import Contestant, HuggingFace, Ours
from benchmarks.floor import markdown as floor_table
from benchmarks.floor import measure_floor
from benchmarks.pair_network import ConcatenatedSimNet, SimilarityRun
from benchmarks.recipes import recipe, settings_of
from benchmarks.timing import Spread, alternate, host_waits, peak_bytes, ratio
from benchmarks.workload import Workload, make_workload
from weakshot_seg.losses.assignments import ClassQueries, HungarianMatcher
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.losses.presence import PresenceLoss
from weakshot_seg.losses.pseudo_masks import PseudoMaskLoss
from weakshot_seg.losses.similarity import PixelSimilarityLoss
from weakshot_seg.losses.terms import AbsenceLoss, ClassificationLoss, ComplementLoss, MaskLoss
from weakshot_seg.models.backbone import TimmBackbone
from weakshot_seg.models.simformer import SimFormer
from weakshot_seg.models.simnet import SimNet
from weakshot_seg.structures import SegOutput, WeakTargets
from weakshot_seg.training.teacher import OnlineTeacher

OTHER, PLAIN, FULL, PLAIN_WEAK = "Hugging Face", "ours plain", "ours full", "ours plain, weak targets"
ALL = "ours all"
FOLDER = ("experiment=folder", "preset=laptop", "data.root=ROOT", "trainer.max_steps=1")
RECIPES = {"default": ((), 16), "folder": (FOLDER, 21), "paper": (("experiment=coco", "data.root=ROOT"), 171)}
"""Settings and number of classes."""


def main() -> None:
    """Parses the command line, measures, writes ``OUT.json`` and ``OUT.md`` and prints the table."""
    args = make_parser().parse_args()
    torch.set_num_threads(args.threads)
    options = args.rounds, args.warmup, args.clock
    result = measure_floor(recipes(args), *options) if args.floor else measure(args)
    text = floor_table(result) if args.floor else markdown(result)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".json").write_text(json.dumps(result, indent=1, default=asdict))
    args.out.with_suffix(".md").write_text(text)
    print(text)


def make_parser() -> argparse.ArgumentParser:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--floor", nargs="+", choices=RECIPES, help="compare with the products within a step")
    parser.add_argument("--size", type=int, default=320, help="side of the square images")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--classes", type=int, default=171)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["32", "bf16"], default="32")
    parser.add_argument("--compile", action="store_true", help="torch.compile the parts of all networks")
    parser.add_argument("--channels-last", action="store_true", help="all weights in this layout, not ours alone")
    parser.add_argument("--toy", action="store_true", help="tiny networks, to try the script")
    parser.add_argument("--checkpointing", action="store_true", help="activation checkpointing in ours")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: where other work runs as well")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark_step"), help="without suffix")
    return parser


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All numbers by name."""
    torch.manual_seed(0)
    device = torch.device(args.device)
    work = make_workload(args.size, args.batch, args.classes, device)
    contestants = make_contestants(args, work)
    options = (args.rounds, args.warmup, device, args.clock)
    seconds = alternate({c.name: c.step for c in contestants}, *options)
    peaks = {c.name: c.resident_bytes() + peak_bytes(c.step, device) for c in contestants}
    waits = {c.name: host_waits(c.step, device) for c in contestants}
    phases = {c.name: phase_seconds(c, min(args.rounds, 3), args.clock) for c in contestants}
    for contestant in contestants:
        contestant.module.eval()
    predictions = {c.name: c.predict for c in contestants if c.name in (OTHER, PLAIN)}
    evaluation = alternate(predictions, *options)
    pairs = alternate(similarity_runs(work, args.classes, args.toy), *options)
    return {
        "setting": {name: str(value) for name, value in vars(args).items()},
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            "torch": torch.__version__,
        },
        "masks": int(work.full.mask_index.shape[1]),
        "step_seconds": {name: Spread.of(values) for name, values in seconds.items()},
        "peak_bytes": peaks,
        "host_waits": waits,
        "phase_seconds": phases,
        "evaluation_seconds_per_image": {n: Spread.of([v / args.batch for v in s]) for n, s in evaluation.items()},
        "similarity_seconds": {name: Spread.of(values) for name, values in pairs.items()},
        "ratios": {
            f"{PLAIN} / {OTHER}, step": ratio(seconds, PLAIN, OTHER),
            f"{FULL} / {PLAIN}, step": ratio(seconds, FULL, PLAIN),
            f"{FULL} / {PLAIN_WEAK}, step": ratio(seconds, FULL, PLAIN_WEAK),
            f"{ALL} / {PLAIN}, step": ratio(seconds, ALL, PLAIN),
            f"{PLAIN} / {OTHER}, evaluation": ratio(evaluation, PLAIN, OTHER),
            "similarity term / unfactorised": ratio(pairs, "factorised", "concatenated"),
            f"{FULL} / {OTHER}, peak memory": Spread.of([peaks[FULL] / peaks[OTHER]]),
        },
    }


def make_contestants(args: argparse.Namespace, work: Workload) -> list[Contestant]:
    """Hugging Face's, ours plain on the same targets, ours full and all on weak targets, and ours plain on those."""
    backend = "inductor" if args.compile else None

    def ours(name: str, targets: WeakTargets) -> Ours:
        backbone = TimmBackbone("test_resnet" if args.toy else "resnet50.tv_in1k", freeze_norm=True)
        everything = name == ALL
        model = SimFormer(
            args.classes,
            backbone,
            num_queries=None if everything else 100,
            presence_gamma=0.5 if everything else None,
            activation_checkpointing=args.checkpointing,
            compile=backend,
            **({"dim": 32, "pixel_dim": 32, "embedding_dim": 32, "ffn_dim": 32, "num_layers": 2} if args.toy else {}),
        )
        terms: dict[str, Any] = {"classification": ClassificationLoss(), "mask": MaskLoss()}
        if name in (FULL, ALL):
            terms |= {"complement": ComplementLoss(weight=0.15), "similarity": PixelSimilarityLoss(simnet(args.toy))}
        if everything:
            terms |= {"absence": AbsenceLoss(), "presence": PresenceLoss(), "pseudo_masks": PseudoMaskLoss()}
        criterion = Criterion(ClassQueries() if everything else HungarianMatcher(), terms, compile=backend)
        teacher = OnlineTeacher() if everything else None
        return Ours(name, model, criterion, targets, work, args.precision, args.clock, teacher)

    contestants = [
        HuggingFace(work, args.classes, args.precision, args.clock, args.compile, args.toy),
        ours(PLAIN, work.full),
        ours(FULL, work.weak),
        ours(PLAIN_WEAK, work.weak),
        ours(ALL, work.open),
    ]
    if args.channels_last:
        for contestant in contestants:
            contestant.module.to(memory_format=torch.channels_last)
    return contestants


def recipes(args: argparse.Namespace) -> list[Ours]:
    """Trainings by name."""
    found = []
    for name in args.floor:
        words, classes = RECIPES[name]
        settings = settings_of(words)
        size, batch = settings.data.train_transform.crop_size, settings.data.batch_size
        size, batch = (args.size, args.batch) if name == "paper" else (size, batch)
        work = make_workload(size, batch, classes, torch.device(args.device))
        found.append(recipe(f"{name}, {size} x {size}, batch {batch}", settings, classes, work, "32", args.clock))
    return found


def phase_seconds(contestant: Contestant, rounds: int, clock: str) -> dict[str, float]:
    """Mean seconds of every phase of a step; "rest" is what no phase claims."""
    timer = contestant.timer
    timer.on = True
    contestant.step()  # a compiled network is compiled anew with the timer on
    timer.seconds.clear()
    with_timer = alternate({"step": contestant.step}, rounds, 0, contestant.work.images.device, clock)["step"]
    timer.on = False
    phases = {name: total / rounds for name, total in timer.seconds.items()}
    return phases | {"rest": sum(with_timer) / rounds - sum(phases.values())}


def simnet(toy: bool) -> SimNet:
    """The paper's, or a tiny one."""
    return SimNet(32, 32) if toy else SimNet()


def similarity_runs(work: Workload, num_classes: int, toy: bool) -> dict[str, SimilarityRun]:
    """The similarity term with SimNet and with the same network on concatenated pairs.

    Raises:
        RuntimeError: they differ.
    """
    batch, _, height, width = work.images.shape
    device = work.images.device

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=device).requires_grad_()

    size = (height // 4, width // 4)
    logits = leaf(1, batch, 100, num_classes + 1)
    ours = simnet(toy)
    theirs = ConcatenatedSimNet(32, 32) if toy else ConcatenatedSimNet()
    output = SegOutput(logits, leaf(1, batch, 100, *size), leaf(batch, 32 if toy else 256, *size))
    theirs.load_state_dict(ours.state_dict())
    runs = {
        "factorised": SimilarityRun(ours, output, work.weak),
        "concatenated": SimilarityRun(theirs, output, work.weak),
    }
    first, second = (run() for run in runs.values())
    if not torch.isclose(first, second, rtol=1e-3):
        raise RuntimeError(f"the two similarity terms differ: {first.item()} and {second.item()}")
    return runs


def markdown(result: dict[str, Any]) -> str:
    """The tables of a result."""
    setting, machine = result["setting"], result["machine"]
    where = machine["gpu"] or f"{setting['threads']} thread(s) of {machine['cores']} cores, load {machine['load']:.1f}"
    lines = [
        f"{setting['size']} x {setting['size']}, batch {setting['batch']}, {setting['classes']} classes, "
        f"{result['masks']} masks, precision {setting['precision']}, compile {setting['compile']}, channels last "
        f"{setting['channels_last']}, checkpointing {setting['checkpointing']}; {where}, {setting['clock']} clock; "
        f"torch {machine['torch']}; {setting['rounds']} paired rounds",
        "",
        "| ratio | median | quartiles |",
        "|---|---|---|",
        *(f"| {n} | {r.median:.2f} | {r.low:.2f} - {r.high:.2f} |" for n, r in result["ratios"].items()),
        "",
        "| | step, s | quartiles | peak, GB | host waits | evaluation, s per image |",
        "|---|---|---|---|---|---|",
    ]
    for name, step in result["step_seconds"].items():
        evaluation, waits = result["evaluation_seconds_per_image"].get(name), result["host_waits"][name]
        lines.append(
            f"| {name} | {step.median:.3f} | {step.low:.3f} - {step.high:.3f} | {result['peak_bytes'][name] / 1e9:.2f} "
            f"| {'-' if waits is None else waits} | {f'{evaluation.median:.3f}' if evaluation else '-'} |"
        )
    names = list(result["phase_seconds"])
    phases = dict.fromkeys(phase for name in names for phase in result["phase_seconds"][name])
    lines += ["", "| phase, s | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for phase in phases:
        cells = (result["phase_seconds"][name].get(phase) for name in names)
        lines.append(f"| {phase} | " + " | ".join("-" if c is None else f"{c:.3f}" for c in cells) + " |")
    pairs = "; ".join(f"{name} {spread.median:.3f} s" for name, spread in result["similarity_seconds"].items())
    return "\n".join([*lines, "", f"Similarity term alone, forward and backward: {pairs}.", ""])


if __name__ == "__main__":
    main()
