import pytest
import torch

from loratory.objectives.packing.stack import FILE_PREFIX, AdapterStack, named

LAYERS = {"a.first": (12, 20), "b.second": (20, 7)}


def make(dtype=torch.float32, **options):
    given = {"slots": 3, "rank": 11, "device": torch.device("cpu"), "compute_dtype": dtype}
    return AdapterStack(LAYERS, **(given | options))


def state(rank, seed=0, layers=tuple(LAYERS)):
    generator = torch.Generator().manual_seed(seed)
    shapes = {}
    for layer in layers:
        inputs, outputs = LAYERS[layer]
        shapes |= {f"{layer}.lora_A": (rank, inputs), f"{layer}.lora_B": (outputs, rank)}
    return {f"{FILE_PREFIX}{n}.weight": torch.randn(s, generator=generator) for n, s in shapes.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("given", [state(11), state(3, layers=("b.second",))], ids=["whole", "part"])
def test_adapter_comes_back_as_it_went_in(dtype, given):
    stack = make(dtype)
    stack.put(1, given, scaling=0.5)
    taken = named(stack.compact(stack.master[1], given), given)
    assert taken.keys() == given.keys()
    assert all(torch.equal(taken[name], given[name]) for name in given)
    assert all(tensor.is_contiguous() for tensor in taken.values())
    taken[next(iter(taken))].zero_()  # a copy
    assert torch.equal(stack.master[1], stack.flatten(given))
    assert stack.scaling.flatten().tolist() == [1.0, 0.5, 1.0]
    assert not stack.master[0].any() and not stack.master[2].any()


def test_matrices_are_where_the_products_look_for_them():
    stack, given = make(), state(3)
    stack.put(2, given, scaling=1.0)
    assert stack.rank == 16
    for layer in LAYERS:
        a, b = stack.matrices(stack.compute, layer)
        assert torch.equal(a[2, :3], given[f"{FILE_PREFIX}{layer}.lora_A.weight"])
        assert torch.equal(b[2, :3].T, given[f"{FILE_PREFIX}{layer}.lora_B.weight"])
        assert not a[2, 3:].any() and not b[2, 3:].any()


@pytest.mark.parametrize(
    ("matrix", "shape"), [("lora_A", (17, 12)), ("lora_A", (4, 20)), ("lora_B", (20, 17))]
)
def test_a_matrix_for_which_there_is_no_room_is_refused(matrix, shape):
    stack, name = make(), f"{FILE_PREFIX}a.first.{matrix}.weight"
    with pytest.raises(ValueError, match=r"a rank of at most 16 and (12|20) features"):
        stack.put(0, {name: torch.ones(shape)}, scaling=1.0)
    assert not stack.master.any()


def test_a_row_of_another_length_or_with_gaps_is_refused():
    stack, given = make(), state(3)
    wide = torch.zeros(stack.parameters_per_slot, 2)
    for row in (stack.master[0][:100], wide[:, 0]):
        with pytest.raises(ValueError, match="without gaps"):
            stack.compact(row, given)


def test_passes_read_a_copy_in_the_compute_dtype_that_follows_when_it_is_refreshed():
    stack = make(torch.bfloat16)
    stack.put(0, state(4), scaling=1.0)
    assert (stack.master.dtype, stack.compute.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(stack.compute[0], stack.master[0].bfloat16())
    stack.master[0] *= 2
    assert not torch.equal(stack.compute[0], stack.master[0].bfloat16())
    stack.refresh(0)
    assert torch.equal(stack.compute[0], stack.master[0].bfloat16())
    stack.clear(0)
    assert not stack.master.any() and not stack.compute.any()


def test_layers_that_read_one_input_have_their_first_matrices_together():
    sizes = {"a.q_proj": (12, 20), "a.o_proj": (20, 12), "b.q_proj": (12, 20), "a.v_proj": (12, 4)}
    stack = AdapterStack(sizes, slots=2, rank=8, device=torch.device("cpu"), compute_dtype=torch.float32)
    stack.master.copy_(torch.arange(stack.master.numel()).view(2, -1))
    family = stack.family("a.v_proj")
    assert family.layers == ("a.q_proj", "a.v_proj") and stack.family("a.q_proj") == family
    first, last = (stack.matrices(stack.master, name)[0] for name in family.layers)
    assert torch.equal(stack.shared_matrix(stack.master, family), torch.cat([first, last], dim=1))
    for name in sizes:
        own = stack.shared_matrix(stack.master, stack.alone(name))
        assert torch.equal(own, stack.matrices(stack.master, name)[0])
    places = torch.cat([m.flatten(1) for name in sizes for m in stack.matrices(stack.master, name)], dim=1)
    assert torch.equal(places.sort().values, stack.master)  # every place is one matrix' own


@pytest.mark.parametrize(
    ("dtype", "master"), [(torch.float32, torch.float32), (torch.float64, torch.float64)]
)
def test_one_tensor_serves_where_the_formats_are_equal(dtype, master):
    stack = make(dtype)
    assert stack.master.dtype is master and stack.compute is stack.master
    assert make(dtype, trains=False).compute.dtype is dtype


def test_copy_is_what_passes_of_the_other_stack_read():
    trained, copies = make(torch.bfloat16), make(torch.bfloat16, trains=False, slots=2)
    trained.put(2, state(5), scaling=3.0)
    copies.copy(1, trained, 2)
    assert copies.master is copies.compute and copies.compute.dtype is torch.bfloat16
    assert torch.equal(copies.compute[1], trained.compute[2])
    assert copies.scaling.flatten().tolist() == [1.0, 3.0]
    trained.clear(2)
    assert copies.compute[1].any()


def test_moments_in_another_format_are_kept_as_the_adapter_has_it():
    stack, like = make(torch.float64), state(5)
    row = torch.randn(stack.parameters_per_slot, dtype=torch.float64)
    assert {tensor.dtype for tensor in named(stack.compact(row, like), like).values()} == {torch.float32}
