"""One table of the languages of XTREME and XTREME-R: codes, script, family, pretraining text."""

from __future__ import annotations

from dataclasses import dataclass

from xstilts.spec import one_of

CC100_GIB = 2467.2
"""Size of XLM-R's pretraining text over its 100 languages, the sum of the table named in `Language`."""


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes:
        code: ISO 639-1 code, as XTREME uses it.
        name: English name.
        iso639_3: three-letter code, as Tatoeba's file names use it.
        script: ISO 15924 code of the script its benchmark text is written in.
        family: family, with the branch for Indo-European (XTREME, Hu et al. 2020, appendix).
        pretraining_gib: text in XLM-R's pretraining data, GiB (Conneau et al. 2020, Table 6; Burmese and
            Chinese summed over their two rows, romanised rows left out); 0.0 for a language that is not
            among the 100, ``None`` when unknown.
    """

    code: str
    name: str
    iso639_3: str
    script: str
    family: str
    pretraining_gib: float | None

    @property
    def pretraining_share(self) -> float | None:
        """Its share of XLM-R's pretraining text, in [0, 1]; ``None`` when unknown."""
        return None if self.pretraining_gib is None else self.pretraining_gib / CC100_GIB


LANGUAGES: dict[str, Language] = {
    language.code: language
    for language in (
        Language("af", "Afrikaans", "afr", "Latn", "IE: Germanic", 1.3),
        Language("ar", "Arabic", "ara", "Arab", "Afro-Asiatic", 28.0),
        Language("az", "Azerbaijani", "aze", "Latn", "Turkic", 6.5),
        Language("bg", "Bulgarian", "bul", "Cyrl", "IE: Slavic", 57.5),
        Language("bn", "Bengali", "ben", "Beng", "IE: Indo-Aryan", 8.4),
        Language("de", "German", "deu", "Latn", "IE: Germanic", 66.6),
        Language("el", "Greek", "ell", "Grek", "IE: Greek", 46.9),
        Language("en", "English", "eng", "Latn", "IE: Germanic", 300.8),
        Language("es", "Spanish", "spa", "Latn", "IE: Romance", 53.3),
        Language("et", "Estonian", "est", "Latn", "Uralic", 6.1),
        Language("eu", "Basque", "eus", "Latn", "Basque", 2.0),
        Language("fa", "Persian", "pes", "Arab", "IE: Iranian", 111.6),
        Language("fi", "Finnish", "fin", "Latn", "Uralic", 54.3),
        Language("fr", "French", "fra", "Latn", "IE: Romance", 56.8),
        Language("gu", "Gujarati", "guj", "Gujr", "IE: Indo-Aryan", 1.9),
        Language("he", "Hebrew", "heb", "Hebr", "Afro-Asiatic", 31.6),
        Language("hi", "Hindi", "hin", "Deva", "IE: Indo-Aryan", 20.2),
        Language("ht", "Haitian Creole", "hat", "Latn", "Creole", 0.0),
        Language("hu", "Hungarian", "hun", "Latn", "Uralic", 58.4),
        Language("id", "Indonesian", "ind", "Latn", "Austronesian", 148.3),
        Language("it", "Italian", "ita", "Latn", "IE: Romance", 30.2),
        Language("ja", "Japanese", "jpn", "Jpan", "Japonic", 69.3),
        Language("jv", "Javanese", "jav", "Latn", "Austronesian", 0.2),
        Language("ka", "Georgian", "kat", "Geor", "Kartvelian", 9.1),
        Language("kk", "Kazakh", "kaz", "Cyrl", "Turkic", 6.4),
        Language("ko", "Korean", "kor", "Kore", "Koreanic", 54.2),
        Language("lt", "Lithuanian", "lit", "Latn", "IE: Baltic", 13.7),
        Language("ml", "Malayalam", "mal", "Mlym", "Dravidian", 7.6),
        Language("mr", "Marathi", "mar", "Deva", "IE: Indo-Aryan", 2.8),
        Language("ms", "Malay", "msa", "Latn", "Austronesian", 8.5),
        Language("my", "Burmese", "mya", "Mymr", "Sino-Tibetan", 2.0),
        Language("nl", "Dutch", "nld", "Latn", "IE: Germanic", 29.3),
        Language("pa", "Punjabi", "pan", "Guru", "IE: Indo-Aryan", 0.8),
        Language("pl", "Polish", "pol", "Latn", "IE: Slavic", 44.6),
        Language("pt", "Portuguese", "por", "Latn", "IE: Romance", 49.1),
        Language("qu", "Quechua", "que", "Latn", "Quechuan", 0.0),
        Language("ro", "Romanian", "ron", "Latn", "IE: Romance", 61.4),
        Language("ru", "Russian", "rus", "Cyrl", "IE: Slavic", 278.0),
        Language("sw", "Swahili", "swh", "Latn", "Niger-Congo", 1.6),
        Language("ta", "Tamil", "tam", "Taml", "Dravidian", 12.2),
        Language("te", "Telugu", "tel", "Telu", "Dravidian", 4.7),
        Language("th", "Thai", "tha", "Thai", "Kra-Dai", 71.7),
        Language("tl", "Tagalog", "tgl", "Latn", "Austronesian", 3.1),
        Language("tr", "Turkish", "tur", "Latn", "Turkic", 20.9),
        Language("uk", "Ukrainian", "ukr", "Cyrl", "IE: Slavic", 84.6),
        Language("ur", "Urdu", "urd", "Arab", "IE: Indo-Aryan", 5.7),
        Language("vi", "Vietnamese", "vie", "Latn", "Austro-Asiatic", 137.3),
        Language("wo", "Wolof", "wol", "Latn", "Niger-Congo", 0.0),
        Language("yo", "Yoruba", "yor", "Latn", "Niger-Congo", 0.0),
        Language("zh", "Chinese", "cmn", "Hans", "Sino-Tibetan", 63.5),
    )
}

MULTILINGUAL = Language("mul", "several languages", "mul", "Zyyy", "several", None)
"""The language of a pool of texts in several ones (ISO 639-2)."""


PAIR = "-"
"""Between the codes of a pair of languages: ``de-fr`` has its first text in German and its second in French."""


def language(code: str) -> Language:
    """The language of a code, ``MULTILINGUAL`` for ``mul``; of a pair, what its two have in common.

    Raises:
        ValueError: for an unknown code, with the near ones.
    """
    if PAIR in code:
        first, second = (language(part) for part in code.split(PAIR, 1))
        script = first.script if first.script == second.script else MULTILINGUAL.script
        family = first.family if first.family == second.family else MULTILINGUAL.family
        iso = f"{first.iso639_3}{PAIR}{second.iso639_3}"
        return Language(code, f"{first.name} and {second.name}", iso, script, family, None)
    known = LANGUAGES | {MULTILINGUAL.code: MULTILINGUAL}
    one_of("language", code, known)
    return known[code]


def langs(codes: str) -> tuple[str, ...]:
    """Split ``"ar bg de"`` into known codes.

    Raises:
        ValueError: for an unknown code.
    """
    return tuple(language(code).code for code in codes.split())


def pairs(codes: tuple[str, ...]) -> tuple[str, ...]:
    """Every pair of two codes, equal ones among them, by the first and then by the second."""
    return tuple(f"{first}{PAIR}{second}" for first in codes for second in codes)


MINIATURE_LANGUAGES = langs("en ar de es fr hi ru sw tr zh")
"""The languages of the embedded miniature."""
