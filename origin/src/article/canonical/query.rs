//! The query of a folded address: tracking keys out, the rest sorted.

use url::Url;
use url::form_urlencoded::Serializer;

/// Families of campaign keys.
const TRACKING_PREFIXES: [&str; 6] = ["at_", "hsa_", "itm_", "mtm_", "pk_", "utm_"];

/// Keys that say how a reader came, never what is read. Lower case: they are compared so.
const TRACKING_KEYS: [&str; 36] = [
    "_hsenc",
    "_hsmi",
    "cmp",
    "cmpid",
    "dclid",
    "emc",
    "fbclid",
    "gbraid",
    "gclid",
    "gclsrc",
    "guccounter",
    "igshid",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "msclkid",
    "ncid",
    "oc",
    "oly_anon_id",
    "oly_enc_id",
    "partner",
    "ref_src",
    "s_cid",
    "smid",
    "smtyp",
    "srsltid",
    "ttclid",
    "twclid",
    "vero_id",
    "wbraid",
    "yclid",
    "ysclid",
    "guce_referrer",
    "guce_referrer_sig",
    "_ga",
    "_gl",
];

/// The folded query, empty when nothing is left. `site` is the bare host of the document that held the link.
pub(super) fn fold(url: &Url, site: Option<&str>) -> String {
    let mut pairs: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, value)| !(key.is_empty() && value.is_empty()))
        .filter(|(key, value)| {
            !is_tracking(key) && !is_amp(key, value) && !is_own_ref(key, value, site)
        })
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    pairs.sort_unstable();
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn is_tracking(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    TRACKING_KEYS.contains(&key.as_str())
        || TRACKING_PREFIXES
            .iter()
            .any(|prefix| key.starts_with(prefix))
}

fn is_amp(key: &str, value: &str) -> bool {
    match key {
        "amp" => matches!(value, "" | "1" | "true"),
        "outputType" => value == "amp",
        _ => false,
    }
}

/// `ref` may name a section or a branch; it is only tracking when it names the site that links.
fn is_own_ref(key: &str, value: &str, site: Option<&str>) -> bool {
    key == "ref" && site.is_some_and(|site| super::bare_host(value).eq_ignore_ascii_case(site))
}
