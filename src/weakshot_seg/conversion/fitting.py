"""The settings that rebuild a foreign network here."""

from __future__ import annotations

from copy import deepcopy

from weakshot_seg.conversion.sizes import ModelSizes
from weakshot_seg.conversion.source import Source
from weakshot_seg.utils.recipe import Recipe

SIZES = ("num_queries", "dim", "ffn_dim", "num_layers", "pixel_dim", "embedding_dim")


def fit_recipe(recipe: Recipe, sizes: ModelSizes, source: Source) -> Recipe:
    """A recipe with the sizes of a foreign network.

    Args:
        recipe: settings of the paper; what the network does not tell stays as it is here.
        sizes: of the network.
        source: the network; its heads and normalisation go into the recipe.

    Returns:
        The new recipe. It has no similarity term if the network has no SimNet.
    """
    recipe = deepcopy(recipe)
    model, terms = recipe.model, recipe.loss["terms"]
    model.update({name: value for name in SIZES if (value := getattr(sizes, name)) is not None})
    if source.num_heads is not None:
        model["num_heads"] = source.num_heads
    model["backbone"].update(pretrained=False, checkpoint=None)
    if (backbone := sizes.backbone) is not None:
        model["backbone"].update(name=backbone.name, norm_outputs=backbone.norm_outputs, **backbone.options)
    if source.mean is not None and source.std is not None:
        model["backbone"]["pretrained_cfg_overlay"] = {"mean": list(source.mean), "std": list(source.std)}
    if sizes.simnet_dim is None:
        terms.pop("similarity", None)
    elif "similarity" in terms:
        terms["similarity"]["simnet"].update(
            embedding_dim=model["embedding_dim"],
            hidden_dim=sizes.simnet_dim,
            num_blocks=sizes.simnet_blocks,
            batch_norm=sizes.simnet_batch_norm,
        )
    return recipe
