import json
import subprocess
import sys
import time
from itertools import chain

import pytest

from loratory.objectives.data.preparation import content_hash, prepare_data
from loratory.spaces.errors import InputError


def _splits(data):
    return data.train, data.dev, data.select, data.test


def _ids(examples):
    return [example.example_id for example in examples]


def test_from_files_to_splits(prepare, write_jsonl, alpaca_rows, tokenizer):
    found = prepare(
        write_jsonl(alpaca_rows(30)),
        eval=write_jsonl(alpaca_rows(10, start=30), "eval.jsonl"),
        test=write_jsonl(alpaca_rows(5, start=40), "test.jsonl"),
        evaluation={"dev_examples": 4, "select_examples": 5, "confirm_examples": 0, "test_examples": 3},
        train_examples=20,
    )
    data = found.data
    assert [len(split) for split in _splits(data)] == [20, 4, 5, 3]
    every = list(chain(*_splits(data)))
    assert len(set(_ids(every))) == 32
    for example in every:
        assert example.prompt.startswith("### Instruction:\nPlease ")
        assert tokenizer.decode(example.answer_ids) == example.reference + "</s>"
        assert example.group == example.example_id
    assert data.labels == ()
    assert found.removed == ()
    assert found.files["removed.jsonl"] == b""
    assert "examples: 20 train, 4 dev, 5 select, 3 test" in found.summary
    assert "10 more examples left out: data.train_examples is 20" in found.summary
    assert "1 more examples left out: evaluation.select_examples is 5" in found.summary
    assert "2 more examples left out: evaluation.test_examples is 3" in found.summary
    assert "train: removed nothing" in found.summary


def test_dirty_rows_are_removed_with_their_reason_and_nothing_is_lost(prepare, write_jsonl, alpaca_rows):
    eval_rows = alpaca_rows(6, start=100)
    long = {"instruction": "long " * 300, "output": "x"}
    dirty = [
        {"instruction": "Empty answer", "output": " "},
        {"instruction": "", "output": "no prompt"},
        {"instruction": "Broken", "output": "caf\ufffd"},
        {"instruction": "Stops", "output": "too </s> early"},
        long,
        alpaca_rows(1)[0],
        eval_rows[2],
    ]
    found = prepare(
        write_jsonl(alpaca_rows(20) + dirty),
        eval=write_jsonl([*eval_rows, eval_rows[0], long, {"instruction": "x", "output": ""}], "eval.jsonl"),
        max_length=400,
    )
    reasons = [(entry["split"], entry["row"], entry["reason"]) for entry in found.removed]
    assert sorted(reasons) == sorted(
        [
            ("train", 21, "empty"),
            ("train", 22, "empty"),
            ("train", 23, "wrong_encoding"),
            ("train", 24, "unencodable"),
            ("train", 25, "over_length"),
            ("train", 26, "exact_duplicate"),
            ("train", 27, "leaked"),
            ("eval", 7, "exact_duplicate"),
            ("eval", 8, "over_length"),
            ("eval", 9, "empty"),
        ]
    )
    assert [len(split) for split in _splits(found.data)] == [20, 2, 4, 0]
    written = [json.loads(line) for line in found.files["removed.jsonl"].decode().splitlines()]
    assert written == list(found.removed)
    by_row = {(entry["split"], entry["row"]): entry for entry in written}
    assert by_row["train", 25]["content"] == long
    assert by_row["train", 25]["detail"].endswith("data.max_length is 400")
    assert by_row["train", 26]["detail"].endswith("train.jsonl, row 1")
    line = (
        "train: removed 2 empty, 1 wrong_encoding, 1 unencodable, 1 over_length, 1 exact_duplicate, 1 leaked"
    )
    assert line in found.summary


def test_eval_is_drawn_from_train_by_group(prepare, write_jsonl, alpaca_rows):
    rows = alpaca_rows(80, groups=20)
    found = prepare(write_jsonl(rows), eval_fraction=0.25, evaluation={"dev_examples": 8})
    data = found.data
    assert [len(split) for split in _splits(data)] == [60, 8, 12, 0]
    groups = [{example.group for example in split} for split in _splits(data)[:3]]
    assert [len(group) for group in groups] == [15, 2, 3]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    again = prepare(write_jsonl(rows[::-1]), eval_fraction=0.25, evaluation={"dev_examples": 8}).data
    assert [sorted(_ids(split)) for split in _splits(again)] == [
        sorted(_ids(split)) for split in _splits(data)
    ]


def test_eval_drawn_from_rows_without_groups_keeps_copies_together(prepare, write_jsonl, alpaca_rows):
    rows = alpaca_rows(40)
    found = prepare(write_jsonl(rows + rows), eval_fraction=0.2)
    assert found.data.dev + found.data.select
    assert {entry["reason"] for entry in found.removed} == {"exact_duplicate"}
    assert len(found.removed) == 40


def test_groups_that_cannot_be_kept_apart_are_said(prepare, write_jsonl, alpaca_rows):
    found = prepare(
        write_jsonl(alpaca_rows(20)), eval=write_jsonl(alpaca_rows(20, start=50, groups=2), "eval.jsonl")
    )
    assert "dev and select share groups: 2 are too few or too large to be kept apart" in found.summary
    assert not any("share groups" in line for line in prepare(write_jsonl(alpaca_rows(40))).summary)


def test_true_duplicates_in_eval_have_ids_of_their_own(prepare, write_jsonl, alpaca_rows):
    rows = alpaca_rows(3)
    found = prepare(
        write_jsonl(alpaca_rows(9, start=50)),
        eval=write_jsonl([*rows, rows[0], rows[0]], "eval.jsonl"),
        cleaning={"exact_duplicates": False},
    )
    ids = _ids(found.data.dev + found.data.select)
    assert len(set(ids)) == 5
    assert sum(name.startswith(min(ids, key=len)) or "-" in name for name in ids) >= 3
    assert sorted(name[17:] for name in ids) == ["", "", "", "2", "3"]
    dev, select = ({example.group for example in s} for s in (found.data.dev, found.data.select))
    assert not dev & select
    assert len(dev | select) == 3
    assert not any("groups of train" in line for line in found.summary)


def test_rows_of_test_that_stand_in_eval_are_removed(prepare, write_jsonl, alpaca_rows):
    eval_rows = alpaca_rows(6, start=50)
    found = prepare(
        write_jsonl(alpaca_rows(9)),
        eval=write_jsonl(eval_rows, "eval.jsonl"),
        test=write_jsonl([*alpaca_rows(3, start=70), eval_rows[4]], "test.jsonl"),
    )
    assert len(found.data.test) == 3
    ((part, row, reason),) = [(e["split"], e["row"], e["reason"]) for e in found.removed]
    assert (part, row, reason) == ("test", 4, "leaked")
    assert "test: removed 1 leaked" in found.summary


def test_labels_of_a_classification(prepare, write_jsonl):
    def rows(labels, start):
        return [{"prompt": f"text {start + n}:", "completion": f" {label}"} for n, label in enumerate(labels)]

    train = write_jsonl(rows(["sad", "glad", "mad"] * 4, 0))
    good = write_jsonl(rows(["glad", "sad", "sad"], 100), "eval.jsonl")
    found = prepare(train, eval=good, task="classification")
    assert found.data.labels == ("glad", "mad", "sad")
    assert "labels: 3 (sad 4, glad 4, mad 4 in train)" in found.summary
    unknown = write_jsonl(rows(["glad", "sad", "bad"], 100), "unknown.jsonl")
    with pytest.raises(
        InputError, match=r"unknown.jsonl, row 3: label 'bad' of eval is not in train; known are glad"
    ):
        prepare(train, eval=unknown, task="classification")
    with pytest.raises(InputError, match="classification needs 2 to 1000 labels in train, got 1 "):
        prepare(write_jsonl(rows(["one"] * 5, 0), "one.jsonl"), eval=good, task="classification")
    with pytest.raises(
        InputError, match=r"max_new_tokens must be at least \d+, the length of the label 'glad', got 1"
    ):
        prepare(train, eval=good, task="classification", evaluation={"max_new_tokens": 1})
    many = write_jsonl(rows([f"label {n}" for n in range(1001)], 0), "many.jsonl")
    with pytest.raises(InputError, match="needs 2 to 1000 labels in train, got 1001"):
        prepare(many, eval=good, task="classification")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"max_length": 100, "max_positions": 64},
            "data.max_length must be at most 64, the model's longest input, got 100",
        ),
        (
            {"max_length": 10},
            r"data.train must leave examples, all rows were removed \(\d+ over_length\); "
            r"first .*train.jsonl, row \d+: \d+ tokens",
        ),
        (
            {"evaluation": {"dev_examples": 4}},
            "must leave eval examples for select: eval has 4 after cleaning, got 4; lower it, or give more",
        ),
        (
            {"max_length": 250, "max_positions": 256, "evaluation": {"max_new_tokens": 240}},
            r"data.eval must leave examples.*leaves no room to decode",
        ),
        ({"group_column": "doc"}, "row 1: must have the column doc"),
        ({"columns": {"output": "answer"}}, "row 1: must have the columns of a format"),
    ],
)
def test_splits_that_do_not_fit_the_study(prepare, write_jsonl, alpaca_rows, options, message):
    with pytest.raises(InputError, match=message) as caught:
        prepare(write_jsonl(alpaca_rows(40)), **options)
    assert "\n" not in str(caught.value)


def test_train_that_is_all_in_eval_is_refused(prepare, write_jsonl, alpaca_rows):
    path = write_jsonl(alpaca_rows(10))
    with pytest.raises(InputError, match=r"all rows were removed \(10 leaked\); first .* stands in eval"):
        prepare(path, eval=path)


def test_one_group_cannot_be_split(prepare, write_jsonl, alpaca_rows):
    with pytest.raises(InputError, match="must name a source: the rows of train are all one group"):
        prepare(write_jsonl(alpaca_rows(10, groups=1)))


def test_a_test_source_of_which_nothing_is_left_is_refused(prepare, write_jsonl, alpaca_rows):
    test = write_jsonl([{"instruction": "a", "output": ""}], "test.jsonl")
    with pytest.raises(InputError, match=r"data.test must leave examples, .* \(1 empty\)"):
        prepare(write_jsonl(alpaca_rows(40)), test=test)


def test_the_hash_is_of_the_content_alone(prepare, write_jsonl, alpaca_rows, chat_tokenizer):
    rows = alpaca_rows(40)
    data = prepare(write_jsonl(rows)).data
    assert data.sha256 == content_hash(data) == prepare(write_jsonl(rows, "other.jsonl")).data.sha256
    others = [
        prepare(write_jsonl(rows[:-1], "fewer.jsonl")).data,
        prepare(write_jsonl(rows), train_examples=30).data,
        prepare(write_jsonl(rows), using=chat_tokenizer).data,
        prepare(write_jsonl(rows), evaluation={"dev_examples": 3}).data,
    ]
    assert len({data.sha256, *(other.sha256 for other in others)}) == 5


def test_the_hash_is_the_same_in_another_process(
    prepare, write_jsonl, alpaca_rows, make_study, tokenizer, tmp_path
):
    path = write_jsonl(alpaca_rows(40))
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "study.json").write_text(make_study(path).model_dump_json())
    script = (
        "import sys; from pathlib import Path; from transformers import AutoTokenizer;"
        "from loratory.spaces.study import StudySpec;"
        "from loratory.objectives.data.preparation import prepare_data;"
        "folder = Path(sys.argv[1]);"
        "study = StudySpec.model_validate_json((folder / 'study.json').read_text());"
        "print(prepare_data(study, AutoTokenizer.from_pretrained(folder / 'tokenizer')).data.sha256)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONHASHSEED": "7", "PATH": ""},
    )
    assert run.stdout.strip() == prepare(path).data.sha256, run.stderr


def test_the_listing_has_ids_and_groups_in_order(prepare, write_jsonl, alpaca_rows):
    found = prepare(write_jsonl(alpaca_rows(40, groups=20)))
    listing = json.loads(found.files["examples.json"])
    assert listing["sha256"] == found.data.sha256
    assert listing["prompt_style"] == "sections"
    for name in ("train", "dev", "select", "test"):
        examples = getattr(found.data, name)
        assert listing["splits"][name] == [{"id": e.example_id, "group": e.group} for e in examples]


def test_the_terminal_says_of_completions_that_they_stand_as_they_are(prepare, write_jsonl, alpaca_rows):
    rows = alpaca_rows(40)
    plain = [{"prompt": row["instruction"], "completion": row["output"]} for row in rows]
    assert "prompts: as the rows write them" in prepare(write_jsonl(plain)).summary
    sections = [line for line in prepare(write_jsonl(rows)).summary if line.startswith("prompts: ")]
    assert len(sections) == 1 and "### Instruction" in sections[0]


def test_the_listing_says_how_prompts_are_made(prepare, write_jsonl, alpaca_rows, chat_tokenizer):
    def style(rows, **options):
        return json.loads(prepare(write_jsonl(rows), **options).files["examples.json"])["prompt_style"]

    rows = alpaca_rows(40)
    plain = [{"prompt": row["instruction"], "completion": row["output"]} for row in rows]
    assert style(rows, using=chat_tokenizer) == "chat_template"
    assert style(plain) == "as_written"
    assert style(plain, using=chat_tokenizer) == "chat_template"
    assert style(plain, prompt_template="Q: {prompt}") == "template"


def test_conversations_under_a_chat_template(prepare, write_jsonl, chat_tokenizer):
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"问题 {n}"},
                {"role": "assistant", "content": f"答案 {n * n}"},
            ]
        }
        for n in range(20)
    ]
    found = prepare(write_jsonl(rows), using=chat_tokenizer, eval_fraction=0.2)
    example = found.data.train[0]
    assert example.prompt == "<|im_start|>user\n问题 0<|im_end|>\n<|im_start|>assistant\n"
    assert chat_tokenizer.decode(example.answer_ids) == "答案 0<|im_end|>"
    assert "prompts: the tokenizer's chat template" in found.summary


def test_answers_longer_than_what_is_decoded_are_said(prepare, write_jsonl, alpaca_rows):
    found = prepare(write_jsonl(alpaca_rows(40)), evaluation={"max_new_tokens": 2})
    assert any(
        "4 of 4 eval and test answers are longer than evaluation.max_new_tokens (2)" in s
        for s in found.summary
    )


def test_groups_shared_by_train_and_eval_are_said(prepare, write_jsonl, alpaca_rows):
    found = prepare(
        write_jsonl(alpaca_rows(20, groups=5)),
        eval=write_jsonl(alpaca_rows(12, start=50, groups=12), "eval.jsonl"),
    )
    assert "5 groups of train stand in eval or test too" in found.summary


def test_ten_thousand_rows_take_seconds(make_study, write_jsonl, alpaca_rows, tokenizer):
    study = make_study(write_jsonl(alpaca_rows(10_000)), cleaning={"near_duplicate_threshold": 0.95})
    started = time.process_time()
    prepare_data(study, tokenizer)
    assert time.process_time() - started < 20


def test_a_train_in_which_nothing_could_be_learned_is_refused(prepare, write_jsonl, alpaca_rows):
    # Without an answer every label would be masked, and training would report a loss of zero.
    rows = [{**row, "output": ""} for row in alpaca_rows(10)]
    with pytest.raises(
        InputError, match=r"data.train must leave examples, all rows were removed \(10 empty\)"
    ):
        prepare(write_jsonl(rows), eval=write_jsonl(alpaca_rows(10), "eval.jsonl"))


def test_bad_rows_are_kept_and_counted_and_unused_columns_are_named(tmp_path, alpaca_rows, prepare):
    lines = [json.dumps({**row, "id": n}) for n, row in enumerate(alpaca_rows(40))]
    lines[3:5] = ['{"instruction": ', '{"instruction": "a"}']
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match="row 4: must be valid JSON"):
        prepare(path)
    done = prepare(path, bad_rows="remove")
    assert "train: columns not used: id" in done.summary
    assert any(line.startswith("train: removed 2 unreadable") for line in done.summary)
    first = next(line for line in done.summary if "first unreadable" in line)
    assert first.startswith(f"train: the first unreadable row is {path}, row 4: must be valid JSON")
    removed = [json.loads(line) for line in done.files["removed.jsonl"].splitlines()]
    assert [(entry["row"], entry["reason"]) for entry in removed] == [(4, "unreadable"), (5, "unreadable")]
    assert removed[0]["content"] == {"text": '{"instruction": '}


def test_the_first_line_says_that_over_a_fifth_is_gone(prepare, write_jsonl, alpaca_rows):
    rows = alpaca_rows(60)
    copied = prepare(write_jsonl([*rows, *rows[:20]]), eval=write_jsonl(alpaca_rows(8, start=90), "e.jsonl"))
    assert copied.summary[0] == (
        "train: 20 of 80 rows were removed (25%): 20 exact_duplicate; data/removed.jsonl in the study "
        "folder has each with its reason"
    )
    few = prepare(write_jsonl([*rows, *rows[:10]]), eval=write_jsonl(alpaca_rows(8, start=90), "e.jsonl"))
    assert few.summary[0].startswith("train: read 70 rows")


def test_the_defaults_fit_two_hundred_rows(prepare, write_jsonl, alpaca_rows):
    evaluation = {"dev_examples": None, "metrics": ["exact_match"]}
    rows = write_jsonl(alpaca_rows(200))
    found = prepare(rows, eval_fraction=None, evaluation=evaluation, metric="exact_match")
    assert {name: len(split) for name, split in found.data.named_splits.items()} == {
        "train": 150,
        "dev": 25,
        "select": 25,
        "test": 0,
    }
    assert any(line.startswith("select has 25 examples: a difference") for line in found.summary)


def _eval_of(prepare, write_jsonl, rows, **evaluation):
    eval_ = write_jsonl(rows, "eval.jsonl")
    train = write_jsonl([{"instruction": f"Train {n}", "output": "x"} for n in range(9)])
    cleaning = {"near_duplicate_threshold": None}
    return prepare(train, eval=eval_, cleaning=cleaning, evaluation={"dev_examples": 10} | evaluation)


def test_confirm_is_drawn_from_what_dev_and_select_leave(prepare, write_jsonl, alpaca_rows):
    found = _eval_of(prepare, write_jsonl, alpaca_rows(50), select_examples=15)
    data = found.data
    assert [len(split) for split in (data.dev, data.select, data.confirm)] == [10, 15, 15]
    every = [*_ids(data.dev), *_ids(data.select), *_ids(data.confirm)]
    assert len(set(every)) == 40
    assert any(
        line.startswith("confirm has 15 examples: the best trials are scored") for line in found.summary
    )
    assert "10 more examples left out: evaluation.select_examples is 15" in found.summary
    listed = json.loads(found.files["examples.json"])["splits"]
    assert [entry["id"] for entry in listed["confirm"]] == _ids(data.confirm)
    fewer = _eval_of(prepare, write_jsonl, alpaca_rows(50)[::-1], select_examples=15, confirm_examples=6).data
    assert (len(fewer.select), len(fewer.confirm)) == (15, 6)
    assert _ids(fewer.dev) == _ids(data.dev)[::-1]


def test_confirm_and_select_share_no_group(prepare, write_jsonl, alpaca_rows):
    rows = [row | {"group": f"g{n // 4}"} for n, row in enumerate(alpaca_rows(82))]
    found = _eval_of(prepare, write_jsonl, rows, select_examples=20, dev_examples=8)
    data = found.data
    assert (len(data.select), len(data.confirm)) == (20, 20)
    parts = [set(split.groups) for split in (data.dev, data.select, data.confirm)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert len(parts[1]) > 5 and len(parts[2]) > 5, "each takes from all groups of its share"
    assert any("are in neither select nor confirm: of their group" in line for line in found.summary)


def test_small_data_keeps_dev_and_select_first(prepare, write_jsonl, alpaca_rows):
    found = _eval_of(prepare, write_jsonl, alpaca_rows(50))
    assert (len(found.data.select), len(found.data.confirm)) == (40, 0)
    assert any(line.startswith("confirm has 0 examples: dev and select leave none") for line in found.summary)
    short = _eval_of(prepare, write_jsonl, alpaca_rows(50), confirm_examples=30)
    assert (len(short.data.select), len(short.data.confirm)) == (20, 20)
    assert any("20 examples (evaluation.confirm_examples is 30)" in line for line in short.summary)


@pytest.mark.parametrize(
    ("evaluation", "sha256"),
    [
        ({}, "448132ab8a68da90"),
        ({"select_examples": 15}, "6a7062be44ec8788"),
        ({"dev_examples": None}, "f2fa5966e5de87be"),
    ],
)
def test_a_study_without_confirm_has_the_splits_and_the_hash_that_it_had(
    prepare, write_jsonl, alpaca_rows, evaluation, sha256
):
    """The hashes are those of loratory before there was a confirm."""
    rows = [row | {"group": f"g{n // 3}"} for n, row in enumerate(alpaca_rows(50))]
    found = _eval_of(prepare, write_jsonl, rows, confirm_examples=0, **evaluation)
    assert found.data.sha256[:16] == sha256
    assert list(json.loads(found.files["examples.json"])["splits"]) == ["train", "dev", "select", "test"]
    assert not any(line.startswith("confirm has") for line in found.summary)


@pytest.mark.parametrize(("rows", "sizes"), [(8, (6, 1, 1)), (1600, (1440, 64, 96))])
def test_dev_and_select_take_their_shares(prepare, write_jsonl, alpaca_rows, rows, sizes):
    cleaning = {"near_duplicate_threshold": None}
    train = write_jsonl(alpaca_rows(rows))
    data = prepare(train, eval_fraction=None, cleaning=cleaning, evaluation={"dev_examples": None}).data
    assert (len(data.train), len(data.dev), len(data.select)) == sizes


def test_a_label_too_rare_for_eval_is_named_and_learned(prepare, write_jsonl):
    rows = [{"prompt": f"text number {n}", "completion": ("good", "bad")[n % 2]} for n in range(60)]
    rows += [{"prompt": "text of its own kind", "completion": "-1"}]
    rows += [{"prompt": f"a strange text {n}", "completion": "1"} for n in range(20)]
    found = prepare(write_jsonl(rows), task="classification", eval_fraction=None)
    assert found.data.labels == ("-1", "1", "bad", "good")
    assert "-1" in found.data.train.references
    [line] = [line for line in found.summary if line.startswith("labels too rare for eval")]
    assert "'-1' (1 in train)" in line
    assert "name data.eval" in line


def test_max_length_unset_is_what_the_model_reads_up_to_1024(prepare, write_jsonl, alpaca_rows):
    rows = alpaca_rows(40)
    rows[3]["output"] = "word " * 900
    train = write_jsonl(rows)

    def limits(**options):
        return [entry["detail"].rpartition(" ")[2] for entry in prepare(train, **options).removed]

    assert limits() == ["1024"]
    assert limits(max_positions=400, evaluation={"max_new_tokens": 8}) == ["400"]
    assert limits(max_length=8192) == []


def test_the_listing_is_laid_out_as_json_is(prepare, write_jsonl, alpaca_rows):
    rows = [{**row, "group": f'"Größe" {n % 30}\\'} for n, row in enumerate(alpaca_rows(40))]
    written = prepare(write_jsonl(rows)).files["examples.json"].decode()
    assert written == json.dumps(json.loads(written), indent=1, ensure_ascii=False) + "\n"
