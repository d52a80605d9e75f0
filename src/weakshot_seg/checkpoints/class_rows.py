"""Weights of a model with other classes: rows that belong to a class go where its name is."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from weakshot_seg.checkpoints.reading import NETWORK

CLASSIFIERS = (f"{NETWORK}head.classify.", f"{NETWORK}presence.classify.")
"""Rows: the classes; in the first, of the proposals, "no object" comes last."""
QUERIES = (f"{NETWORK}query_decoder.queries.", f"{NETWORK}query_decoder.features.")
"""Rows: the queries, which belong to classes if there is one for each."""


def moved_by_name(
    given: Mapping[str, Tensor], mine: Mapping[str, Tensor], names: Sequence[str], my_names: Sequence[str]
) -> dict[str, Tensor]:
    """``given``, of a model with classes ``names``, for a model ``mine`` with ``my_names``.

    Rows of classes that were not among ``names`` are those of ``mine``. Tensors without such rows stay what they are.
    """
    pairs = [(names.index(name), i) for i, name in enumerate(my_names) if name in names]
    there, here = [old for old, _ in pairs], [new for _, new in pairs]
    moved = dict(given)
    for key, tensor in given.items():
        if not key.startswith((*CLASSIFIERS, *QUERIES)) or key not in mine:
            continue
        more = int(key.startswith(CLASSIFIERS[0]))
        if (len(tensor), len(mine[key])) != (len(names) + more, len(my_names) + more):
            continue  # queries that belong to no class
        if tensor.shape[1:] == mine[key].shape[1:]:
            rows = mine[key].clone()
            rows[here] = tensor[there].to(rows.dtype)
            if more:
                rows[-1] = tensor[-1]
            moved[key] = rows
    return moved
