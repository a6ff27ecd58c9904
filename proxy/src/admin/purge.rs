//! `POST /purge`: from its query to an order, and from what was done to JSON.

use http::StatusCode;
use http::request::Parts;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::answer::{Answer, json_ok, problem};
use super::{Operations, PurgeFailed};
use crate::engine::{PurgeOrder, Purged};

/// Things that one purge may name: more than a person types, and than a request's head holds of most.
const NAMES_MAX: usize = 1_000;

pub(super) async fn purge(head: &Parts, operations: &dyn Operations) -> Answer {
    let order = match order(head.uri.query().unwrap_or_default()) {
        Ok(order) => order,
        Err(detail) => return problem(StatusCode::BAD_REQUEST, "bad-parameter", &detail),
    };
    match operations.purge(&order).await {
        Ok(purged) => json_ok(&purged_json(&order, &purged)),
        Err(PurgeFailed::Bad(why)) => {
            let detail = format!("nothing can be stored under what is to be purged: {why}");
            problem(StatusCode::BAD_REQUEST, "bad-url", &detail)
        }
        Err(PurgeFailed::Unavailable(why)) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "purge-unavailable", &why)
        }
    }
}

fn purged_json(order: &PurgeOrder, purged: &Purged) -> Value {
    json!({
        "sequence": purged.applied.sequence,
        "replicas": purged.applied.replicas,
        "applied": purged.applied.applied,
        "soft": order.soft,
        "purged": purged.names,
    })
}

/// What the query asks for. An unknown parameter is refused rather than ignored: a URL whose `&` was not escaped looks like one, and half
/// a URL would be purged.
fn order(query: &str) -> Result<PurgeOrder, String> {
    let mut order = PurgeOrder::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        match name.as_ref() {
            "url" => order.urls.push(named("url", value)?),
            "tag" => order.tags.push(tag(&value)?),
            "prefix" => order.prefixes.push(named("prefix", value)?),
            "all" => order.all = truth("all", &value)?,
            "soft" => order.soft = truth("soft", &value)?,
            other => {
                return Err(format!(
                    "there is no parameter {other:?}: there are url, tag, prefix, all and soft; if it belongs to the URL to purge, percent-encode that URL's & and ="
                ));
            }
        }
    }
    let names = order.urls.len() + order.tags.len() + order.prefixes.len();
    if names == 0 && !order.all {
        return Err(
            "nothing is named: give url, tag or prefix (each may stand several times), or all=true"
                .to_owned(),
        );
    }
    if names > NAMES_MAX {
        return Err(format!(
            "more than {NAMES_MAX} things are named: split the purge"
        ));
    }
    Ok(order)
}

fn named(parameter: &str, value: String) -> Result<String, String> {
    match value.trim().is_empty() {
        true => Err(format!("the parameter {parameter} is blank")),
        false => Ok(value),
    }
}

/// Around a tag, white space is none of it.
fn tag(value: &str) -> Result<String, String> {
    if value.contains(char::REPLACEMENT_CHARACTER) {
        return Err(
            "the parameter tag is not UTF-8; a tag of other bytes can't be purged by name"
                .to_owned(),
        );
    }
    named("tag", value.trim_ascii().to_owned())
}

fn truth(parameter: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!(
            "the parameter {parameter} is {other:?}; it can be true or false"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_once() {
        let got = order("url=http%3A%2F%2Fapi.example%2Fa%3Fb%3D1%26c%3D%2525&url=/a?b=1").unwrap();
        assert_eq!(got.urls, ["http://api.example/a?b=1&c=%25", "/a?b=1"]);
    }

    #[test]
    fn everything_that_is_named_is_ordered() {
        let got = order("tag=a&tag=+b+c+&prefix=/x/&url=/y&soft=true").unwrap();
        let expected = PurgeOrder {
            urls: vec!["/y".into()],
            tags: vec!["a".into(), "b c".into()],
            prefixes: vec!["/x/".into()],
            all: false,
            soft: true,
        };
        assert_eq!(got, expected);
        assert!(order("all=true").unwrap().all);
        assert!(!order("all=true").unwrap().soft);
    }

    #[test]
    fn what_is_no_order_is_named() {
        for (query, says) in [
            ("", "nothing is named"),
            ("all=false", "nothing is named"),
            ("soft=true", "nothing is named"),
            ("url=", "url is blank"),
            ("tag=%20", "tag is blank"),
            ("tag=caf%E9", "tag is not UTF-8"),
            ("all=yes", "all is \"yes\""),
            ("url=/a?b=1&c=2", "no parameter \"c\""),
        ] {
            let detail = order(query).unwrap_err();
            assert!(detail.contains(says), "{query}: {detail}");
        }
        let many = "tag=a&".repeat(NAMES_MAX);
        assert!(order(&many).is_ok());
        assert!(
            order(&format!("{many}tag=a"))
                .unwrap_err()
                .contains("split")
        );
    }
}
