"""The architectures of the matrix, with what makes each of them tiny."""

from dataclasses import dataclass, field
from typing import Any

SIZES: dict[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


@dataclass(frozen=True)
class Architecture:
    """One row of the matrix.

    Attributes:
        own: settings of its configuration besides `SIZES`.
        model_type: name in transformers, where it differs from that of the row.
        model: settings of the study's model section.
    """

    own: dict[str, Any] = field(default_factory=dict)
    model_type: str = ""
    model: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of its configuration."""
        return SIZES | self.own


_HEAD: dict[str, Any] = {"head_dim": 16}
_ALL_HEADS: dict[str, Any] = {"num_key_value_heads": 4}
_WINDOW: dict[str, Any] = {"sliding_window": 8}
_EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "moe_num_experts": 4,
    "moe_k": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "num_dense_layers": 1,
}
_LATENT: dict[str, Any] = {
    "num_key_value_heads": 4,
    "q_lora_rank": 32,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
}
_DELTA: dict[str, Any] = {
    **_HEAD,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
}
_MAMBA: dict[str, Any] = {
    "mamba_d_ssm": 64,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_expand": 1,
    "mamba_chunk_size": 16,
}
_ENCODER: dict[str, Any] = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "decoder_start_token_id": 0,
}
_DYNAMIC: dict[str, Any] = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}


def _longrope(switch: int) -> dict[str, Any]:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 8,
        "long_factor": [4.0] * 8,
        "original_max_position_embeddings": switch,
    }
    return {"rope_parameters": rope, "original_max_position_embeddings": switch}


ARCHITECTURES: dict[str, Architecture] = {
    "apertus": Architecture(),
    "arcee": Architecture(),
    "bitnet": Architecture(),
    "cohere": Architecture(),
    "cohere2": Architecture(_HEAD | _WINDOW),
    "diffllama": Architecture(),
    "doge": Architecture(),
    "ernie4_5": Architecture(),
    "exaone4": Architecture(_WINDOW),
    "flint": Architecture(),
    "glm": Architecture(_HEAD),
    "glm4": Architecture(_HEAD),
    "gpt_bigcode": Architecture(),
    "gpt_neox": Architecture(_ALL_HEADS),
    "gpt_neox_japanese": Architecture(_ALL_HEADS),
    "granite": Architecture(),
    "granite_swa": Architecture(_WINDOW),
    "helium": Architecture(_HEAD),
    "hyperclovax": Architecture(),
    "internlm3": Architecture(),
    "jais2": Architecture(),
    "llama": Architecture(),
    "nanochat": Architecture(),
    "nemotron": Architecture(),
    "olmo": Architecture(),
    "olmo2": Architecture(),
    "olmo3": Architecture(_WINDOW),
    "opt": Architecture(_ALL_HEADS | {"ffn_dim": 96, "word_embed_proj_dim": 64}),
    "persimmon": Architecture(_ALL_HEADS),
    "phi": Architecture(),
    "qwen2": Architecture(),
    "seed_oss": Architecture(_HEAD),
    "smollm3": Architecture(),
    "stablelm": Architecture(),
    "starcoder2": Architecture(_WINDOW),
    "biogpt": Architecture(_ALL_HEADS),
    "bloom": Architecture(),
    "mpt": Architecture({"d_model": 64, "n_heads": 4, "n_layers": 2}),
    "xglm": Architecture({"d_model": 64, "ffn_dim": 96, "num_layers": 2, "attention_heads": 4}),
    "falcon": Architecture(),
    "codegen": Architecture({"n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8}),
    "mistral": Architecture(_WINDOW),
    "ministral3": Architecture(_HEAD),
    "iquestcoder": Architecture(),
    "hrm_text": Architecture(),
    "llama with tied embeddings": Architecture({"tie_word_embeddings": True}, model_type="llama"),
    "llama with dynamic rope": Architecture(_DYNAMIC, model_type="llama"),
    "falcon with alibi": Architecture({"alibi": True}, model_type="falcon"),
    "falcon, new decoder": Architecture(
        {"new_decoder_architecture": True, "num_kv_heads": 2}, model_type="falcon"
    ),
    "phi3": Architecture(),
    "phi3 with longrope": Architecture(_longrope(64), model_type="phi3"),
    "phi3 with longrope, exceeded": Architecture(_longrope(24), model_type="phi3"),
    "qwen3": Architecture(_HEAD),
    "gemma": Architecture(_HEAD),
    "gemma2": Architecture(_HEAD | _WINDOW),
    "gemma3_text": Architecture(_HEAD | _WINDOW),
    "gemma3n_text": Architecture(
        _HEAD
        | _WINDOW
        | {
            "layer_types": ["sliding_attention", "full_attention"],
            "hidden_size_per_layer_input": 16,
            "num_kv_shared_layers": 0,
            "vocab_size_per_layer_input": 160,
            "activation_sparsity_pattern": [0.0, 0.0],
            "laurel_rank": 8,
            "altup_num_inputs": 2,
        }
    ),
    "gemma4_text": Architecture(
        _HEAD
        | _WINDOW
        | {
            "global_head_dim": 32,
            "layer_types": ["sliding_attention", "full_attention"],
            "hidden_size_per_layer_input": 16,
            "vocab_size_per_layer_input": 160,
            "num_kv_shared_layers": 0,
        }
    ),
    "vaultgemma": Architecture(_HEAD | _WINDOW),
    "ministral": Architecture(_HEAD | _WINDOW),
    "hunyuan_v1_dense": Architecture(_HEAD),
    "cwm": Architecture(
        _HEAD | _WINDOW | {"bos_token_id": 2, "layer_types": ["sliding_attention", "full_attention"]}
    ),
    "modernbert-decoder": Architecture(
        _ALL_HEADS | {"bos_token_id": 2, "cls_token_id": 2, "sep_token_id": 1, "local_attention": 8}
    ),
    "gpt2": Architecture({"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}),
    "openai-gpt": Architecture({"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}),
    "gptj": Architecture({"rotary_dim": 8}),
    "gpt_neo": Architecture(
        {"num_layers": 2, "attention_types": [[["global", "local"], 1]], "window_size": 8}
    ),
    "ctrl": Architecture(_ALL_HEADS | {"n_embd": 64, "dff": 96}),
    "cpmant": Architecture(
        {"dim_head": 16, "dim_ff": 96, "prompt_types": 4, "prompt_length": 4, "segment_types": 4}
    ),
    "minicpm3": Architecture(_LATENT),
    "youtu": Architecture(_LATENT),
    "minicpm3 with widths of keys and values alike": Architecture(
        _LATENT | {"qk_nope_head_dim": 8}, model_type="minicpm3"
    ),
    "deepseek_v2": Architecture(_EXPERTS | _LATENT | {"topk_method": "greedy"}),
    "deepseek_v3": Architecture(_EXPERTS | _LATENT),
    "axk1": Architecture(_EXPERTS | _LATENT),
    "glm4_moe_lite": Architecture(_EXPERTS | _LATENT),
    "longcat_flash": Architecture(
        _EXPERTS
        | _LATENT
        | {
            "head_dim": 8,
            "ffn_hidden_size": 96,
            "expert_ffn_hidden_size": 32,
            "num_layers": 2,
            "zero_expert_num": 1,
        }
    ),
    "deepseek_v32": Architecture(
        _EXPERTS | _LATENT | {"index_n_heads": 4, "index_head_dim": 16, "index_topk": 8}
    ),
    "glm_moe_dsa": Architecture(
        _EXPERTS | _LATENT | {"index_n_heads": 4, "index_head_dim": 16, "index_topk": 8}
    ),
    "afmoe": Architecture(_EXPERTS | _WINDOW),
    "aria_text": Architecture(_EXPERTS),
    "dots1": Architecture(_EXPERTS | _HEAD | {"layer_types": ["full_attention"] * 2}),
    "ernie4_5_moe": Architecture(_EXPERTS),
    "exaone_moe": Architecture(_EXPERTS | _WINDOW),
    "flex_olmo": Architecture(_EXPERTS),
    "glm4_moe": Architecture(_EXPERTS | _HEAD),
    "granitemoe": Architecture(_EXPERTS),
    "granitemoeshared": Architecture(_EXPERTS),
    "granitemoe_swa": Architecture(_EXPERTS | _WINDOW),
    "gpt_oss": Architecture(_EXPERTS | _HEAD | _WINDOW),
    "hunyuan_v1_moe": Architecture(_EXPERTS | _HEAD),
    "jetmoe": Architecture(_EXPERTS | {"kv_channels": 16}),
    "mixtral": Architecture(_EXPERTS),
    "minimax_m2": Architecture(_EXPERTS | _HEAD),
    "olmoe": Architecture(_EXPERTS),
    "phimoe": Architecture(_EXPERTS),
    "qwen2_moe": Architecture(_EXPERTS),
    "qwen3_moe": Architecture(_EXPERTS | _HEAD),
    "solar_open": Architecture(_EXPERTS | _HEAD),
    "mellum": Architecture(_EXPERTS | _HEAD),
    "cohere2_moe": Architecture(_EXPERTS | _HEAD),
    "hy_v3": Architecture(_EXPERTS | _HEAD),
    "laguna": Architecture(_EXPERTS | _HEAD),
    "dbrx": Architecture(
        _EXPERTS
        | {
            "d_model": 64,
            "n_heads": 4,
            "n_layers": 2,
            "max_seq_len": 128,
            "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
            "ffn_config": {
                "ffn_hidden_size": 32,
                "moe_num_experts": 4,
                "moe_top_k": 2,
                "hidden_size": 64,
                "ffn_act_fn": {"name": "silu"},
            },
        }
    ),
    "llama4_text": Architecture(_EXPERTS | _HEAD | {"intermediate_size_mlp": 96, "attention_chunk_size": 16}),
    "mimo_v2_flash": Architecture(
        _EXPERTS | _HEAD | {"v_head_dim": 16, "swa_head_dim": 16, "swa_v_head_dim": 16}
    ),
    "qwen3_5_text": Architecture(_DELTA),
    "olmo_hybrid": Architecture(_DELTA),
    "qwen3_next": Architecture(_DELTA | _EXPERTS),
    "qwen3_5_moe_text": Architecture(_DELTA | _EXPERTS),
    "kimi_linear": Architecture(
        _LATENT
        | _EXPERTS
        | {
            "linear_attn_config": {
                "kda_layers": [1],
                "full_attn_layers": [2],
                "num_heads": 4,
                "head_dim": 16,
                "short_conv_kernel_size": 4,
            }
        }
    ),
    "bailing_hybrid": Architecture(
        _EXPERTS | _LATENT | {"layer_types": ["linear_attention", "full_attention"]}
    ),
    "minimax": Architecture(_EXPERTS | _HEAD | {"block_size": 8}),
    "lfm2": Architecture({"layer_types": ["conv", "full_attention"]}),
    "lfm2_moe": Architecture(_EXPERTS | {"layer_types": ["conv", "full_attention"]}),
    "lfm3": Architecture({"layer_types": ["conv", "full_attention"]}),
    "falcon_h1": Architecture(_MAMBA),
    "bamba": Architecture(_MAMBA | {"mamba_expand": 1, "attn_layer_indices": [1]}),
    "granitemoehybrid": Architecture(
        _MAMBA | _EXPERTS | {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 32}
    ),
    "granitemoehybrid without experts": Architecture(
        _MAMBA
        | {"layer_types": ["mamba", "attention"], "num_local_experts": 0, "shared_intermediate_size": 96},
        model_type="granitemoehybrid",
    ),
    "jamba": Architecture(
        _EXPERTS | {"mamba_d_state": 8, "mamba_dt_rank": 4, "attn_layer_period": 2, "attn_layer_offset": 1}
    ),
    "nemotron_h": Architecture(
        _EXPERTS
        | {
            "mamba_num_heads": 4,
            "mamba_head_dim": 16,
            "ssm_state_size": 8,
            "n_groups": 1,
            "chunk_size": 16,
            "head_dim": 16,
            "hybrid_override_pattern": "M*-M",
            "num_hidden_layers": 4,
        }
    ),
    "mamba": Architecture({"state_size": 8, "time_step_rank": 4, "intermediate_size": 128}),
    "mamba2": Architecture(
        {"state_size": 8, "num_heads": 8, "head_dim": 16, "n_groups": 1, "chunk_size": 16}
    ),
    "falcon_mamba": Architecture({"state_size": 8, "time_step_rank": 4}),
    "recurrent_gemma": Architecture(
        {"lru_width": 64, "block_types": ["recurrent", "attention"], "attention_window_size": 8}
    ),
    "rwkv": Architecture({"attention_hidden_size": 64}),
    "xlstm": Architecture({"num_heads": 4, "qk_dim_factor": 0.5, "v_dim_factor": 1.0}),
    "zamba": Architecture(
        _MAMBA
        | {
            "num_hidden_layers": 4,
            "n_mamba_heads": 2,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
            "layer_types": ["mamba", "hybrid", "mamba", "hybrid"],
        }
    ),
    "bert": Architecture(),
    "roberta": Architecture(),
    "electra": Architecture(),
    "camembert": Architecture(),
    "rembert": Architecture(),
    "roformer": Architecture(),
    "ernie": Architecture(),
    "xlm-roberta": Architecture(),
    "megatron-bert": Architecture(),
    "data2vec-text": Architecture(),
    "bert-generation": Architecture(),
    "big_bird": Architecture(),
    "bert as a decoder": Architecture({"is_decoder": True}, model_type="bert"),
    "roberta as a decoder": Architecture({"is_decoder": True}, model_type="roberta"),
    "bart": Architecture(_ENCODER),
    "pegasus": Architecture(_ENCODER),
    "whisper": Architecture(_ENCODER),
    "trocr": Architecture(_ENCODER),
    "xlm": Architecture({"emb_dim": 64, "n_layers": 2, "n_heads": 4}),
    "mamba, not quantised": Architecture(
        {"state_size": 8, "time_step_rank": 4, "intermediate_size": 128},
        model_type="mamba",
        model={"quantization": "none"},
    ),
    "rwkv without rescaled layers": Architecture(
        {"attention_hidden_size": 64, "rescale_every": 0}, model_type="rwkv"
    ),
    "longcat_flash, not quantised": Architecture(
        _EXPERTS
        | _LATENT
        | {
            "head_dim": 8,
            "ffn_hidden_size": 96,
            "expert_ffn_hidden_size": 32,
            "num_layers": 2,
            "zero_expert_num": 1,
        },
        model_type="longcat_flash",
        model={"quantization": "none"},
    ),
}
