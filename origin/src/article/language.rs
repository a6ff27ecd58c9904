//! In which language an article is written: the provider's word where it gives one, else what its letters and trigrams say.
//!
//! Languages are two letters of ISO 639-1. One that cannot be told with some certainty, is `None`: a wrong
//! language would hide an article from those who filter, and have the words of one language weighed by those of another.

use whatlang::Lang;

/// Fewer letters say too little: headlines of three words are anybody's.
const LETTERS_MIN: usize = 24;
/// Below this the detector itself calls its answer a guess; headlines seldom reach the 0.9 that it calls reliable.
const CONFIDENCE_MIN: f64 = 0.35;

/// The language as a provider names it: `en`, `en-GB`, `EN_us`, `eng`. Anything else is no word for a language.
pub(crate) fn named(word: &str) -> Option<String> {
    let primary = word.trim().split(['-', '_']).next()?.to_ascii_lowercase();
    let letters = primary.bytes().all(|byte| byte.is_ascii_lowercase());
    match (letters, primary.len()) {
        (true, 2) => Some(primary),
        (true, 3) => Lang::from_code(primary).map(|language| two_letters(language).to_owned()),
        _ => None,
    }
}

/// What the text itself says.
pub(super) fn detected(title: &str, description: Option<&str>) -> Option<&'static str> {
    let text = format!("{title}. {}", description.unwrap_or_default());
    let info = whatlang::detect(&text)?;
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let enough = letters >= LETTERS_MIN || !is_latin(info.script());
    (enough && (info.is_reliable() || info.confidence() >= CONFIDENCE_MIN))
        .then(|| two_letters(info.lang()))
}

/// Many languages share Latin letters; most other scripts name theirs by themselves.
fn is_latin(script: whatlang::Script) -> bool {
    script == whatlang::Script::Latin
}

fn two_letters(language: Lang) -> &'static str {
    match language {
        Lang::Epo => "eo",
        Lang::Eng => "en",
        Lang::Rus => "ru",
        Lang::Cmn => "zh",
        Lang::Spa => "es",
        Lang::Por => "pt",
        Lang::Ita => "it",
        Lang::Ben => "bn",
        Lang::Fra => "fr",
        Lang::Deu => "de",
        Lang::Ukr => "uk",
        Lang::Kat => "ka",
        Lang::Ara => "ar",
        Lang::Hin => "hi",
        Lang::Jpn => "ja",
        Lang::Heb => "he",
        Lang::Yid => "yi",
        Lang::Pol => "pl",
        Lang::Amh => "am",
        Lang::Jav => "jv",
        Lang::Kor => "ko",
        Lang::Nob => "no",
        Lang::Dan => "da",
        Lang::Swe => "sv",
        Lang::Fin => "fi",
        Lang::Tur => "tr",
        Lang::Nld => "nl",
        Lang::Hun => "hu",
        Lang::Ces => "cs",
        Lang::Ell => "el",
        Lang::Bul => "bg",
        Lang::Bel => "be",
        Lang::Mar => "mr",
        Lang::Kan => "kn",
        Lang::Ron => "ro",
        Lang::Slv => "sl",
        Lang::Hrv => "hr",
        Lang::Srp => "sr",
        Lang::Mkd => "mk",
        Lang::Lit => "lt",
        Lang::Lav => "lv",
        Lang::Est => "et",
        Lang::Tam => "ta",
        Lang::Vie => "vi",
        Lang::Urd => "ur",
        Lang::Tha => "th",
        Lang::Guj => "gu",
        Lang::Uzb => "uz",
        Lang::Pan => "pa",
        Lang::Aze => "az",
        Lang::Ind => "id",
        Lang::Tel => "te",
        Lang::Pes => "fa",
        Lang::Mal => "ml",
        Lang::Ori => "or",
        Lang::Mya => "my",
        Lang::Nep => "ne",
        Lang::Sin => "si",
        Lang::Khm => "km",
        Lang::Tuk => "tk",
        Lang::Aka => "ak",
        Lang::Zul => "zu",
        Lang::Sna => "sn",
        Lang::Afr => "af",
        Lang::Lat => "la",
        Lang::Slk => "sk",
        Lang::Cat => "ca",
        Lang::Tgl => "tl",
        Lang::Hye => "hy",
        Lang::Cym => "cy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_word_is_read_in_all_its_spellings() {
        let rows = [
            ("en", Some("en")),
            ("en-GB", Some("en")),
            ("EN_us", Some("en")),
            (" de ", Some("de")),
            ("deu", Some("de")),
            ("zh-Hans-CN", Some("zh")),
            ("", None),
            ("e", None),
            ("english", None),
            ("12", None),
            ("xqx", None),
            ("é-é", None),
        ];
        for (word, expected) in rows {
            assert_eq!(named(word).as_deref(), expected, "{word:?}");
        }
    }

    #[test]
    fn the_text_tells_its_language() {
        let rows = [
            (
                "Parliament votes on the budget after a long night of talks",
                Some("Members of both parties said that they expected more delays."),
                Some("en"),
            ),
            (
                "Bundestag stimmt nach langer Nacht über den Haushalt ab",
                Some("Abgeordnete beider Lager rechnen mit weiteren Verzögerungen."),
                Some("de"),
            ),
            (
                "Le Parlement vote le budget après une longue nuit",
                Some("Des élus des deux camps s'attendent à de nouveaux retards."),
                Some("fr"),
            ),
            (
                "Парламент проголосовал за бюджет после долгой ночи",
                None,
                Some("ru"),
            ),
            ("議会は長い夜の後に予算案を可決した", None, Some("ja")),
            ("国会经过漫长的讨论后通过了预算", None, Some("zh")),
        ];
        for (title, description, expected) in rows {
            assert_eq!(detected(title, description), expected, "{title}");
        }
    }

    #[test]
    fn too_little_text_says_nothing() {
        for title in ["Goal!", "3-0", "BTC 100k", "", "OK"] {
            assert_eq!(detected(title, None), None, "{title}");
        }
    }
}
