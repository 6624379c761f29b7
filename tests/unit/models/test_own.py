"""A net of the person's own, by class path."""

import pytest
from torch import nn

from torchkiln.errors import ModelError
from torchkiln.models import own
from torchkiln.recipe.schema import Model


def test_a_class_path_with_its_arguments() -> None:
    net = own.build(Model(class_path="torch.nn.Linear", init_args={"in_features": 3, "out_features": 2}))
    assert isinstance(net, nn.Linear) and net.weight.shape == (2, 3)


@pytest.mark.parametrize(
    ("path", "arguments", "said"),
    [("torch.nn.Linear", {"width": 3}, "does not take them"), ("builtins.dict", {}, "not an nn.Module"),
     ("torch.nn.Liner", {}, "did you mean 'Linear'")],
)  # fmt: skip
def test_what_is_no_net_is_refused(path: str, arguments: dict[str, int], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        own.build(Model(class_path=path, init_args=arguments))
