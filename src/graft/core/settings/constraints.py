"""Ranges that several settings share, and how a section is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

# Unknown keys and values of another type are refused; a field's docstring is its description.
SECTION = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]  # without both ends
Share = Annotated[float, Field(ge=0, le=1)]  # with both ends
Text = Annotated[str, Field(min_length=1)]
