from loratory.objectives.qlora.device_work import DevicePolicy


def asked(turns, **changes):
    given = {"waiting": 1, "training": 8, "ready": 8, "urgent": False}
    return turns.scores(**(given | changes))


def test_nothing_waits_where_decoding_together_is_no_faster():
    assert asked(DevicePolicy(gathers=False))
    assert not asked(DevicePolicy(gathers=False), waiting=0)


def test_copies_gather_until_half_of_the_trials_wait():
    turns = DevicePolicy(gathers=True)
    assert [asked(turns, waiting=count) for count in (1, 2, 3, 4)] == [False, False, False, True]


def test_once_begun_all_that_waits_is_scored():
    turns = DevicePolicy(gathers=True)
    assert asked(turns, waiting=4)
    assert asked(turns, waiting=1)
    assert not asked(turns, waiting=0)
    assert not asked(turns, waiting=1)


def test_there_is_no_waiting_for_more_where_nothing_trains_or_something_is_urgent():
    assert asked(DevicePolicy(gathers=True), ready=0)
    assert asked(DevicePolicy(gathers=True), urgent=True)


def test_a_copy_waits_for_so_many_passes_and_no_more():
    turns = DevicePolicy(gathers=True)
    for _ in range(15):
        turns.trained()
        assert not asked(turns)
    turns.trained()
    assert asked(turns)
    asked(turns, waiting=0)
    turns.trained()
    assert not asked(turns)
