"""Why a net cannot be exported: of an exporter's thousand lines the cause, its place, and the mend, in a sentence."""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

IN_TRAINING = (
    "let dropout and batch normalisation be modules that eval() reaches, or give functions such as F.dropout "
    "training=self.training"
)
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        # or what a recurrent layer says of the sizes that come of it
        r"pack_padded_sequence|FakeTensor[\s\S]*\brnn\.py:forward",
        "nn.utils.rnn.pack_padded_sequence packs by lengths that only the data knows",
        "run the recurrent layer on the padded batch and gather its output at each text's length",
    ),
    (
        r"DynamicOutputShapeException: (?P<what>[\w.:]+)",
        "{what} gives a tensor whose size only the data knows, or one that cannot be traced",
        "use another operation, or one whose sizes follow from those of the inputs",
    ),
    (
        r"GuardOnDataDependentSymNode|DataDependentOutputException|[Dd]ata-dependent|Dynamic control flow",
        "a branch, a loop or a size depends on the values of the data",
        "choose between tensors by torch.where, and let sizes and loops follow from shapes",
    ),
    (
        r"more than 1 value per channel when training",
        "batch normalisation works as in training",
        IN_TRAINING,
    ),
    (
        r"No ONNX function found for <OpOverload\(op='(?P<what>[\w.]+)'",
        "ONNX has no counterpart of the operator {what}",
        "write it in other operations, or leave ONNX out: --format pt2",
    ),
    (
        r"\.numpy\(\) is not supported|can't call numpy|__array__",
        "the net leaves torch by .numpy()",
        "compute in torch all the way",
    ),
    (
        r"autograd\.Function|HigherOrderOperator",
        "the net has an operation of its own in place of torch's",
        "register it by torch.library.custom_op, or write it in torch's operations",
    ),
)


def explain(error: BaseException) -> str:
    """The cause, where it stands in the person's code, and what to do."""
    said = "\n".join(_told(error))
    for pattern, cause, mend in _CAUSES:
        if found := re.search(pattern, said):
            return f"{cause.format(**found.groupdict())}{_place(error)}; {mend}"
    first = next(iter(str(error).strip().splitlines()), "no message")
    return f"{type(error).__name__}: {first[:300]}{_place(error)}"


def _told(error: BaseException) -> Iterator[str]:
    """What each error of the chain says, and the functions it went through."""
    for one in _chain(error):
        yield f"{type(one).__name__}: {one}"
        yield from (f"{Path(frame.filename).name}:{frame.name}" for frame in traceback.extract_tb(one.__traceback__))


def _place(error: BaseException) -> str:
    """` (nets.py, line 7, in forward)`: the last line that is neither torch's nor ours."""
    known = (sysconfig.get_path("stdlib"), str(Path(__file__).parents[1]))
    for one in _chain(error):
        frames = traceback.extract_tb(one.__traceback__)
        own = [f for f in frames if not f.filename.startswith(known) and "site-packages" not in f.filename]
        own = [f for f in own if Path(f.filename).is_file()]
        if own:
            return f" ({Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name})"
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__
