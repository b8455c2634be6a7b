import numpy as np
import torch

from loratory.objectives.packing.dropout import (
    Dropout,
    DropoutKeys,
    keep_mask,
    levels,
    stable_hash,
    token_keys,
)


def keys(**changes):
    given = {"seed": 3, "step": 7, "position": 2, "tokens": 64} | changes
    return torch.from_numpy(token_keys(**given))


def thresholds(*probabilities):
    return torch.tensor([levels(p) for p in probabilities], dtype=torch.int32)


def mask(salt=11, **changes):
    return keep_mask(keys(**changes).unsqueeze(0), thresholds(0.5), features=128, salt=salt)[0]


def test_share_of_dropped_numbers_is_the_probability_and_the_mean_stays():
    probabilities = (0.0, 0.05, 0.5, 0.9)
    made = Dropout(DropoutKeys(tokens=keys(tokens=256), thresholds=thresholds(*probabilities)), salt=11)
    for slot, probability in enumerate(probabilities):
        dropped = made.drop(torch.ones(256, 999), slot, 0)
        assert abs((dropped == 0).double().mean() - probability) < 0.005
        assert abs(dropped.double().mean() - 1) < 0.02


def test_mask_of_a_token_depends_on_seed_step_position_and_layer_only():
    assert torch.equal(mask(), mask(tokens=80)[:64])
    for other in ({"seed": 4}, {"step": 8}, {"position": 3}, {"salt": 12}):
        assert abs((mask(**other) == mask()).double().mean() - 0.5) < 0.03


def test_neighbouring_features_and_tokens_are_independent():
    kept = keep_mask(keys(tokens=512).unsqueeze(0), thresholds(0.5), features=512, salt=5)[0].double() - 0.5
    for left, right in ((kept[:, 1:], kept[:, :-1]), (kept[1:], kept[:-1])):
        assert abs((left * right).mean() * 4) < 0.01


def test_both_ways_to_compute_the_mask_agree_for_odd_sizes_anywhere_in_a_pass():
    given = DropoutKeys(tokens=keys(tokens=90), thresholds=thresholds(0.3, 0.0, 0.99))
    x = torch.randn(40, 33, dtype=torch.float64)
    for slot, probability in enumerate((0.3, 0.0, 0.99)):
        part, limit = given.tokens[50:].unsqueeze(0), given.thresholds[slot : slot + 1]
        expected = x * keep_mask(part, limit, features=33, salt=8)[0] / (1 - levels(probability) / 65536)
        torch.testing.assert_close(Dropout(given, 8).drop(x, slot, 50), expected, rtol=1e-14, atol=0)


def test_what_is_dropped_is_zero_even_if_it_was_no_number():
    given = DropoutKeys(tokens=keys(), thresholds=thresholds(0.5))
    dropped = Dropout(given, 11).drop(torch.full((64, 128), torch.nan), 0, 0)
    assert torch.equal(dropped.isnan(), mask())


def test_hashes_are_the_same_in_every_process():
    # Written down: a resumed trial must draw the masks that it would have drawn.
    assert stable_hash("layer", 3) == 3540133072
    keys = token_keys(seed=1, step=2, position=3, tokens=3)
    np.testing.assert_array_equal(keys, [1381534230, -1348144813, -599776374])
