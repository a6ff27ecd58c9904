//! Exchanges written as text, at a fixed time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use larder_policy::{
    Consideration, Exchange, Lookup, NotStorable, Profile, Route, Rules, Storable, StoredPolicy,
    consider, storable,
};

/// A Tuesday in 2023.
pub(crate) const NOW_S: u64 = 1_700_000_000;

pub(crate) fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW_S.saturating_add_signed(seconds))
}

/// An HTTP-date so many seconds from now.
pub(crate) fn date(seconds: i64) -> String {
    httpdate::fmt_http_date(at(seconds))
}

/// `Name: value` lines; `{+5}` and `{-5}` stand for dates so many seconds from now.
pub(crate) fn fields(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').expect("a colon");
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        let value = HeaderValue::from_str(&with_dates(value.trim())).expect("a value");
        headers.append(name, value);
    }
    headers
}

fn with_dates(value: &str) -> String {
    let Some((before, rest)) = value.split_once('{') else {
        return value.to_owned();
    };
    let (seconds, after) = rest.split_once('}').expect("a closing brace");
    let seconds = seconds.parse().expect("a number");
    format!("{before}{}{}", date(seconds), with_dates(after))
}

pub(crate) fn safe() -> Rules {
    Rules::default()
}

pub(crate) fn rfc() -> Rules {
    Rules {
        profile: Profile::Rfc,
        ..Rules::default()
    }
}

/// One exchange; what a row doesn't say is an ordinary `GET` with 200, received now without delay.
pub(crate) struct Case {
    pub(crate) method: Method,
    pub(crate) request: &'static str,
    pub(crate) status: u16,
    pub(crate) rules: Rules,
    pub(crate) route: Route,
    pub(crate) delay_s: i64,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            method: Method::GET,
            request: "",
            status: 200,
            rules: safe(),
            route: Route::default(),
            delay_s: 0,
        }
    }
}

impl Case {
    pub(crate) fn lookup(&self) -> Lookup {
        let request = fields(self.request);
        match consider(&Method::GET, &request, false, &self.rules, &self.route) {
            Consideration::Lookup(lookup) => lookup,
            Consideration::Pass(why) => panic!("passed: {why:?}"),
        }
    }

    pub(crate) fn storable(&self, response: &str) -> Storable {
        storable(
            &self.method,
            &fields(self.request),
            &self.lookup(),
            StatusCode::from_u16(self.status).expect("a status"),
            &fields(response),
            Exchange {
                request_time: at(-self.delay_s),
                response_time: at(0),
            },
            &self.rules,
            &self.route,
        )
    }

    pub(crate) fn kept(&self, response: &str) -> StoredPolicy {
        match self.storable(response) {
            Storable::Yes(policy) => policy,
            Storable::No(why) => panic!("not kept, {why:?}: {response}"),
        }
    }

    pub(crate) fn refused(&self, response: &str) -> Option<NotStorable> {
        match self.storable(response) {
            Storable::Yes(_) => None,
            Storable::No(why) => Some(why),
        }
    }
}

/// The facts about a response that an ordinary exchange brought.
pub(crate) fn kept(response: &str) -> StoredPolicy {
    Case::default().kept(response)
}

/// The look-up of a request with these fields.
pub(crate) fn lookup(request: &'static str) -> Lookup {
    Case {
        request,
        ..Case::default()
    }
    .lookup()
}
