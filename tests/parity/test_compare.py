"""The comparison sees what it is meant to see: an original that differs in one setting is told apart."""

import pytest

from resnet_jax.weights.rules import rules_for

from .compare import RESNET_STAGES, check_evaluation, check_three_steps, check_training, make_pair, torch, torchvision
from .conftest import COMPARED


@pytest.fixture
def pair():
    before = {check: set(names) for check, names in COMPARED.items()}
    original = torchvision.models.resnet18(weights=None, num_classes=10)
    yield make_pair("resnet18", original, rules_for("resnet18"), num_classes=10, steady=True, last_norm="norm2")
    COMPARED.clear()
    COMPARED.update(before)


def norms(pair):
    return [m for m in pair.original.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def test_another_epsilon(pair):
    for norm in norms(pair):
        norm.eps = 1e-3
    with pytest.raises(AssertionError, match="stem"):
        check_evaluation(pair, RESNET_STAGES)


def test_another_momentum_of_the_statistics(pair):
    norms(pair)[7].momentum = 0.2
    with pytest.raises(AssertionError, match="running"):
        check_training(pair)


def test_another_gradient_of_one_layer(pair):
    pair.original.layer3[0].conv1.weight.register_hook(lambda gradient: 1.1 * gradient)
    with pytest.raises(AssertionError, match="gradient of"):
        check_training(pair)


@pytest.mark.parametrize("setting", [{"momentum": 0.8}, {"weight_decay": 0.0}, {"nesterov": True}])
def test_another_optimizer(pair, setting, monkeypatch):
    sgd = torch.optim.SGD
    monkeypatch.setattr(torch.optim, "SGD", lambda parameters, **settings: sgd(parameters, **(settings | setting)))
    with pytest.raises(AssertionError, match=r"way of .* in \d steps"):
        check_three_steps(pair)
