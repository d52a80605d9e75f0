"""What this library does on your GPU: step times, memory, loader, a short training, several devices, exports.

    python scripts/gpu_report.py --minutes 12 --out gpu_report                  # needs the extras dev and export
    python scripts/gpu_report.py --minutes 12 --out gpu_report --data ROOT model.backbone.pretrained=true

Each part runs in a process of its own and is written to OUT/report.md and OUT/report.jsonl as soon as it is done, so
that a run that is cut off, or a part that fails, loses nothing else. --data is a folder as for experiment=folder;
default: generated scenes. Words after the options are settings of the trainings. Paste report.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch.export.passes import move_to_device_pass

import benchmark_step
import make_scenes
import weakshot_seg
from benchmarks.parts import Finding, Report
from benchmarks.recipes import recipe, settings_of
from benchmarks.timing import alternate, synchronise
from benchmarks.workload import make_workload
from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.exporting import formats, graph
from weakshot_seg.exporting.agreement import compare

VARIANTS = {
    "float32": ["--precision", "32"],
    "bf16": ["--precision", "bf16"],
    "channels-last": ["--precision", "bf16", "--channels-last"],
    "compile": ["--precision", "bf16", "--compile"],
}
"""Of :mod:`benchmark_step`; compiled last, which takes minutes."""
TRAINING = 5 / 12
"""Share of the time for the training."""
SCENES = (600, 60, 512)
"""Generated photos for training and validation, and their side."""
WAITING = 0.05
"""Share of a step from which on the GPU is said to wait for the loader."""


def main() -> None:
    """Parses the command line and measures part by part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--out", type=Path, required=True, help="folder of the report, new")
    parser.add_argument("--data", type=Path, help="data folder; default: generated scenes")
    parser.add_argument("--device", default="cuda", help="cpu: to try the script")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 320, 640])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--formats", nargs="*", choices=formats.FORMATS, default=list(formats.FORMATS), help="exported")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--toy", action="store_true", help="tiny networks and scenes, to try the script")
    parser.add_argument("settings", nargs="*", help="of the trainings")
    args = parser.parse_intermixed_args()
    args.out = args.out.absolute()
    if (args.out / "report.jsonl").exists():
        parser.error(f"--out {args.out} holds a report: name another folder")
    report = Report(args.out, "weakshot_seg on a GPU", 60 * args.minutes)
    measure_all(args, report)
    print(f"{args.out / 'report.md'}")


def measure_all(args: argparse.Namespace, report: Report) -> None:
    """The parts, those first that tell most."""
    machine = report.run("machine", partial(describe_machine, args.device)) or {}
    root = args.data.absolute() if args.data else args.out / "scenes"
    if not args.data:
        report.run("generated scenes", partial(write_scenes, root, *((16, 4, 64) if args.toy else SCENES)))
    words = [f"experiment=folder data.root={root} preset=gpu name=report".split(), args.settings]
    words = [*itertools.chain.from_iterable(words)]
    words += [] if args.device == "cuda" else ["trainer.accelerator=cpu", "trainer.precision=32"]
    steps = {
        f"step {size} {variant}": partial(measure_step, args, size, VARIANTS[variant])
        for variant in args.variants
        for size in args.sizes
    }
    compiled = {name: step for name, step in steps.items() if name.endswith("compile")}
    for name in list(steps)[: len(args.sizes)]:
        report.run(name, steps.pop(name))
    loading = report.run("loader", partial(measure_loader, words, args.device, 1 if args.toy else 20))
    seconds = 60 * args.minutes * TRAINING
    rate = loading["steps_per_second"] if loading else None
    training = partial(train, words, args.out / "training", seconds, rate)
    report.run("training", training, 1.5 * seconds + 60)
    for kind in args.formats:
        measure = partial(measure_export, args.out / "training/checkpoints/last.ckpt", kind, args.device)
        report.run(f"export {kind}", measure, 120)
    for strategy in ("ddp", "fsdp"):
        measure = partial(train_on_two, words, args.out / strategy, strategy, machine.get("devices", 0))
        report.run(f"two devices {strategy}", measure, 120)
    for name, step in ({name: step for name, step in steps.items() if name not in compiled} | compiled).items():
        report.run(name, step)


def describe_machine(device: str) -> Finding:
    """Card, driver, versions, processor."""
    values: dict[str, Any] = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.processor() or platform.machine(),
        "weakshot_seg": weakshot_seg.__version__,
        "devices": torch.cuda.device_count() if device == "cuda" else 0,
    }
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        driver = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
        values |= {"card": card.name, "memory_gb": round(card.total_memory / 1e9, 1)}
        values["driver"] = subprocess.run(driver, capture_output=True, text=True, check=False).stdout.strip()
    return Finding(values, "\n".join(f"- {name}: {value}" for name, value in values.items()))


def write_scenes(root: Path, training: int, validation: int, size: int) -> Finding:
    """The data folder where none is given."""
    make_scenes.make_scenes(root, training, validation, size)
    counts = {"training": training, "validation": validation, "size": size}
    return Finding(counts, f"{training} photos to train on, {validation} to validate on, {size} x {size} pixels.")


def measure_step(args: argparse.Namespace, size: int, variant: Sequence[str]) -> Finding:
    """Steps, phases, memory and waits of the contestants of :mod:`benchmark_step`."""
    words = ["--size", size, "--batch", args.batch, "--device", args.device, "--rounds", args.rounds, *variant]
    words += ["--toy", "--warmup", 0, "--classes", 32] if args.toy else []
    result = benchmark_step.measure(benchmark_step.make_parser().parse_args([str(word) for word in words]))
    return Finding(result, benchmark_step.markdown(result))


def measure_loader(words: Sequence[str], name: str, seconds: float) -> Finding:
    """Batches a second of the loader alone, of the step alone, and together: which one waits."""
    settings, device = settings_of([*words, "trainer.max_steps=100000"]), torch.device(name)
    data = instantiate(settings.data)
    data.setup("fit")
    precision, size = str(settings.trainer.precision).partition("-")[0], settings.data.train_transform.crop_size
    classes = data.class_split.num_classes
    work = make_workload(size, settings.data.batch_size, classes, device)
    ours = recipe("recipe", settings, classes, work, precision, "wall")
    batches = iter(data.train_dataloader())

    def fetch() -> None:
        batch = next(batches).to(device, non_blocking=True)
        ours.images, ours.targets = batch.images, batch.targets

    fetch()
    ours.step()  # compiles kernels, fills the loader's queue
    start, loaded = time.perf_counter(), 0
    while time.perf_counter() < start + seconds / 2:
        fetch()
        loaded += 1
    loader = (time.perf_counter() - start) / loaded
    step = sum(alternate({"step": ours.step}, 3, 0, device, "wall")["step"]) / 3
    start, waited, steps = time.perf_counter(), 0.0, 0
    while time.perf_counter() < start + seconds / 2:
        begin = time.perf_counter()
        fetch()
        waited += time.perf_counter() - begin
        ours.step()
        synchronise(device)
        steps += 1
    whole = time.perf_counter() - start
    values = {
        "workers": data.train_dataloader().num_workers,
        "batch": settings.data.batch_size,
        "size": size,
        "loader_seconds_per_batch": loader,
        "step_seconds": step,
        "steps_per_second": steps / whole,
        "waiting_share": waited / whole,
    }
    verdict = "the device waits for the loader" if waited > WAITING * whole else "the loader waits for the device"
    text = (
        f"A batch of {values['batch']} images of {size} pixels: the loader alone ({values['workers']} workers) takes "
        f"{1000 * loader:.0f} ms, the step alone {1000 * step:.0f} ms, both together {1000 * whole / steps:.0f} ms, of "
        f"which {100 * waited / whole:.0f} % is waiting for the batch: {verdict}."
    )
    return Finding(values, text)


def train(words: Sequence[str], folder: Path, seconds: float, rate: float | None) -> Finding:
    """As many steps as fit into the time, validated once: IoU."""
    if rate is None:
        raise RuntimeError("without the part loader it is not known how many steps fit into the time")
    steps = max(1, int(seconds * rate))
    own = [f"trainer.max_steps={steps}", "trainer.val_check_interval=1.0", "model.backbone.pretrained=false"]
    start = time.perf_counter()
    run = weakshot_seg.train(None, *own, *words, f"hydra.run.dir={folder}")
    spent = time.perf_counter() - start
    metrics = run.metrics
    assert metrics is not None
    values = {
        "steps": metrics.step,
        "seconds": spent,
        "base_iou": metrics.base_iou,
        "novel_iou": metrics.novel_iou,
        "miou": metrics.miou,
    }
    texts = {name: "-" if values[name] is None else f"{values[name]:.1f}" for name in ("base_iou", "novel_iou", "miou")}
    return Finding(
        values,
        f"`{' '.join([*own, *words])}`: {metrics.step} steps, {spent:.0f} s with start and validation; IoU base "
        f"{texts['base_iou']}, novel {texts['novel_iou']}, all {texts['miou']}.",
    )


def train_on_two(words: Sequence[str], folder: Path, strategy: str, devices: int) -> Finding:
    """Twenty steps in two processes."""
    if devices < 2:
        raise RuntimeError(f"needs two devices, there are {devices}")
    own = ["trainer=ddp", "trainer.devices=2", f"trainer.strategy={strategy}", "model.backbone.pretrained=false"]
    own += ["trainer.max_steps=20", "trainer.val_check_interval=20", f"hydra.run.dir={folder}"]
    command = [sys.executable, "-m", "weakshot_seg", "train", *words, *own]
    start = time.perf_counter()
    done = subprocess.run(command, stdout=sys.stdout, stderr=sys.stderr, check=False)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}; the reason is in logs")
    seconds = time.perf_counter() - start
    return Finding({"steps": 20, "seconds": seconds}, f"20 steps and a validation, {seconds:.0f} s with the start.")


def measure_export(checkpoint: Path, kind: str, device: str) -> Finding:
    """The exported file on the device, beside the network there: largest difference, equal labels, milliseconds."""
    if not checkpoint.exists():
        raise RuntimeError("there is no trained model: the part training failed")
    module = load_module(checkpoint)
    form, path = formats.find_format(kind), checkpoint.with_name(f"report{formats.FORMATS[kind].suffix}")
    program = graph.trace(graph.SegmentationGraph(module.model).eval(), torch.uint8)
    form.write(program, formats.make_metadata(module, "uint8"), path)
    file = LOADERS[kind](path, device)
    network = graph.SegmentationGraph(module.model).eval().to(device)
    images = make_workload(256, 2, 64, torch.device("cpu")).images.numpy()

    def model(images: formats.Images) -> Any:
        with torch.inference_mode():
            return [part.cpu().numpy() for part in network(torch.from_numpy(images).to(device))]

    (agreement,) = compare(file, model, [images])
    runs = {"file": lambda: file(images), "network": lambda: model(images)}
    seconds = alternate(runs, 5, 2, torch.device(device), "wall")
    times = {name: min(values) for name, values in seconds.items()}
    text = (
        f"On {device}, 2 images of 256 pixels: largest difference of scores {agreement.max_difference:.1e}, same class "
        f"{100 * agreement.argmax_agreement:.3f} %; file {1000 * times['file']:.1f} ms, network "
        f"{1000 * times['network']:.1f} ms."
    )
    return Finding({"agreement": agreement, "seconds": times}, text)


def load_onnx(path: Path, device: str) -> formats.Run:
    """The file in onnxruntime, on the card if it is one."""
    import onnxruntime

    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeError(f"this onnxruntime has no {provider}: pip install onnxruntime-gpu")
    session = onnxruntime.InferenceSession(path, providers=[provider])
    if provider not in session.get_providers():
        raise RuntimeError(f"onnxruntime could not start its {provider}: see the log")
    return lambda images: session.run(graph.OUTPUTS, {graph.INPUT: images})


def load_program(path: Path, device: str) -> formats.Run:
    """The program moved to the device."""
    module = move_to_device_pass(torch.export.load(path), device).module()

    @torch.inference_mode()
    def run(images: formats.Images) -> Any:
        return [part.cpu().numpy() for part in module(torch.from_numpy(images).to(device))]

    return run


LOADERS = {"onnx": load_onnx, "torch_export": load_program}

if __name__ == "__main__":
    main()
