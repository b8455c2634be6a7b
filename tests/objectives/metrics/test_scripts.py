import pytest

from loratory.objectives.metrics.scripts import Script, bleu_tokenizer, text_script


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Return the sum.", Script.SPACED),
        ("Верни сумму двух чисел", Script.SPACED),
        ("두 수의 합을 반환한다", Script.SPACED),
        ("返回两个数的和", Script.HAN),
        ("調用這個函數 returns the sum 的結果", Script.HAN),
        ("データを読み込みます", Script.KANA),
        ("東京都知事選挙の結果を返す", Script.KANA),
        ("ﾃﾞｰﾀを返す", Script.KANA),
        ("คืนค่าผลรวม", Script.OTHER_UNSPACED),
        ("12 + 34", Script.SPACED),
        ("", Script.SPACED),
        ("The Chinese word 好 means good, as everyone in this class knows.", Script.SPACED),
    ],
)
def test_detects_the_script_that_decides_tokenisation(text, script):
    assert text_script([text]) is script


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        ("zh", "zh"),
        ("zh-CN", "zh"),
        ("zh_Hant", "zh"),
        ("cmn", "zh"),
        ("ja", "char"),
        ("th", "char"),
        ("en", "13a"),
        ("de", "13a"),
    ],
)
def test_a_named_language_overrules_the_text(language, tokenizer):
    assert bleu_tokenizer(text_script(["Return the sum 返回两个数的和 データ"], language)) == tokenizer


def test_detection_weighs_all_texts_together():
    english = ["The quick brown fox jumps over the lazy dog again and again"] * 9
    assert text_script([*english, "好"]) is Script.SPACED
    assert text_script(["好" * 80, *english]) is Script.HAN
