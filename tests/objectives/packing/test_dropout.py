import torch

from loratory.objectives.qlora.dropout import drop, keep_mask, levels, token_keys


def keys(**changes):
    given = {"seed": 3, "step": 7, "position": 2, "tokens": 64} | changes
    return torch.from_numpy(token_keys(**given)).unsqueeze(0)


def thresholds(*probabilities):
    return torch.tensor([levels(p) for p in probabilities], dtype=torch.int32)


def test_share_of_dropped_numbers_is_the_probability_and_the_mean_stays():
    for probability in (0.0, 0.05, 0.5, 0.9):
        dropped = drop(torch.ones(1, 256, 999), keys(tokens=256), thresholds(probability), salt=11)
        assert abs((dropped == 0).double().mean() - probability) < 0.005
        assert abs(dropped.double().mean() - 1) < 0.02


def test_mask_of_a_token_depends_on_seed_step_position_and_layer_only():
    mask = keep_mask(keys(), thresholds(0.5), features=128, salt=11)
    longer = keep_mask(keys(tokens=80), thresholds(0.5), features=128, salt=11)
    assert torch.equal(mask, longer[:, :64])
    for other in ({"seed": 4}, {"step": 8}, {"position": 3}):
        share = (keep_mask(keys(**other), thresholds(0.5), features=128, salt=11) == mask).double().mean()
        assert abs(share - 0.5) < 0.03
    other_layer = keep_mask(keys(), thresholds(0.5), features=128, salt=12)
    assert abs((other_layer == mask).double().mean() - 0.5) < 0.03


def test_neighbouring_features_and_tokens_are_independent():
    mask = keep_mask(keys(tokens=512), thresholds(0.5), features=512, salt=5)[0].double() - 0.5
    for left, right in ((mask[:, 1:], mask[:, :-1]), (mask[1:], mask[:-1])):
        assert abs((left * right).mean() * 4) < 0.01


def test_both_ways_to_compute_the_mask_agree_for_every_lane_and_odd_sizes():
    both = torch.cat([keys(), keys(seed=9)])
    limits = thresholds(0.3, 0.0)
    x = torch.randn(2, 64, 33, dtype=torch.float64)
    expected = x * keep_mask(both, limits, features=33, salt=8)
    expected[0] /= 1 - levels(0.3) / 65536
    assert torch.allclose(drop(x, both, limits, salt=8), expected, rtol=1e-14)
