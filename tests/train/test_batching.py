"""Steps hold every conversation once and depend on the effective batch only."""

from tinsmith.train.batching import epoch_steps


def test_every_conversation_once_in_steps_of_nearly_equal_size():
    steps = epoch_steps(203, 16, seed=3, epoch=0)
    assert sorted(index for step in steps for index in step) == list(range(203))
    assert {len(step) for step in steps} == {15, 16}


def test_order_follows_seed_and_epoch():
    first = epoch_steps(203, 16, seed=3, epoch=0)
    assert first == epoch_steps(203, 16, seed=3, epoch=0)
    assert first != epoch_steps(203, 16, seed=3, epoch=1)
    assert first != epoch_steps(203, 16, seed=4, epoch=0)


def test_every_epoch_puts_other_conversations_together():
    def together(epoch):
        return {frozenset(step) for step in epoch_steps(203, 16, seed=3, epoch=epoch)}

    assert not together(0) & together(1)
