import bitsandbytes
import pytest
import torch

from loratory.objectives.qlora.base.loading import choose_dtype, load_base
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.spaces.model import ComputeDtype


@pytest.fixture(scope="module")
def base(make_study):
    model = make_study().model
    return load_base(model, resolve_base(model))


def test_linear_layers_are_nf4_with_double_quantisation_and_the_head_is_not(base):
    quantized = {
        name: module
        for name, module in base.model.named_modules()
        if isinstance(module, bitsandbytes.nn.Linear4bit)
    }
    assert len(quantized) == 2 * 7
    assert all(module.weight.quant_type == "nf4" for module in quantized.values())
    assert all(module.weight.quant_state.nested for module in quantized.values())
    assert not isinstance(base.model.lm_head, bitsandbytes.nn.Linear4bit)


def test_base_is_frozen_and_never_repacked(base):
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    layers = [m for m in base.model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)


def test_double_quantisation_can_be_turned_off(make_study):
    model = make_study(model={"double_quantization": False}).model
    plain = load_base(model, resolve_base(model))
    assert not plain.model.model.layers[0].self_attn.q_proj.weight.quant_state.nested


def test_decoding_settings_of_the_base_are_replaced_and_its_ends_kept(
    base_folder, make_study, tokenizer, tmp_path
):
    import shutil

    from transformers import GenerationConfig

    folder = tmp_path / "base"
    shutil.copytree(base_folder(), folder)
    end = tokenizer.eos_token_id
    GenerationConfig(
        do_sample=True, temperature=0.3, repetition_penalty=1.7, eos_token_id=[end, 9]
    ).save_pretrained(folder)
    model = make_study(model={"base": str(folder)}).model
    base = load_base(model, resolve_base(model))
    assert base.end_ids == (end, 9)
    assert base.model.generation_config.repetition_penalty is None
    assert not base.model.generation_config.do_sample


@pytest.mark.parametrize(("added", "padding"), [(True, 1), (False, 0)])
def test_padding_is_a_token_that_the_base_has_a_row_for(base_folder, make_study, tmp_path, added, padding):
    import shutil

    from transformers import AutoTokenizer

    folder = tmp_path / "base"
    shutil.copytree(base_folder(), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 0)
    if added:  # to the tokenizer alone, as many fine-tuning scripts do
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
        tokenizer.save_pretrained(folder)
    model = make_study(model={"base": str(folder)}).model
    base = load_base(model, resolve_base(model))
    assert base.padding_id == base.model.generation_config.pad_token_id == padding


def test_compute_dtype_is_chosen_by_the_device():
    cpu = torch.device("cpu")
    assert choose_dtype(ComputeDtype.AUTO, cpu) is torch.float32
    assert choose_dtype(ComputeDtype.BF16, cpu) is torch.bfloat16
    assert choose_dtype(ComputeDtype.FP16, cpu) is torch.float16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: loading on it is NOT tested")
def test_gpu_takes_the_base_in_half_precision(base):
    assert base.device.type == "cuda"
    assert base.compute_dtype in (torch.bfloat16, torch.float16)
