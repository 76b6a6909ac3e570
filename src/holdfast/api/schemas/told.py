"""Sentences with a code, on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from holdfast.domain.told import TextOrTold, Told

Code = Annotated[
    str, Field(description="Stable identifier of the sentence, see docs/reference/errors.md; empty where it has none.")
]
Values = Annotated[
    Mapping[str, object] | None,
    Field(
        description="What stands at the places of the sentence, for saying it in another language: texts, numbers, "
        "lists, or sentences with a code of their own. Null where only the English words tell all of it."
    ),
]


class ToldView(BaseModel):
    """A sentence, with what says it in another language."""

    model_config = ConfigDict(from_attributes=True)

    message: Annotated[str, Field(description="In English.")]
    code: Code
    values: Values

    @classmethod
    def of(cls, sentence: TextOrTold) -> ToldView:
        """The view of ``sentence``."""
        return cls.model_validate(Told(sentence) if isinstance(sentence, str) else sentence)
