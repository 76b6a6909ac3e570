"""Lines of logs, as the API tells them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class LogEntryView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    at: str
    instance: Annotated[str, Field(description="The name of the container that printed it.")]
    stream: Annotated[str, Field(description="`stdout`, `stderr`, or `holdfast` for what Holdfast itself says.")]
    text: str


class LogsView(BaseModel):
    items: list[LogEntryView]
