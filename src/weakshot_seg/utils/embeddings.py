"""Products of embeddings, and maps of them at some pixels."""

from torch import Tensor


def mask_products(mask_embeddings: Tensor, pixel_embeddings: Tensor) -> Tensor:
    """Mask logits, the similarity of proposals and pixels: ``[L, B, S, C]``, ``[B, C, h, w]`` -> ``[L, B, S, h, w]``.

    One matrix product per image for all layers.
    """
    layers, _, masks, _ = mask_embeddings.shape
    products = mask_embeddings.transpose(0, 1).flatten(1, 2) @ pixel_embeddings.flatten(2)  # [B, LS, hw]
    return products.unflatten(1, (layers, masks)).unflatten(3, pixel_embeddings.shape[-2:]).transpose(0, 1)


def take_points(maps: Tensor, points: Tensor) -> Tensor:
    """Values at pixels: ``[B, C, P]``, ``[B, J]`` -> ``[B, J, C]``."""
    return maps.gather(2, points[:, None].expand(-1, maps.shape[1], -1)).transpose(1, 2)
