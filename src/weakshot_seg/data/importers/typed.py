"""Parts of JSON files as typed objects."""

import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from weakshot_seg.data.importers.records import Export, Place
from weakshot_seg.data.importers.source import EXPORT_AGAIN

Model = TypeVar("Model", bound=BaseModel)
KINDS = {"missing": "is missing", "model_type": "is no object with keys"}
Points = list[tuple[float, float]]


def typed(model: type[Model], content: Any, place: Place, export: Export) -> Model | None:
    """The content as a ``model``; None, and a problem, if an entry of it is missing or of another type."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first, *others = error.errors()
        entry = ".".join(str(part) for part in first["loc"] if re.fullmatch(r"[a-zA-Z0-9]\w*", str(part)))
        if others and {other["loc"][:1] for other in others} == {first["loc"][:1]}:  # it could have several forms
            entry, what = str(first["loc"][0]), "has none of the known forms"
        elif first["type"] in KINDS:
            what = KINDS[first["type"]]
        else:
            what = f"is wrong ({first['msg'].partition(',')[0].lower()})"
        export.wrong(place, f"{entry or 'it'} {what}: {EXPORT_AGAIN}")
        return None
