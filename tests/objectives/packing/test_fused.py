import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from loratory.objectives.packing.fused import fuse
from loratory.objectives.packing.kernels import dry
from loratory.objectives.qlora.base.loading import checkpoint_activations

LAYERS = 3


@pytest.fixture
def model():
    """A fused model on the meta device, where fused functions are the twins that only allocate."""
    config = AutoConfig.for_model(
        "llama",
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=64,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    fuse(model)
    return model


def test_a_layer_is_fused_while_it_does_not_checkpoint(model, monkeypatch):
    fused, own = [], dry.add_rms_norm
    monkeypatch.setattr(dry, "add_rms_norm", lambda *given: fused.append(1) or own(*given))
    x, angles = (torch.zeros(1, 8, size, device="meta") for size in (32, 8))
    counts = []
    for enabled in (None, True, False, True):
        if enabled is not None:
            checkpoint_activations(model, enabled=enabled)
        fused.clear()
        for layer in model.model.layers:
            assert layer(x, position_embeddings=(angles, angles)).shape == (1, 8, 32)
        counts.append(len(fused))
    assert counts == [LAYERS, 0, LAYERS, 0]
