import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from loratory.objectives.data.encoding import Encoder
from loratory.objectives.data.rendering import choose_renderer
from loratory.objectives.data.rows import Ledger, Part, RawRow, Role, Row, Turn
from loratory.spaces.errors import InputError


def _row(prompt, answer, role=Role.USER):
    raw = RawRow(file="a.jsonl", number=1, fields={"prompt": prompt, "completion": answer})
    return Row(raw=raw, turns=(Turn(role, prompt),), answer=answer, group=None)


def _encode(tokenizer, *rows):
    ledger = Ledger()
    return Encoder(tokenizer, choose_renderer(tokenizer, None)).encode(rows, Part.TRAIN, ledger), ledger


def test_the_loss_is_on_the_answer_and_one_end_of_sequence(tokenizer):
    (example,), _ = _encode(tokenizer, _row("Name it", "the river"))
    assert (
        tokenizer.decode(example.prompt_ids)
        == "### Instruction:\nName it\n\n### Response:\n"
        == example.prompt
    )
    assert tokenizer.decode(example.answer_ids) == "the river</s>"
    assert example.answer_ids.count(tokenizer.eos_token_id) == 1
    assert example.reference == "the river"
    assert list(example.prompt_ids + example.answer_ids[:-1]) == tokenizer.encode(
        example.prompt + "the river"
    )


def test_with_a_chat_template(chat_tokenizer):
    (example,), _ = _encode(chat_tokenizer, _row("Name it", "the river"))
    generation = chat_tokenizer.apply_chat_template(
        [{"role": "user", "content": "Name it"}], add_generation_prompt=True, return_dict=False
    )
    assert list(example.prompt_ids) == generation
    assert chat_tokenizer.decode(example.answer_ids) == "the river<|im_end|>"


def test_an_end_of_turn_that_is_not_end_of_sequence_is_learned_before_it(make_tokenizer, chat_tokenizer):
    tokenizer = make_tokenizer(chat_tokenizer.chat_template, eos="</s>")
    (example,), _ = _encode(tokenizer, _row("Name it", "the river"))
    assert tokenizer.decode(example.answer_ids) == "the river<|im_end|></s>"
    assert tokenizer.decode(example.answer_ids, skip_special_tokens=True) == "the river"


@pytest.mark.parametrize("prompt", ["Name it", "<s>Name it"])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_beginning_of_sequence_at_most_once(make_tokenizer, prompt, adds_bos):
    tokenizer = make_tokenizer(adds_bos=adds_bos)
    (example,), _ = _encode(tokenizer, _row(prompt, "x", role=Role.PROMPT))
    expected = adds_bos or prompt.startswith("<s>")
    assert example.prompt_ids.count(tokenizer.bos_token_id) == expected
    assert tokenizer.eos_token_id not in example.prompt_ids  # this tokenizer closes prompts too


def test_a_chat_template_alone_decides_on_beginning_of_sequence(make_tokenizer):
    template = "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}"
    tokenizer = make_tokenizer(template, adds_bos=True)
    (example,), _ = _encode(tokenizer, _row("Name it", "x"))
    assert example.prompt_ids.count(tokenizer.bos_token_id) == 1


def test_an_answer_that_closes_itself_is_closed_once(tokenizer):
    (example,), _ = _encode(tokenizer, _row("Name it", "the river</s>"))
    assert (example.reference, tokenizer.decode(example.answer_ids)) == ("the river", "the river</s>")


def test_an_end_of_sequence_inside_an_answer_is_removed_with_the_row(tokenizer):
    kept, ledger = _encode(tokenizer, _row("Name it", "the</s>river"))
    assert kept == []
    assert ledger.entries[0]["reason"] == "unencodable"
    assert ledger.entries[0]["detail"] == "the answer holds the end-of-sequence token </s>"


def test_an_answer_that_the_tokenizer_cannot_write_is_removed():
    core = Tokenizer(models.WordLevel({"[UNK]": 0, "</s>": 1, "yes": 2, "no": 3}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    words = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", eos_token="</s>")
    kept, ledger = _encode(words, _row("Q", "yes no"), _row("Q", "perhaps"))
    assert [example.reference for example in kept] == ["yes no"]
    assert ledger.entries[0]["detail"] == "the learned tokens read '', not the answer"


def test_a_token_across_the_border_leaves_the_prompt_as_it_is_at_inference(tokenizer):
    (example,), _ = _encode(tokenizer, _row("please descr", "ibe", role=Role.PROMPT))
    assert list(example.prompt_ids) == tokenizer.encode("please descr")
    assert tokenizer.decode(example.answer_ids[:-1]) == "ibe"


@pytest.mark.parametrize("prefix", [False, True])
def test_later_answers_have_the_ids_that_they_have_in_the_whole_text(make_tokenizer, prefix):
    """Also where a tokenizer puts a space before each text, so that an answer alone has other ids."""
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    encoder, ledger = Encoder(tokenizer, choose_renderer(tokenizer, None)), Ledger()
    first = encoder.encode([_row("Name it", "the river")], Part.TRAIN, ledger)
    later = encoder.encode([_row("Name it", text) for text in ("the river", "7!", "川")], Part.TRAIN, ledger)
    assert later[0].answer_ids == first[0].answer_ids
    for example in later:
        whole = tokenizer(example.prompt + example.reference, add_special_tokens=False)["input_ids"]
        assert [*example.prompt_ids, *example.answer_ids[:-1]] == whole
    assert not ledger.entries


def test_a_tokenizer_without_end_of_sequence_is_refused(make_tokenizer):
    with pytest.raises(InputError, match="must have an end-of-sequence token"):
        Encoder(tokenizer := make_tokenizer(eos=None), choose_renderer(tokenizer, None))


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(str.strip)


@settings(deadline=None, max_examples=150)
@given(prompt=TEXT, answer=TEXT, role=st.sampled_from([Role.USER, Role.PROMPT]), chat=st.booleans())
def test_any_text_comes_back_from_the_learned_ids(tokenizer, chat_tokenizer, prompt, answer, role, chat):
    using = chat_tokenizer if chat else tokenizer
    (example,), _ = _encode(using, _row(prompt, answer, role))
    assert using.decode(example.answer_ids[:-1]).strip() == example.reference == answer.strip()
    assert using.decode(example.prompt_ids) == example.prompt
    assert example.answer_ids[-1] == using.eos_token_id
