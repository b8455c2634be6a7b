"""Pairs of prediction and reference that every metric is tried on."""

import pytest

ENGLISH = (
    ("Return the sum of two numbers.", "Return the sum of the two given numbers."),
    ("the cat sat on the mat", "The cat sat on the mat."),
    ("", "Raise an error."),
    ("don't_stop, it's $5!", "Do not stop: it's 5 dollars"),
    ("Completely other words here", "Return None"),
)
CHINESE = (
    ("今天的天气很好。", "今天天气不错。"),
    ("我爱北京天安门", "我爱北京天安门"),
    ("", "返回两个数的和"),
    ("返回 JSON 格式的结果,长度为10", "返回JSON格式的字符串,长度是 10"),
)
JAPANESE = (
    ("今日はとても良い天気です。", "今日はいい天気ですね。"),
    ("データを読み込みます", "データを読み込む"),
    ("ありがとう", "どういたしまして"),
)


@pytest.fixture(params=[ENGLISH, CHINESE, JAPANESE], ids=["en", "zh", "ja"])
def pairs(request):
    """Predictions and references of one language."""
    predictions, references = zip(*request.param, strict=True)
    return list(predictions), list(references)


@pytest.fixture
def chinese():
    """Predictions and references in Chinese."""
    predictions, references = zip(*CHINESE, strict=True)
    return list(predictions), list(references)
