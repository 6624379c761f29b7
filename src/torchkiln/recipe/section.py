"""What the sections of a recipe are made of: their base, and the types of their keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Auto = Literal["auto"]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
ColumnKind = Literal["numeric", "categorical", "date", "drop"]


class Section(BaseModel):
    """Base of all parts of a recipe: no unknown keys, no silent change of a value's type, frozen."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class Part(Section):
    """A part given by the name of a built-in one, or by a class path of the person's own."""

    name: str | None = None
    """A built-in one."""
    class_path: str | None = None
    """Dotted path of a class or function, such as `my_pkg.net.Net`."""
    init_args: dict[str, Any] = {}
    """Keyword arguments for `class_path`."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Part:
        if self.name and self.class_path:
            raise ValueError("give name or class_path, not both")
        if self.init_args and not self.class_path:
            raise ValueError("init_args go with class_path")
        return self
