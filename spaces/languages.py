"""Language codes of ISO 639-1, and the code that another name of a language means."""

from types import MappingProxyType
from typing import Final

# The codes of ISO 639-1 and 639-2, then the English names; from the tables of the standard's registrar.
_TABLE: Final = """
aa aar|Afar; ab abk|Abkhazian; ae ave|Avestan; af afr|Afrikaans; ak aka|Akan; am amh|Amharic;
an arg|Aragonese; ar ara|Arabic; as asm|Assamese; av ava|Avaric; ay aym|Aymara; az aze|Azerbaijani;
ba bak|Bashkir; be bel|Belarusian; bg bul|Bulgarian; bh bih|Bihari languages; bi bis|Bislama;
bm bam|Bambara; bn ben|Bengali; bo bod tib|Tibetan; br bre|Breton; bs bos|Bosnian;
ca cat|Catalan|Valencian; ce che|Chechen; ch cha|Chamorro; co cos|Corsican; cr cre|Cree;
cs ces cze|Czech; cu chu|Church Slavic|Church Slavonic; cv chv|Chuvash; cy cym wel|Welsh; da dan|Danish;
de deu ger|German; dv div|Divehi|Dhivehi|Maldivian; dz dzo|Dzongkha; ee ewe|Ewe; el ell gre|Greek;
en eng|English; eo epo|Esperanto; es spa|Spanish|Castilian; et est|Estonian; eu eus baq|Basque;
fa fas per|Persian; ff ful|Fulah; fi fin|Finnish; fj fij|Fijian; fo fao|Faroese; fr fra fre|French;
fy fry|Western Frisian; ga gle|Irish; gd gla|Gaelic|Scottish Gaelic; gl glg|Galician; gn grn|Guarani;
gu guj|Gujarati; gv glv|Manx; ha hau|Hausa; he heb|Hebrew; hi hin|Hindi; ho hmo|Hiri Motu;
hr hrv|Croatian; ht hat|Haitian|Haitian Creole; hu hun|Hungarian; hy hye arm|Armenian; hz her|Herero;
ia ina|Interlingua; id ind|Indonesian; ie ile|Interlingue|Occidental; ig ibo|Igbo;
ii iii|Sichuan Yi|Nuosu; ik ipk|Inupiaq; io ido|Ido; is isl ice|Icelandic; it ita|Italian;
iu iku|Inuktitut; ja jpn|Japanese; jv jav|Javanese; ka kat geo|Georgian; kg kon|Kongo;
ki kik|Kikuyu|Gikuyu; kj kua|Kuanyama|Kwanyama; kk kaz|Kazakh; kl kal|Kalaallisut|Greenlandic;
km khm|Central Khmer; kn kan|Kannada; ko kor|Korean; kr kau|Kanuri; ks kas|Kashmiri; ku kur|Kurdish;
kv kom|Komi; kw cor|Cornish; ky kir|Kirghiz|Kyrgyz; la lat|Latin; lb ltz|Luxembourgish|Letzeburgesch;
lg lug|Ganda; li lim|Limburgan|Limburger|Limburgish; ln lin|Lingala; lo lao|Lao; lt lit|Lithuanian;
lu lub|Luba-Katanga; lv lav|Latvian; mg mlg|Malagasy; mh mah|Marshallese; mi mri mao|Maori;
mk mkd mac|Macedonian; ml mal|Malayalam; mn mon|Mongolian; mr mar|Marathi; ms msa may|Malay;
mt mlt|Maltese; my mya bur|Burmese; na nau|Nauru; nb nob|Bokmål|Norwegian Bokmål; nd nde|North Ndebele;
ne nep|Nepali; ng ndo|Ndonga; nl nld dut|Dutch|Flemish; nn nno|Nynorsk|Norwegian Nynorsk;
no nor|Norwegian; nr nbl|South Ndebele; nv nav|Navajo|Navaho; ny nya|Chichewa|Chewa|Nyanja;
oc oci|Occitan|Provençal; oj oji|Ojibwa; om orm|Oromo; or ori|Oriya; os oss|Ossetian|Ossetic;
pa pan|Panjabi|Punjabi; pi pli|Pali; pl pol|Polish; ps pus|Pushto|Pashto; pt por|Portuguese;
qu que|Quechua; rm roh|Romansh; rn run|Rundi; ro ron rum|Romanian|Moldavian|Moldovan; ru rus|Russian;
rw kin|Kinyarwanda; sa san|Sanskrit; sc srd|Sardinian; sd snd|Sindhi; se sme|Northern Sami; sg sag|Sango;
si sin|Sinhala|Sinhalese; sk slk slo|Slovak; sl slv|Slovenian; sm smo|Samoan; sn sna|Shona;
so som|Somali; sq sqi alb|Albanian; sr srp|Serbian; ss ssw|Swati; st sot|Sotho; su sun|Sundanese;
sv swe|Swedish; sw swa|Swahili; ta tam|Tamil; te tel|Telugu; tg tgk|Tajik; th tha|Thai; ti tir|Tigrinya;
tk tuk|Turkmen; tl tgl|Tagalog; tn tsn|Tswana; to ton|Tonga; tr tur|Turkish; ts tso|Tsonga; tt tat|Tatar;
tw twi|Twi; ty tah|Tahitian; ug uig|Uighur|Uyghur; uk ukr|Ukrainian; ur urd|Urdu; uz uzb|Uzbek;
ve ven|Venda; vi vie|Vietnamese; vo vol|Volapük; wa wln|Walloon; wo wol|Wolof; xh xho|Xhosa;
yi yid|Yiddish; yo yor|Yoruba; za zha|Zhuang|Chuang; zh zho chi|Chinese; zu zul|Zulu
"""
_ROWS: Final = [[part.strip() for part in row.split("|")] for row in _TABLE.split(";")]

LANGUAGES: Final = MappingProxyType({codes.split()[0]: names[0] for codes, *names in _ROWS})
"""English names of languages by their code of ISO 639-1."""

# Further words, each before the code that is meant.
_OTHER_CODES: Final = "cmn zh; yue zh; wuu zh; fil tl; iw he; ji yi; mo ro"
_COUNTRIES: Final = """
jp ja; cn zh; hk zh; mx es; sp es; us en; gb en; au en; nz en; at de; cz cs; dk da; gr el; ua uk; vn vi;
il he; kh km; mm my; by be; rs sr; al sq; np ne; lk si; pk ur; bd bn; ir fa; iq ar; eg ar; ph tl; ma ar
"""
_OTHER_NAMES: Final = """
mandarin zh; cantonese zh; 中文 zh; 汉语 zh; 漢語 zh; 日本語 ja; 한국어 ko; ไทย th; العربية ar;
deutsch de; français fr; español es; italiano it; português pt; nederlands nl; polski pl; русский ru;
українська uk; türkçe tr; svenska sv; suomi fi; čeština cs; tiếng việt vi; farsi fa; हिन्दी hi; khmer km;
norsk no; dansk da; magyar hu; română ro; bahasa id
"""


def _pairs(table: str) -> dict[str, str]:
    """Return words by the code that follows each in a table."""
    entries = (entry.strip().rpartition(" ") for entry in table.split(";"))
    return {word: code for word, _, code in entries}


_CODES: Final = {code: codes.split()[0] for codes, *_ in _ROWS for code in codes.split()[1:]}
_BY_CODE: Final = _CODES | _pairs(_OTHER_CODES)
_NAMES: Final = {name.casefold(): codes.split()[0] for codes, *names in _ROWS for name in names}
_BY_NAME: Final = _NAMES | _pairs(_OTHER_NAMES) | _pairs(_COUNTRIES)


def language_of_code(text: str) -> str | None:
    """Return the code of ISO 639-1 for a code of ISO 639, with or without a region; None without one.

    `zh-CN`, `zho` and `cmn` give `zh`.
    """
    code = text.strip().lower().replace("_", "-").partition("-")[0]
    return code if code in LANGUAGES else _BY_CODE.get(code)


def meant_language(text: str) -> str | None:
    """Return the code of ISO 639-1 that a code, a country or the name of a language means, or None."""
    word = " ".join(text.replace("_", " ").replace("(", " ").replace(")", " ").split()).casefold()
    candidates = (word, word.partition(" ")[2], word.partition(" ")[0])  # `simplified chinese`, `english us`
    named = next((_BY_NAME[name] for name in candidates if name in _BY_NAME), None)
    return named or language_of_code(text)
