"""The Module: what the walk finds, names, ties, state, modes, hooks."""

import copy

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn
from tinygen.errors import CheckpointError, DtypeError, ShapeError, UsageError


def generator(seed=0):
    return tg.random.Generator(seed)


class Net(nn.Module):
    """Parts of every kind, in every kind of container, one parameter and one module tied."""

    def __init__(self, rng):
        self.table = nn.Embedding(3, 4, rng=rng)
        self.layers = [nn.Linear(4, 4, rng=rng), nn.Linear(4, 4, rng=rng)]
        self.by_name = {"norm": nn.LayerNorm(4), "scale": nn.Parameter(nn.init.ones((4,)))}
        self.pair = (nn.Dropout(0.5, rng=rng), self.layers[0])
        self.count = nn.Buffer(np.zeros((), np.int64))
        self.head = self.table.weight
        self.constant = tg.tensor([1.0])
        self.width = 4

    def forward(self, ids):
        x = self.table(ids)
        for layer in self.layers:
            x = layer(x)
        x = self.pair[0](self.by_name["norm"](x)) * self.by_name["scale"]
        return tg.ops.matmul(x, tg.ops.matrix_transpose(self.head))


NAMES = [
    "table.weight",
    "layers.0.weight",
    "layers.0.bias",
    "layers.1.weight",
    "layers.1.bias",
    "by_name.norm.weight",
    "by_name.norm.bias",
    "by_name.scale",
]


def test_names_are_paths_in_the_order_of_the_source_and_tied_ones_come_once():
    net = Net(generator())
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_buffers()] == ["count"]
    assert list(net.named_generators()) == ["pair.0.rng"]
    assert [name for name, _ in net.named_children()] == [
        "table",
        "layers.0",
        "layers.1",
        "by_name.norm",
        "pair.0",
        "pair.1",
    ]
    assert net.children()[0] is net.table
    assert net.buffers() == [net.count]
    assert len(net.modules()) == 6  # itself and five; pair.1 is layers.0
    assert net.n_parameters == sum(p.size for p in net.parameters())


def test_a_module_may_point_back_at_its_parent():
    net = Net(generator())
    net.layers[1].parent = net
    assert [name for name, _ in net.named_parameters()] == NAMES
    net.load_state_dict(net.state_dict())


def scalar(value=0.0):
    return nn.Parameter(np.array(value, np.float32))


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"d": {"a.b": scalar(), "a": {"b": scalar()}}}, "d.a.b"),
        ({"d": {0: scalar(), "0": scalar()}}, "d.0"),
        ({"d": {"a.weight": scalar(), "a": nn.LayerNorm(2)}}, "d.a.weight"),
    ],
)
def test_two_parts_of_one_name_are_refused_before_a_weight_is_lost(attributes, name):
    net = nn.Module()
    vars(net).update(attributes)
    for walk in (net.state_dict, net.parameters):
        with pytest.raises(UsageError, match=f"{name}' is named as another part"):
            walk()


def test_a_name_that_no_checkpoint_takes_is_refused_early():
    net = nn.Module()
    net.d = {"a/b": scalar()}
    with pytest.raises(UsageError, match=r"'d\.a/b' has a \"/\""):
        net.parameters()


def test_a_list_may_hold_itself():
    net = nn.Module()
    net.entries = [scalar()]
    net.entries.append(net.entries)
    net.entries.append({"back": net.entries, "more": scalar()})
    assert [name for name, _ in net.named_parameters()] == ["entries.0", "entries.2.more"]


def test_a_module_below_itself_prints_once_and_loads_by_the_longer_name():
    net = nn.Module()
    net.child = nn.Sequential(nn.Linear(1, 2, bias=False, rng=generator()))
    net.child.parent = net
    assert [line.split()[0] for line in repr(net).splitlines()] == [
        "Module()",
        "child:",
        "0:",
        "parent:",
    ]
    net.load_state_dict({"child.parent.child.0.weight": np.full((2, 1), 5.0)})
    assert net.child[0].weight.tolist() == [[5.0], [5.0]]


def test_modules_shared_at_many_levels_are_no_more_work_than_their_number():
    net = leaf = nn.Linear(1, 1, bias=False, rng=generator())
    for _ in range(64):
        above = nn.Module()
        above.a = above.b = net
        net = above
    names = ".".join("ab"[i % 2] for i in range(64)) + ".weight"
    net.load_state_dict({names: np.full((1, 1), 7.0)})
    assert leaf.weight.tolist() == [[7.0]]
    assert len(repr(net).splitlines()) == 2 * 64 + 1
    with pytest.raises(CheckpointError, match="missing"):
        net.load_state_dict({names + "s": np.ones((1, 1))})


def test_a_state_dict_is_a_snapshot_and_loading_it_restores_every_bit():
    net, other = Net(generator(1)), Net(generator(2))
    state = net.state_dict()
    assert list(state) == [*NAMES, "count"]
    before = {name: array.copy() for name, array in state.items()}
    net.layers[0].weight.data[...] = 0
    assert all(np.array_equal(state[name], before[name]) for name in state)
    arrays = {name: p.data for name, p in other.named_parameters()}
    versions = [p.version for p in other.parameters()]
    other.load_state_dict(state)
    for name, p in other.named_parameters():
        assert np.array_equal(p.data, before[name])
        assert p.data is arrays[name]  # in place
    assert [p.version for p in other.parameters()] == [v + 1 for v in versions]


def test_loading_casts_floating_point_dtypes():
    net = Net(generator())
    state = {n: a.astype(np.float64) if n != "count" else a for n, a in net.state_dict().items()}
    net.load_state_dict(state)
    assert {p.dtype for p in net.parameters()} == {np.dtype("float32")}


def test_loading_lists_every_fault_at_once_and_changes_nothing():
    net = Net(generator())
    state = Net(generator(9)).state_dict()
    before = net.state_dict()
    del state["layers.1.bias"]
    state["by_name.scale"] = np.ones(5, np.float32)
    state["count"] = np.zeros((), np.float32)
    state["extra"] = np.zeros(2)
    with pytest.raises(CheckpointError) as error:
        net.load_state_dict(state)
    for part in (
        "missing layers.1.bias (4,)",
        "by_name.scale has shape (5,) where the model has (4,)",
        "count is float32 where the model has int64",
        "surplus extra (2,)",
    ):
        assert part in str(error.value)
    assert all(np.array_equal(a, before[name]) for name, a in net.state_dict().items())


def test_loading_leniently_leaves_out_missing_and_surplus_but_refuses_shapes():
    net = Net(generator())
    net.load_state_dict({"by_name.scale": np.full(4, 7.0), "extra": np.ones(1)}, strict=False)
    assert np.array_equal(net.by_name["scale"].data, np.full(4, 7.0))
    with pytest.raises(CheckpointError):
        net.load_state_dict({"by_name.scale": np.ones(3)}, strict=False)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.full(4, 1e300), "by_name.scale has numbers beyond float32"),
        ([[1.0], [1.0, 2.0]], "by_name.scale is no array"),
        (["a", "b", "c", "d"], "by_name.scale is <U1 where the model has float32"),
        (None, "by_name.scale has shape"),
    ],
)
def test_loading_refuses_what_the_dtype_cannot_hold_or_is_no_array(value, message):
    net = Net(generator())
    with pytest.raises(CheckpointError, match=message):
        net.load_state_dict({"by_name.scale": value}, strict=False)
    assert net.by_name["scale"].tolist() == [1.0] * 4


def test_loading_keeps_infinities_and_not_numbers_tied_or_not():
    net = Net(generator())
    weight = net.state_dict()["table.weight"]
    weight[0, :2] = np.nan, np.inf
    net.load_state_dict({"table.weight": weight, "head": weight.astype("float64")}, strict=False)
    assert np.array_equal(net.head.data, weight, equal_nan=True)


def test_parameters_are_made_of_what_tensors_are_made_of():
    assert nn.Parameter([1.0, 2.0]).dtype == np.float32
    assert nn.Parameter(3.0).shape == ()
    assert nn.Buffer([1, 2]).dtype == np.int64
    array = np.zeros(2)
    assert nn.Parameter(array).data is array
    with pytest.raises(ShapeError, match="equal lengths"):
        nn.Parameter([[1.0], [2.0, 3.0]])


def test_a_tied_parameter_may_be_loaded_by_any_of_its_names_if_they_agree():
    net = Net(generator())
    state = net.state_dict()
    state["head"] = state.pop("table.weight") + np.float32(1)
    net.load_state_dict(state)
    assert np.array_equal(net.table.weight.data, state["head"])
    with pytest.raises(CheckpointError, match=r"table\.weight differs from head"):
        net.load_state_dict({**state, "table.weight": -state["head"]})


def test_a_deep_copy_shares_nothing_and_keeps_the_ties():
    net = Net(generator())
    twin = copy.deepcopy(net)
    assert [name for name, _ in twin.named_parameters()] == NAMES
    assert twin.head is twin.table.weight
    assert twin.pair[1] is twin.layers[0]
    assert all(type(p) is nn.Parameter and p.requires_grad for p in twin.parameters())
    assert type(twin.count) is nn.Buffer
    twin.head.data[...] = 0
    assert net.head.data.any()
    ids = np.array([0, 2])
    twin.load_state_dict(net.state_dict())
    assert np.array_equal(net(ids).numpy(), twin(ids).numpy())  # the same dropout masks too


def test_train_and_eval_reach_every_module_and_inference_restores_each():
    net = Net(generator())
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    net.layers[1].eval()
    with net.inference():
        assert not any(m.training for m in net.modules())
        assert not net(np.array([1])).requires_grad
    assert [m.training for m in net.modules()] == [m is not net.layers[1] for m in net.modules()]


def test_to_converts_in_place_and_keeps_the_objects():
    net = Net(generator())
    parameters = net.parameters()
    net(np.array([0])).sum().backward()
    assert net.to(dtype="float64") is net
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    assert {p.dtype for p in parameters} == {np.dtype("float64")}
    assert all(p.requires_grad and p.grad is None for p in parameters)
    assert net.count.dtype == np.int64
    for wrong in ("int32", "float16", "bfloat16", "nope"):
        with pytest.raises(DtypeError, match=wrong):
            net.to(dtype=wrong)


def test_freeze_covers_a_module():
    net = Net(generator())
    with tg.freeze(net):
        assert all(m.frozen for m in net.modules())
        assert not net(np.array([1])).requires_grad
    assert not any(m.frozen for m in net.modules())
    assert all(p.requires_grad for p in net.parameters())


def test_hooks_see_and_may_replace_arguments_and_result():
    layer = nn.ReLU()
    seen = []
    x = tg.tensor([-1.0, 2.0])
    remove = [
        layer.register_forward_pre_hook(lambda module, args: seen.append(args)),
        layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,)),
        layer.register_forward_hook(lambda module, args, result: result * 10),
        layer.register_forward_hook(lambda module, args, result: seen.append(result)),
    ]
    assert layer(x).tolist() == [0.0, 30.0]
    assert seen[0][0] is x
    assert seen[1].tolist() == [0.0, 30.0]
    for function in remove:
        function()
    assert layer(x).tolist() == [0.0, 2.0]
    assert len(seen) == 2
    assert nn.ReLU.forward_hooks == ()  # the class is untouched


def test_a_pre_hook_may_give_the_only_argument_without_a_tuple():
    layer = nn.ReLU()
    layer.register_forward_pre_hook(lambda module, args: np.array([[-2.0, 3.0]]))
    assert layer(np.zeros((1, 2))).tolist() == [[0.0, 3.0]]


def test_each_registration_of_a_hook_is_one_of_its_own():
    layer = nn.ReLU()

    def double(module, args, result):
        return 2 * result

    first, second = (layer.register_forward_hook(double) for _ in range(2))
    assert layer(np.array([1.0])).tolist() == [4.0]
    first()
    first()
    assert layer(np.array([1.0])).tolist() == [2.0]
    second()
    assert layer(np.array([1.0])).tolist() == [1.0]


def test_a_module_that_serves_as_a_hook_is_no_part():
    class Probe(nn.Module):
        def __init__(self):
            self.w = scalar(3.0)

        def forward(self, module, args, result=None):
            return None if result is None else result * self.w

    layer = nn.ReLU()
    layer.register_forward_hook(Probe())
    layer.register_forward_pre_hook(Probe())
    assert layer(tg.tensor([2.0])).tolist() == [6.0]
    assert layer.parameters() == []
    assert len(layer.modules()) == 1


def test_a_trace_names_the_module_of_each_op():
    net = Net(generator())
    with tg.trace.record() as t:
        net(np.array([0, 1]))
    assert {"Net.table", "Net.layers.0", "Net.layers.1", "Net.by_name.norm"} <= {
        event.module for event in t.events
    }


def test_the_repr_shows_the_tree_with_parameter_counts():
    expected = """
Net()                                  64
  table: Embedding(3 x 4)              12
  layers.0: Linear(4 -> 4)             20
  layers.1: Linear(4 -> 4)             20
  by_name.norm: LayerNorm(4)            8
  by_name.scale: Parameter[4] float32   4
  pair.0: Dropout(p=0.5)
  pair.1: Linear(4 -> 4)               20
  count: Buffer[] int64
  head: Parameter[3, 4] float32        12
"""
    assert repr(Net(generator())) == expected.strip()
    assert "1,001,000" in repr(nn.Linear(1000, 1000, rng=generator()))


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module does not define forward"):
        nn.Module()(1)
