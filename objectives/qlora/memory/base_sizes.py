"""Sizes of well-known bases: the fields of their published config.json that say how large they are.

From the config.json of each release on the Hugging Face Hub, without what does not change sizes (dropout,
initialisation, token ids). A test builds each base and counts its parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Fields = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class KnownBase:
    """Releases that share sizes.

    Attributes:
        owner: who publishes them on the Hub.
        names: their names, without the owner.
        parameters: number of parameters, tied ones once.
        fields: of config.json, `model_type` among them.
    """

    owner: str
    names: tuple[str, ...]
    parameters: int
    fields: Fields


def _sizes(width: int, inner: int, layers: int, heads: int, key_heads: int, **others: Any) -> Fields:
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        **others,
    }


def _family(owner: str, common: Fields, *rows: tuple[str, int, Fields]) -> tuple[KnownBase, ...]:
    return tuple(
        KnownBase(owner=owner, names=tuple(names.split()), parameters=parameters, fields={**common, **fields})
        for names, parameters, fields in rows
    )


_LLAMA_2 = {"model_type": "llama", "vocab_size": 32000, "max_position_embeddings": 4096}
_LLAMA_3 = {"model_type": "llama", "vocab_size": 128256, "max_position_embeddings": 131072}
_SMALL_3 = {**_LLAMA_3, "tie_word_embeddings": True}
_SMOL_2 = {
    "model_type": "llama",
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
_MISTRAL = {
    "model_type": "mistral",
    "vocab_size": 32768,
    "max_position_embeddings": 32768,
    "sliding_window": None,
}
_MISTRAL_131K = {
    **_MISTRAL,
    "vocab_size": 131072,
    "head_dim": 128,
    "max_position_embeddings": 131072,
}
_QWEN_25 = {"model_type": "qwen2", "vocab_size": 152064, "max_position_embeddings": 32768}
_SMALL_QWEN_25 = {**_QWEN_25, "vocab_size": 151936, "tie_word_embeddings": True}
_QWEN_3 = {"model_type": "qwen3", "vocab_size": 151936, "head_dim": 128, "max_position_embeddings": 40960}
_SMALL_QWEN_3 = {**_QWEN_3, "tie_word_embeddings": True}
_GEMMA_2 = {"model_type": "gemma2", "vocab_size": 256000, "max_position_embeddings": 8192}
_GEMMA_3_TEXT = {"model_type": "gemma3_text", "vocab_size": 262144, "max_position_embeddings": 32768}
_PHI = {"model_type": "phi3", "vocab_size": 32064, "max_position_embeddings": 4096, "pad_token_id": 0}
_OLMO_2 = {"model_type": "olmo2", "vocab_size": 100352, "max_position_embeddings": 4096}
_GRANITE_3 = {
    "model_type": "granite",
    "vocab_size": 49155,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
}


def _gemma_3(text: Fields) -> Fields:
    """Return the fields of a Gemma 3 with a tower for images."""
    tower = {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 896,
        "vision_use_head": False,
    }
    common = {"model_type": "gemma3_text", "vocab_size": 262208, "max_position_embeddings": 131072}
    return {
        "model_type": "gemma3",
        "architectures": ["Gemma3ForConditionalGeneration"],
        "mm_tokens_per_image": 256,
        "text_config": {**common, **text},
        "vision_config": tower,
    }


KNOWN_BASES: tuple[KnownBase, ...] = (
    *_family(
        "meta-llama",
        _LLAMA_2,
        ("Llama-2-7b-hf Llama-2-7b-chat-hf", 6_738_415_616, _sizes(4096, 11008, 32, 32, 32)),
        ("Llama-2-13b-hf Llama-2-13b-chat-hf", 13_015_864_320, _sizes(5120, 13824, 40, 40, 40)),
        ("Llama-2-70b-hf Llama-2-70b-chat-hf", 68_976_648_192, _sizes(8192, 28672, 80, 64, 8)),
    ),
    *_family(
        "meta-llama",
        _LLAMA_3,
        (
            "Llama-3.1-8B Llama-3.1-8B-Instruct Meta-Llama-3.1-8B Meta-Llama-3.1-8B-Instruct",
            8_030_261_248,
            _sizes(4096, 14336, 32, 32, 8),
        ),
        (
            "Meta-Llama-3-8B Meta-Llama-3-8B-Instruct Llama-3-8B Llama-3-8B-Instruct",
            8_030_261_248,
            _sizes(4096, 14336, 32, 32, 8, max_position_embeddings=8192),
        ),
        (
            "Llama-3.1-70B Llama-3.1-70B-Instruct Llama-3.3-70B-Instruct",
            70_553_706_496,
            _sizes(8192, 28672, 80, 64, 8),
        ),
        (
            "Meta-Llama-3-70B Meta-Llama-3-70B-Instruct",
            70_553_706_496,
            _sizes(8192, 28672, 80, 64, 8, max_position_embeddings=8192),
        ),
    ),
    *_family(
        "meta-llama",
        _SMALL_3,
        ("Llama-3.2-1B Llama-3.2-1B-Instruct", 1_235_814_400, _sizes(2048, 8192, 16, 32, 8, head_dim=64)),
        ("Llama-3.2-3B Llama-3.2-3B-Instruct", 3_212_749_824, _sizes(3072, 8192, 28, 24, 8, head_dim=128)),
    ),
    *_family(
        "deepseek-ai",
        _LLAMA_3,
        ("DeepSeek-R1-Distill-Llama-8B", 8_030_261_248, _sizes(4096, 14336, 32, 32, 8)),
        ("DeepSeek-R1-Distill-Llama-70B", 70_553_706_496, _sizes(8192, 28672, 80, 64, 8)),
    ),
    *_family(
        "deepseek-ai",
        {**_QWEN_25, "max_position_embeddings": 131072},
        ("DeepSeek-R1-Distill-Qwen-1.5B", 1_777_088_000, _sizes(1536, 8960, 28, 12, 2, vocab_size=151936)),
        ("DeepSeek-R1-Distill-Qwen-7B", 7_615_616_512, _sizes(3584, 18944, 28, 28, 4)),
        ("DeepSeek-R1-Distill-Qwen-14B", 14_770_033_664, _sizes(5120, 13824, 48, 40, 8)),
        ("DeepSeek-R1-Distill-Qwen-32B", 32_763_876_352, _sizes(5120, 27648, 64, 40, 8)),
    ),
    *_family(
        "TinyLlama",
        {**_LLAMA_2, "max_position_embeddings": 2048},
        (
            "TinyLlama-1.1B-Chat-v1.0 TinyLlama-1.1B-intermediate-step-1431k-3T",
            1_100_048_384,
            _sizes(2048, 5632, 22, 32, 4),
        ),
    ),
    *_family(
        "HuggingFaceTB",
        _SMOL_2,
        ("SmolLM2-135M SmolLM2-135M-Instruct", 134_515_008, _sizes(576, 1536, 30, 9, 3)),
        ("SmolLM2-360M SmolLM2-360M-Instruct", 361_821_120, _sizes(960, 2560, 32, 15, 5)),
        ("SmolLM2-1.7B SmolLM2-1.7B-Instruct", 1_711_376_384, _sizes(2048, 8192, 24, 32, 32)),
    ),
    *_family(
        "HuggingFaceTB",
        {**_SMALL_3, "model_type": "smollm3", "max_position_embeddings": 65536},
        ("SmolLM3-3B SmolLM3-3B-Base", 3_075_098_624, _sizes(2048, 11008, 36, 16, 4)),
    ),
    *_family(
        "mistralai",
        _MISTRAL,
        (
            "Mistral-7B-v0.3 Mistral-7B-Instruct-v0.3",
            7_248_023_552,
            _sizes(4096, 14336, 32, 32, 8),
        ),
        (
            "Mistral-7B-Instruct-v0.2",
            7_241_732_096,
            _sizes(4096, 14336, 32, 32, 8, vocab_size=32000),
        ),
        (
            "Mistral-7B-v0.1 Mistral-7B-Instruct-v0.1",
            7_241_732_096,
            _sizes(4096, 14336, 32, 32, 8, vocab_size=32000, sliding_window=4096),
        ),
    ),
    *_family(
        "mistralai",
        _MISTRAL_131K,
        ("Ministral-8B-Instruct-2410", 8_019_808_256, _sizes(4096, 12288, 36, 32, 8)),
        (
            "Mistral-Nemo-Base-2407 Mistral-Nemo-Instruct-2407",
            12_247_782_400,
            _sizes(5120, 14336, 40, 32, 8),
        ),
        (
            "Mistral-Small-24B-Base-2501 Mistral-Small-24B-Instruct-2501",
            23_572_403_200,
            _sizes(5120, 32768, 40, 32, 8),
        ),
    ),
    *_family(
        "Qwen",
        _SMALL_QWEN_25,
        (
            "Qwen2.5-0.5B Qwen2.5-0.5B-Instruct Qwen2.5-Coder-0.5B",
            494_032_768,
            _sizes(896, 4864, 24, 14, 2),
        ),
        (
            "Qwen2.5-1.5B Qwen2.5-1.5B-Instruct Qwen2.5-Coder-1.5B Qwen2.5-Coder-1.5B-Instruct",
            1_543_714_304,
            _sizes(1536, 8960, 28, 12, 2),
        ),
        (
            "Qwen2.5-3B Qwen2.5-3B-Instruct Qwen2.5-Coder-3B Qwen2.5-Coder-3B-Instruct",
            3_085_938_688,
            _sizes(2048, 11008, 36, 16, 2),
        ),
    ),
    *_family(
        "Qwen",
        _QWEN_25,
        (
            "Qwen2.5-7B Qwen2.5-7B-Instruct Qwen2.5-Coder-7B Qwen2.5-Coder-7B-Instruct Qwen2.5-Math-7B",
            7_615_616_512,
            _sizes(3584, 18944, 28, 28, 4),
        ),
        (
            "Qwen2.5-14B Qwen2.5-14B-Instruct Qwen2.5-Coder-14B Qwen2.5-Coder-14B-Instruct",
            14_770_033_664,
            _sizes(5120, 13824, 48, 40, 8),
        ),
        (
            "Qwen2.5-32B Qwen2.5-32B-Instruct Qwen2.5-Coder-32B Qwen2.5-Coder-32B-Instruct",
            32_763_876_352,
            _sizes(5120, 27648, 64, 40, 8),
        ),
        ("Qwen2.5-72B Qwen2.5-72B-Instruct", 72_706_203_648, _sizes(8192, 29568, 80, 64, 8)),
    ),
    *_family(
        "Qwen",
        _SMALL_QWEN_3,
        ("Qwen3-0.6B Qwen3-0.6B-Base", 596_049_920, _sizes(1024, 3072, 28, 16, 8)),
        ("Qwen3-1.7B Qwen3-1.7B-Base", 1_720_574_976, _sizes(2048, 6144, 28, 16, 8)),
        (
            "Qwen3-4B Qwen3-4B-Base Qwen3-4B-Instruct-2507 Qwen3-4B-Thinking-2507",
            4_022_468_096,
            _sizes(2560, 9728, 36, 32, 8),
        ),
    ),
    *_family(
        "Qwen",
        _QWEN_3,
        ("Qwen3-8B Qwen3-8B-Base", 8_190_735_360, _sizes(4096, 12288, 36, 32, 8)),
        ("Qwen3-14B Qwen3-14B-Base", 14_768_307_200, _sizes(5120, 17408, 40, 40, 8)),
        ("Qwen3-32B", 32_762_123_264, _sizes(5120, 25600, 64, 64, 8)),
    ),
    *_family(
        "google",
        _GEMMA_2,
        ("gemma-2-2b gemma-2-2b-it", 2_614_341_888, _sizes(2304, 9216, 26, 8, 4, head_dim=256)),
        ("gemma-2-9b gemma-2-9b-it", 9_241_705_984, _sizes(3584, 14336, 42, 16, 8, head_dim=256)),
        ("gemma-2-27b gemma-2-27b-it", 27_227_128_320, _sizes(4608, 36864, 46, 32, 16, head_dim=128)),
    ),
    *_family(
        "google",
        _GEMMA_3_TEXT,
        ("gemma-3-270m gemma-3-270m-it", 268_098_176, _sizes(640, 2048, 18, 4, 1, head_dim=256)),
        ("gemma-3-1b-pt gemma-3-1b-it", 999_885_952, _sizes(1152, 6912, 26, 4, 1, head_dim=256)),
    ),
    *_family(
        "google",
        {},
        (
            "gemma-3-4b-pt gemma-3-4b-it",
            4_300_079_472,
            _gemma_3(_sizes(2560, 10240, 34, 8, 4, head_dim=256)),
        ),
        (
            "gemma-3-12b-pt gemma-3-12b-it",
            12_187_325_040,
            _gemma_3(_sizes(3840, 15360, 48, 16, 8, head_dim=256)),
        ),
        (
            "gemma-3-27b-pt gemma-3-27b-it",
            27_432_406_640,
            _gemma_3(_sizes(5376, 21504, 62, 32, 16, head_dim=128)),
        ),
    ),
    *_family(
        "microsoft",
        _PHI,
        ("Phi-3-mini-4k-instruct", 3_821_079_552, _sizes(3072, 8192, 32, 32, 32)),
        ("Phi-3-medium-4k-instruct", 13_960_238_080, _sizes(5120, 17920, 40, 40, 10)),
        (
            "phi-4",
            14_659_507_200,
            _sizes(5120, 17920, 40, 40, 10, vocab_size=100352, max_position_embeddings=16384),
        ),
        (
            "Phi-4-mini-instruct",
            3_836_021_760,
            _sizes(
                3072,
                8192,
                32,
                24,
                8,
                vocab_size=200064,
                max_position_embeddings=131072,
                tie_word_embeddings=True,
            ),
        ),
    ),
    *_family(
        "allenai",
        _OLMO_2,
        ("OLMo-2-0425-1B OLMo-2-0425-1B-Instruct", 1_484_916_736, _sizes(2048, 8192, 16, 16, 16)),
        ("OLMo-2-1124-7B OLMo-2-1124-7B-Instruct", 7_298_617_344, _sizes(4096, 11008, 32, 32, 32)),
        ("OLMo-2-1124-13B OLMo-2-1124-13B-Instruct", 13_716_198_400, _sizes(5120, 13824, 40, 40, 40)),
        ("OLMo-2-0325-32B OLMo-2-0325-32B-Instruct", 32_234_279_936, _sizes(5120, 27648, 64, 40, 8)),
    ),
    *_family(
        "ibm-granite",
        _GRANITE_3,
        (
            "granite-3.1-2b-base granite-3.1-2b-instruct granite-3.2-2b-instruct",
            2_533_531_648,
            _sizes(2048, 8192, 40, 32, 8),
        ),
        (
            "granite-3.1-8b-base granite-3.1-8b-instruct granite-3.2-8b-instruct",
            8_170_848_256,
            _sizes(4096, 12800, 40, 32, 8),
        ),
        (
            "granite-3.3-2b-base granite-3.3-2b-instruct",
            2_533_539_840,
            _sizes(2048, 8192, 40, 32, 8, vocab_size=49159),
        ),
        (
            "granite-3.3-8b-base granite-3.3-8b-instruct",
            8_170_864_640,
            _sizes(4096, 12800, 40, 32, 8, vocab_size=49159),
        ),
    ),
)
"""The table."""
