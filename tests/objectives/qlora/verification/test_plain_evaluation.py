from dataclasses import replace

import pytest
import torch

from loratory.objectives.metrics.scoring import score_texts
from loratory.objectives.qlora.base.loading import load_base
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.objectives.qlora.verification import plain_evaluation as module
from loratory.objectives.qlora.verification.batches import collate
from loratory.objectives.qlora.verification.plain_evaluation import answer_losses, decode, evaluate

METRICS = {"metric": "rougeL", "evaluation": {"metrics": ["rougeL", "bleu", "exact_match"]}}


@pytest.fixture(scope="module")
def study(make_study):
    return make_study(**METRICS)


@pytest.fixture(scope="module")
def base(study):
    return load_base(study.model, resolve_base(study.model))


def ids_alone(base, example, count):
    """Greedy decoding by hand: one example, no cache, no padding; token ids without an end."""
    ids = list(example.prompt_ids)
    for _ in range(count):
        with torch.no_grad():
            logits = base.model(input_ids=torch.tensor([ids], device=base.device), use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
        if ids[-1] in base.end_ids:
            break
    return [token_id for token_id in ids[len(example.prompt_ids) :] if token_id not in base.end_ids]


def text_alone(base, example, count):
    return base.tokenizer.decode(ids_alone(base, example, count), skip_special_tokens=True).strip()


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_batched_decoding_is_greedy_decoding_of_each(base, data, batch_size):
    base.model.eval()
    expected = [text_alone(base, example, 6) for example in data.select]
    assert decode(base, data.select, max_new_tokens=6, batch_size=batch_size) == expected
    assert len(set(expected)) > 1


def test_spaces_before_punctuation_stay_as_decoded(base, data, monkeypatch):
    base.model.eval()
    # transformers heeds the first for a BPE tokenizer only with the second.
    for name in (
        "clean_up_tokenization_spaces",
        "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
    ):
        monkeypatch.setattr(base.tokenizer, name, True, raising=False)
    corrupted = base.tokenizer.decode(base.tokenizer("red . green")["input_ids"])
    assert corrupted == "red. green"
    ids = base.tokenizer("red . green")["input_ids"]
    monkeypatch.setattr(
        base.model, "generate", lambda **given: torch.tensor([given["input_ids"][0].tolist() + ids])
    )
    assert decode(base, data.select[:1], max_new_tokens=6, batch_size=1) == ["red . green"]


def test_every_end_token_ends_an_answer(base, data):
    base.model.eval()
    example = max(data.select, key=len)
    ids = ids_alone(base, example, 6)
    assert len(ids) > 2
    ends = (*base.end_ids, ids[2])
    shortened = replace(base, end_ids=ends)
    base.model.generation_config.eos_token_id = list(ends)
    try:
        (answer,) = decode(shortened, [example], max_new_tokens=6, batch_size=1)
    finally:
        base.model.generation_config.eos_token_id = list(base.end_ids)
    assert answer == base.tokenizer.decode(ids[: ids.index(ids[2])]).strip()


def test_table_holds_every_metric_of_every_example(base, study, data):
    made = evaluate(base, study, data.select)
    answers = [prediction.prediction for prediction in made.predictions]
    expected = score_texts(study.metrics, answers, [example.reference for example in data.select])
    assert set(made.scores.aggregate) == {"loss", *study.metrics}
    assert {n: made.scores.aggregate[n] for n in study.metrics} == expected.aggregate
    assert all(values.shape == (len(data.select),) for values in made.scores.metrics.values())
    assert [(p.example_id, p.prompt, p.reference) for p in made.predictions] == [
        (e.example_id, e.prompt, e.reference) for e in data.select
    ]
    assert made.finite


def test_loss_does_not_depend_on_the_batch_size(base, make_study, data):
    def loss(batch_size):
        return evaluate(base, make_study(evaluation={"batch_size": batch_size}), data.select).scores

    one, many = loss(1), loss(32)
    assert one.metrics["loss"] == pytest.approx(many.metrics["loss"], rel=1e-5)
    assert one.example_ids == many.example_ids


def test_nothing_is_decoded_where_loss_is_all_that_is_asked(base, make_study, data, monkeypatch):
    monkeypatch.setattr(module, "decode", None)
    made = evaluate(base, make_study(), data.dev)
    assert made.predictions == ()
    assert set(made.scores.aggregate) == {"loss"}


def test_memory_that_runs_out_halves_the_batch(base, study, data, monkeypatch):
    expected = evaluate(base, study, data.select)
    real, sizes = module.collate_prompts, []

    def tight(examples, **options):
        sizes.append(len(examples))
        if len(examples) > 3:
            raise torch.OutOfMemoryError("too much")
        return real(examples, **options)

    monkeypatch.setattr(module, "collate_prompts", tight)
    assert evaluate(base, study, data.select).predictions == expected.predictions
    assert sizes == [8, 4, 2, 2, 2, 2]


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_answer_losses_are_those_of_the_whole_logits(make_study, base_folder, data, kind):
    changes = {"head_dim": 16} if kind == "gemma2" else {}
    model = make_study(model={"base": str(base_folder(kind, **changes))}).model
    base, examples = load_base(model, resolve_base(model)), data.train[:5]
    batch = collate(examples, padding_id=base.padding_id, device=base.device)
    theirs = []
    with torch.no_grad():
        mine = answer_losses(base, batch)
        for example in examples:
            ids = torch.tensor([[*example.prompt_ids, *example.answer_ids]], device=base.device)
            logits = base.model(input_ids=ids).logits[0, :-1].float()
            every = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
            theirs.append(every[len(example.prompt_ids) - 1 :])
    torch.testing.assert_close(mine, torch.cat(theirs), rtol=1e-4, atol=1e-5)
