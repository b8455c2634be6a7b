import pytest

from loratory.spaces.languages import LANGUAGES, language_of_code, meant_language


def test_codes_are_those_of_iso_639_1():
    assert len(LANGUAGES) == 184
    assert all(len(code) == 2 and code.isascii() and code.islower() for code in LANGUAGES)
    assert (LANGUAGES["ja"], LANGUAGES["zh"], LANGUAGES["el"]) == ("Japanese", "Chinese", "Greek")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("jp", "ja"),
        ("Japanese", "ja"),
        ("cn", "zh"),
        ("chinese", "zh"),
        ("Simplified Chinese", "zh"),
        ("zh_Hant", "zh"),
        ("zho", "zh"),
        ("ger", "de"),
        ("EN", "en"),
        ("english (US)", "en"),
        ("Punjabi", "pa"),
        ("日本語", "ja"),
        ("", None),
        ("klingon", None),
    ],
)
def test_another_name_means_a_code(text, code):
    assert meant_language(text) == code


def test_names_and_countries_are_no_codes():
    assert [language_of_code(text) for text in ("jpn", "zh-CN", "jp", "Japanese", "")] == [
        "ja",
        "zh",
        None,
        None,
        None,
    ]
