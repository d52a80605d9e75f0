"""The settings of the data that a model is measured on, or labels: those it was trained on, or others like them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from weakshot_seg.checkpoints.trusted_targets import named_targets
from weakshot_seg.config.named import with_settings
from weakshot_seg.config.schema import check_node
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.errors import ConfigError
from weakshot_seg.training.module import WeakShotModule
from weakshot_seg.utils.recipe import Group

OF_THE_MODEL = ("val_transform", "label_offset", "ignore_label")
"""Settings that decide what is measured, also on data of another kind than the model was trained on."""
OF_THE_SPLIT = {"split", "novel_classes", "split_file", "published", "novel_ratio", "split_seed"}


def own_data(module: WeakShotModule, source: str | Path) -> Group:
    """Settings of the data a model was trained on; a ConfigError for a model folder, which does not keep them."""
    if "_target_" not in module.recipe.data:
        raise ConfigError(f"ckpt={source} does not know where its data are: name them with data=... data.root=DIR")
    return module.recipe.data


def data_of(
    module: WeakShotModule, source: str | Path, chosen: Group | None, named: Mapping[str, Any]
) -> tuple[WeakShotDataModule, Group]:
    """The data for a model, and their settings.

    All that can change a result is as the training had it, unless the user says otherwise; so are the novel classes.
    Validation photos are never drawn again: those of a new draw may have been trained on.

    Args:
        source: of the model, for errors.
        chosen: settings as a file of ``conf/data`` has them; without a ``_target_``: the model's own data.
        named: settings that the user names, such as ``{"root": "photos", "val_transform.short_edge": 96}``.
    """
    own = module.recipe.data
    if not chosen or "_target_" not in chosen:
        settings = own_data(module, source)
    elif _same_kind(chosen, own):
        settings = chosen | own
    else:
        settings = chosen | {key: own[key] for key in OF_THE_MODEL if key in own and key in chosen}
    if "val_photos" in settings:
        settings = settings | {"val_photos": own.get("val_photos") or []}
    settings = with_settings(settings, named)
    check_node("data", settings)
    data: WeakShotDataModule = instantiate(settings)
    if not OF_THE_SPLIT & named.keys():
        data.model_split = module.class_split
    return data, settings


def _same_kind(one: Group, other: Group) -> bool:
    """Whether two settings of data are read by the same code, such as photos in folders."""
    parts = ((settings.get("_target_"), *map(settings.get, ("dataset", "train", "val"))) for settings in (one, other))
    first, second = (tuple(part if isinstance(part, str) else named_targets(part) for part in kind) for kind in parts)
    return first == second
