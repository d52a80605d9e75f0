"""Building a module: from a recipe, or of a trained model."""

import hashlib
import logging
from collections.abc import Sequence
from copy import deepcopy
from itertools import zip_longest
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from torch import Tensor, nn

from weakshot_seg.checkpoints.class_rows import moved_by_name
from weakshot_seg.checkpoints.compatibility import check_same_run
from weakshot_seg.checkpoints.reading import NETWORK, SavedModel, read_checkpoint, read_model, unusable
from weakshot_seg.checkpoints.trusted_targets import PARTS, check_recipe
from weakshot_seg.config.schema import check_node
from weakshot_seg.errors import BrokenCheckpointError, ConfigError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.training.module import WeakShotModule
from weakshot_seg.utils.recipe import Recipe
from weakshot_seg.utils.tables import first_few

PRESENCE = f"{NETWORK}presence."
TEACHER = "teacher."

log = logging.getLogger(__name__)


def build_module(recipe: Recipe, class_split: ClassSplit) -> WeakShotModule:
    """Makes network, criterion, optimiser and inference from the settings of a run."""
    model = instantiate(recipe.model, num_classes=class_split.num_classes)
    criterion, optimizer = instantiate(recipe.loss), instantiate(recipe.optim)
    module = WeakShotModule(model, criterion, optimizer, class_split, recipe, recipe.seed)
    module.inference = instantiate(recipe.inference)
    return module


def load_module(source: str | Path, allow_targets: Sequence[str] = ()) -> WeakShotModule:
    """:func:`~weakshot_seg.checkpoints.reading.read_model` and :func:`module_of` in one."""
    return module_of(read_model(source), source, allow_targets)


def module_of(saved: SavedModel, source: str | Path, allow_targets: Sequence[str] = ()) -> WeakShotModule:
    """The module of a trained model, on the CPU in evaluation mode. What only trains is new if the model has it not.

    ``allow_targets`` are packages, modules or full names of the user's that the recipe may name. A ConfigError, with
    the ``source``, if the recipe is not trusted, has an unknown setting or a wrong value, or the weights do not fit it.
    """
    check_recipe(saved.recipe, source, allow_targets)
    try:
        recipe = deepcopy(saved.recipe)
        backbone = recipe.model["backbone"]  # the weights are those of the model; one of the user's may not take these
        for key, value in (("pretrained", False), ("checkpoint", None)):
            if key in backbone:
                backbone[key] = value
        backbone.pop("checkpoint_path", None)  # timm's own option to read a file
        for part in (recipe.model, recipe.loss):
            if "compile" in part:
                part["compile"] = None  # a few images are predicted before they would be compiled for
        for name in PARTS:
            check_node(name, getattr(recipe, name))
        module = build_module(recipe, saved.class_split)
        if not callable(instantiate(recipe.data["val_transform"])):  # later its mistakes would not name the file
            raise ValueError("data.val_transform is no transform")
    except Exception as error:  # whatever a wrong value makes the parts of the model raise
        raise unusable(source, error) from error
    training = {name: tensor for name, tensor in module.state_dict().items() if not name.startswith(NETWORK)}
    state = {name: tensor for name, tensor in saved.state.items() if not name.startswith(TEACHER)}
    _fill(module, training | state, source)
    module.trained_steps = saved.step
    return module.eval()


def load_last(module: WeakShotModule, directory: Path) -> Path | None:
    """Puts the weights to resume from into ``module``: of the newest checkpoint that can be read, which is returned.

    That is ``new.ckpt`` if a training was killed before it became ``last.ckpt``, the usual one, or ``previous.ckpt``.
    A ConfigError if it is of another run or does not fit the model, a BrokenCheckpointError if none can be read.
    """
    paths = [path for name in ("new", "last", "previous") if (path := directory / f"{name}.ckpt").is_file()]
    for path, other in zip_longest(paths, paths[1:]):
        try:
            saved = read_checkpoint(path)
        except BrokenCheckpointError as error:
            if other is None:
                raise
            log.warning("%s; going on from %s", error, other)
            continue
        check_same_run(saved.recipe, saved.class_split, module.recipe, module.class_split, path)
        _fill(module, saved.state, path)
        return path
    return None


def start_from(module: WeakShotModule, source: str | Path, partial: bool = False) -> None:
    """Initial weights for a training: the network of a model, its SimNet and presence head where both have the same.

    Rows that belong to a class go where its name is. ``partial`` takes what fits, also of a model with other classes.
    A ConfigError if the model cannot be read, is broken, has other classes, or its network other names or shapes.
    """
    saved, mine = read_model(source), module.state_dict()
    old, new = saved.class_split.names, module.class_split.names
    state = saved.state if old == new else moved_by_name(saved.state, mine, old, new)
    floats = {name: t for name, t in state.items() if name.startswith(NETWORK) and t.is_floating_point()}
    if broken := sorted(name for name, tensor in floats.items() if not tensor.isfinite().all()):
        raise ConfigError(f"weights={source} holds NaN or infinite values ({first_few(broken, 3)}): give another file")
    network = {name for name in {*state, *mine} if name.startswith(NETWORK) and not name.startswith(PRESENCE)}
    same = {name for name in state.keys() & mine.keys() if state[name].shape == mine[name].shape}
    wrong, fresh = network - same, [name for name in new if name not in old]
    if not partial and (wrong or fresh or len(old) > len(new)):
        others = f"it has other classes ({first_few(fresh or [name for name in old if name not in new], 5)})"
        tensors = f"{len(wrong)} of {len(network)} tensors differ in name or shape ({min(wrong, default='')}, ...)"
        remedy = "use the model settings and the classes it was made with, or partial=true to take what fits"
        differ = others if set(old) != set(new) else tensors
        raise ConfigError(f"weights={source} does not fit this model: {differ}; {remedy}")
    if not network & same:
        raise ConfigError(f"weights={source}: nothing in it fits this model; use the model settings it was made with")
    chosen = {name: state[name] for name in same if name in network or name.startswith(PRESENCE) or "simnet" in name}
    module.load_state_dict(chosen, strict=False)
    if partial:
        text = "weights=%s: %d of %d tensors of the network fit; new classes: %s; tensors that do not fit: %s"
        log.info(text, source, len(network & same), len(network), first_few(fresh, 5), first_few(sorted(wrong), 5))


def weights_digest(network: nn.Module) -> str:
    """SHA-256 of the names and values of all parameters and buffers: equal for networks that are."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return digest.hexdigest()


def _fill(module: WeakShotModule, state: dict[str, Tensor], source: str | Path) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = f"{str(error).splitlines()[1].strip()}; use the settings it was trained with"
        raise ConfigError(f"ckpt={source} does not fit this model: {reason}") from error
