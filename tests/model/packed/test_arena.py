"""The arena places tensors end to end without overlap, and a reset starts over at the same addresses."""

import torch

from tinsmith.model.packed.arena import Arena


def test_tensors_do_not_overlap():
    arena = Arena(torch.device("cpu"))
    tensors = [arena.allocate((rows, 7), dtype) for rows in (1, 3, 64) for dtype in (torch.bfloat16, torch.float32)]
    for number, tensor in enumerate(tensors):
        tensor.fill_(number)
    assert [tensor.unique().tolist() for tensor in tensors] == [[number] for number in range(6)]
    assert all(tensor.data_ptr() % 64 == 0 and tensor.is_contiguous() for tensor in tensors)


def test_reset_gives_the_same_addresses_again():
    arena = Arena(torch.device("cpu"))
    first = [arena.allocate((5, 3), torch.float32).data_ptr() for _ in range(4)]
    arena.reset()
    assert [arena.allocate((5, 3), torch.float32).data_ptr() for _ in range(4)] == first


def test_a_full_block_is_followed_by_another_and_all_are_reused(monkeypatch):
    monkeypatch.setattr("tinsmith.model.packed.arena._BLOCK_BYTES", 1024)
    arena = Arena(torch.device("cpu"))
    sizes = [(100,), (200,), (1000,), (10,)]  # the third is larger than a block
    for _ in range(3):
        tensors = [arena.allocate(size, torch.float32) for size in sizes]
        for number, tensor in enumerate(tensors):
            tensor.fill_(number)
        assert [tensor[0].item() for tensor in tensors] == [0, 1, 2, 3]
        assert arena.size_bytes == 1024 + 1024 + 4000 + 1024
        arena.reset()


def test_tensors_can_be_saved_by_one_pass_and_overwritten_by_the_next():
    arena = Arena(torch.device("cpu"))
    weight = torch.ones(3, requires_grad=True)
    for value in (2.0, 5.0):
        arena.reset()
        kept = arena.allocate((3,), torch.float32).fill_(value)
        (gradient,) = torch.autograd.grad((weight * kept).sum(), weight)
        assert gradient.tolist() == [value] * 3
