"""What can go wrong, as a tree; each leaf has a stable code and says what, where and how to mend it.

KilnError                   base: `except torchkiln.KilnError` catches all that we raise on purpose
├── InputError              what the person gave is wrong; the command line exits with 2
│   ├── RecipeError   K100  a key, a value, or how they fit together
│   ├── DataError     K200  files, columns, labels, splits
│   ├── RunError      K300  the run directory: exists, missing, damaged, not writable
│   ├── ModelError    K400  a model, loss, optimizer or weights that cannot be had or do not fit
│   ├── MissingExtra  K500  an optional part of torchkiln that is not installed
│   ├── BundleError   K600  a bundle that is damaged, changed, unsigned, unproven or cannot be written
│   ├── RecordError   K700  what a model is asked about does not fit its schema
│   └── ExportError   K800  a net that cannot be exported, or a file of it that does not answer as it does
└── RunFailed         K900  training began and could not go on; the command line exits with 1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class KilnError(Exception):
    """Base of all errors raised on purpose; `str(error)` is one sentence for a person."""

    code: ClassVar[str] = "K000"
    exit_code: ClassVar[int] = 1


class InputError(KilnError):
    """What the person gave is wrong."""

    exit_code = 2


class RecipeError(InputError):
    """One or several faults of a recipe, all reported at once.

    Args:
        faults: One sentence each.
        where: The recipe's file name, if there is one.
    """

    code = "K100"

    def __init__(self, faults: str | Sequence[str], where: str | None = None) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        self.where = where
        prefix = f"{where}: " if where else ""
        super().__init__(prefix + "; ".join(self.faults))


class DataError(InputError):
    """Files, columns, labels or splits that cannot be trained on or read."""

    code = "K200"


class RunError(InputError):
    """A run directory that exists, is missing, damaged or cannot be written."""

    code = "K300"


class ModelError(InputError):
    """A model, loss, optimizer or set of weights that cannot be had or does not fit."""

    code = "K400"


class MissingExtra(InputError):
    """An optional part that is not installed.

    Args:
        module: The module whose import failed.
        extra: The name inside `torchkiln[...]` that brings it.
    """

    code = "K500"

    def __init__(self, module: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{module} is not installed: pip install 'torchkiln[{extra}]' brings it")


class BundleError(InputError):
    """A bundle that is damaged, changed, unsigned, unproven, of another machine, or cannot be written."""

    code = "K600"


class RecordError(InputError):
    """A record that does not fit the model's schema.

    Args:
        text: One sentence that names the record and the field.
        record: Its place among those of the request.
        field: The field's name.
        too_large: Whether only its size is wrong.
    """

    code = "K700"

    def __init__(
        self, text: str, *, record: int | None = None, field: str | None = None, too_large: bool = False
    ) -> None:
        self.record, self.field, self.too_large = record, field, too_large
        super().__init__(text)


class ExportError(InputError):
    """A net that cannot be exported, or a file of it that does not answer as it does."""

    code = "K800"


class RunFailed(KilnError):
    """Training began and could not go on; the run directory stays and says how to resume."""

    code = "K900"
