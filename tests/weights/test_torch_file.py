"""PyTorch's files: what can be loaded is, without PyTorch; what cannot is named; nothing in them runs."""

import os
import pickle
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.weights.formats import read_file
from tests.weights.reading import read_tensors
from tests.weights.torch_writer import (
    Global,
    Made,
    expanded,
    ordered,
    ordered_by_python_2,
    parameter,
    quantized,
    save,
    sparse,
    tensor,
)

STATE = {
    "conv1.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "bn1.bias": np.ones(2),
    "bn1.n": np.array([3]),
}
OPTIMIZER = {
    "state": {0: {"step": 1, "momentum_buffer": np.ones((2, 3, 2, 2), np.float32)}},
    "param_groups": [{"lr": 0.1}],
}
ARGS = Made(Global("argparse", "Namespace"), (), {"lr": 0.1})


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, sentinel):
        self.sentinel = sentinel

    def __reduce__(self):
        return os.system, (f"touch {self.sentinel}",)


def assert_holds(tensors, state=STATE):
    assert tensors.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(tensors[name], array)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("ending", [".pth", ".pth.tar", ".pt", ".th", ".ckpt", ".bin", ".PTH", ".Pt"])
def test_every_ending_is_read_without_torch(tmp_path, ending, legacy):
    assert_holds(read_tensors(save(tmp_path / f"x{ending}", ordered(STATE), legacy=legacy)))


@pytest.mark.parametrize("legacy", [False, True])
def test_an_ordered_dictionary_of_python_2_keeps_its_items(tmp_path, legacy):
    for saved in (ordered_by_python_2(STATE), {"state_dict": ordered_by_python_2(STATE), "epoch": 7}):
        assert_holds(read_tensors(save(tmp_path / "x.pth", saved, legacy=legacy)))


@pytest.mark.parametrize(
    "keys", ["state_dict", "model", "model_state_dict", "net", "network", "teacher", "x.y", "a.b.c"]
)
def test_a_state_dict_is_found_under_any_key(tmp_path, keys):
    saved = STATE
    for key in reversed(keys.split(".")):
        saved = {key: saved, "epoch": 7, "best_acc1": np.array([71.5], np.float32), "args": ARGS}
    saved |= {"optimizer": OPTIMIZER, "hyper_parameters": {"lr": 0.1, "name": "x"}, "lr_schedulers": [None]}
    file = read_file(save(tmp_path / "x.pth", saved))
    assert_holds(file.tensors)
    assert file.note == ""


class TestTwoStateDicts:
    @pytest.fixture
    def path(self, tmp_path):
        average = {name: array + 1 for name, array in STATE.items()}
        return save(tmp_path / "x.pth", {"state_dict_ema": average, "state_dict": STATE, "loss": {"w": np.ones(1)}})

    def test_the_weights_are_taken_and_the_average_is_named(self, path):
        file = read_file(path)
        assert_holds(file.tensors)
        assert file.note == (
            "took the weights under 'state_dict'; there are others under 'state_dict_ema' "
            "(--weights_key=state_dict_ema)"
        )

    def test_the_key_takes_the_other(self, path):
        file = read_file(path, "state_dict_ema")
        assert_holds(file.tensors, {name: array + 1 for name, array in STATE.items()})
        assert file.note == ""

    def test_an_unknown_key_is_an_error_with_a_list(self, path):
        with pytest.raises(
            InputError, match=r"--weights_key=ema: there is no such key; .*'state_dict_ema', 'state_dict'"
        ):
            read_file(path, "ema")

    def test_the_key_goes_on_into_the_names(self, tmp_path):
        names = {f"module.backbone.{name}": array for name, array in STATE.items()}
        path = save(tmp_path / "x.pth", {"student": names, "teacher": {n: a + 1 for n, a in names.items()}})
        other = {name: array + 1 for name, array in STATE.items()}
        assert_holds(read_file(path, "teacher.module.backbone").tensors, other)
        assert_holds(read_file(path, "module.backbone").tensors)


@pytest.mark.parametrize("legacy", [False, True])
def test_parameters_sparse_tensors_and_numpy_arrays_are_loaded(tmp_path, legacy):
    array = np.array([[0, 1.5], [2, 0]], np.float32)
    read = read_tensors(
        save(tmp_path / "x.pth", {"p": parameter(array), "s": sparse(array), "t": array.T}, legacy=legacy)
    )
    assert_holds(read, {"p": array, "s": array, "t": array.T})
    (tmp_path / "y.pth").write_bytes(pickle.dumps({"model": {"a.w": array, "n": np.float32(3)}}, protocol=2))
    np.testing.assert_array_equal(read_tensors(tmp_path / "y.pth")["a.w"], array)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("legacy", [False, True])
def test_every_floating_type_becomes_float32(tmp_path, name, legacy):
    array = np.array([0.5, -1.25, 3], np.float32)
    dtype = getattr(ml_dtypes, name, None) or np.dtype(name)
    read = read_tensors(save(tmp_path / "x.pth", {"a": array.astype(dtype)}, legacy=legacy))["a"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, array)


def test_a_view_is_read_by_its_strides(tmp_path):
    numbers = np.arange(6, dtype=np.float32)
    read = read_tensors(save(tmp_path / "x.pth", {"a": tensor(numbers, (3, 2), (1, 3))}))
    np.testing.assert_array_equal(read["a"], numbers.reshape(2, 3).T)


@pytest.mark.parametrize(("shape", "strides"), [((7,), (1,)), ((2, 4), (3, 1)), ((2,), (-1,))])
def test_a_tensor_beyond_its_storage_is_damaged(tmp_path, shape, strides):
    with pytest.raises(InputError, match=r"x\.pth: damaged .*beyond its storage"):
        read_tensors(save(tmp_path / "x.pth", {"a": tensor(np.arange(6, dtype=np.float32), shape, strides)}))


def test_a_small_file_cannot_claim_all_memory(tmp_path):
    path = save(tmp_path / "x.pth", {"a": expanded((10**5, 10**4))})
    other = save(tmp_path / "y.pth", {f"w{n}": expanded((10**4, 10**3)) for n in range(100)})
    tracemalloc.start()
    for file in (path, other):
        with pytest.raises(InputError, match=r"0\.0 MiB that would unpack to 3\.7 GiB"):
            read_tensors(file)
    assert tracemalloc.get_traced_memory()[1] < 10**8
    tracemalloc.stop()


def test_what_cannot_be_loaded_is_named(tmp_path):
    odd = Made(Global("torch._utils", "_rebuild_tensor_v3"), (0, 0, (1,), (1,), False, {}, Global("torch", "float4")))
    jagged = Made(Global("torch._utils", "_rebuild_nested_tensor"))
    for value, kind in (
        (quantized(np.ones(2)), "a quantized"),
        (odd, "a tensor of torch.float4"),
        (jagged, "a nested"),
    ):
        for saved in ({"a.w": value}, {"a.w": value, "b": np.ones(2)}, {"model": {"a.w": value}}):
            with pytest.raises(InputError, match=rf"x\.pth: '(model\.)?a\.w' is {kind}.*; save it as a dense tensor"):
                read_tensors(save(tmp_path / "x.pth", saved))


@pytest.mark.parametrize("place", ["alone", "model", "value"])
def test_a_whole_network_is_refused_with_the_remedy(tmp_path, place):
    network = Made(Global("torchvision.models.resnet", "ResNet"), (), {"training": True, "_modules": {"w": np.ones(2)}})
    saved = {"alone": network, "model": {"model": network}, "value": {"a": np.ones(2), "b": network}}[place]
    with pytest.raises(InputError, match=r"refused, because it holds Python objects.*ResNet.*state_dict\(\)"):
        read_tensors(save(tmp_path / "x.pth", saved))


@pytest.mark.parametrize("place", ["state_dict", "beside"])
@pytest.mark.parametrize("bare", [False, True])
def test_a_file_that_carries_code_is_refused_and_not_run(tmp_path, bare, place):
    path, payload = tmp_path / "x.pth", Made(Global("posix", "system"), (f"touch {tmp_path}/ran",))
    if bare:
        path.write_bytes(pickle.dumps({"state_dict": {"a": Payload(tmp_path / "ran")}}))
    else:
        save(path, {"state_dict": {"a": payload}} if place == "state_dict" else {"state_dict": STATE, "x": payload})
    with pytest.raises(InputError, match=r"x\.pth: refused, because it holds Python objects, which could run code"):
        read_tensors(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["builtins.eval", "builtins.getattr", "importlib.import_module", "operator.attrgetter"]
)
def test_functions_that_do_something_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="which could run code"):
        read_tensors(save(tmp_path / "x.pth", STATE | {"x": Made(Global(*name.split(".")), ("1",))}))


def test_a_file_cannot_change_what_its_names_mean(tmp_path):
    hostile = Made(Global("torch", "Size"), ((1,),))
    changed = [Made(Global("numpy", "dtype"), ("f4",), (3, ">", None, None, None, -1, -1, 0))]
    save(tmp_path / "x.pth", {"state_dict": STATE, "x": changed, "y": hostile})
    assert_holds(read_tensors(tmp_path / "x.pth"))
    assert np.dtype("f4").isnative


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_the_prefix_of_parallel_training_is_removed(tmp_path, key, legacy):
    tensors = {f"module.{name}": array for name, array in STATE.items()}
    assert_holds(read_tensors(save(tmp_path / "x.th", {key: tensors, "epoch": 7} if key else tensors, legacy=legacy)))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_file_cut_short_is_named(tmp_path, part, legacy):
    path = save(tmp_path / "x.pth", {"a": np.ones(1000, np.float32)}, legacy=legacy)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError, match=r"x\.pth: damaged or cut short at [\d,]+ bytes"):
        read_tensors(path)


@pytest.mark.parametrize(
    "content", [[1, 2], {"a": 1}, {"epoch": 3, "state_dict": {"lr": 0.1}}, {"optimizer": OPTIMIZER}]
)
def test_what_is_no_state_dict_is_refused(tmp_path, content):
    with pytest.raises(InputError, match="not a state dict"):
        read_tensors(save(tmp_path / "x.pth", content))


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_writes_the_same(tmp_path, legacy):
    torch = pytest.importorskip("torch", reason="compares with what PyTorch writes")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = network.state_dict()
    state["0.bias"] = state["0.bias"].bfloat16()
    state["f8"], state["sparse"] = torch.ones(3).to(torch.float8_e4m3fn), torch.eye(3).to_sparse()
    state["turned"], state["parameter"] = torch.arange(6.0).reshape(2, 3).T, torch.nn.Parameter(torch.ones(2))
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    dense = {name: t.detach().to_dense() if t.is_sparse else t.detach() for name, t in state.items()}
    assert_holds(
        read_tensors(tmp_path / "x.pth"),
        {name: (t.float() if t.is_floating_point() else t).numpy() for name, t in dense.items()},
    )
