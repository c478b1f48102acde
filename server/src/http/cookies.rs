//! The cookies of requests and responses (RFC 6265).

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use cookie::{Cookie, time::Duration};

/// The value of a cookie; none if the browser did not send it.
pub(super) fn get<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut sent = sent.flat_map(Cookie::split_parse).filter_map(Result::ok);
    sent.find(|cookie| cookie.name() == name)?.value_raw()
}

/// The time that a cookie is kept, in seconds.
pub(super) fn lasting(seconds: u64) -> Duration {
    Duration::seconds(seconds.try_into().unwrap_or(i64::MAX))
}

/// A response that sets a cookie.
pub(super) fn set(mut response: Response, cookie: &Cookie<'_>) -> Response {
    if let Ok(value) = HeaderValue::from_str(&cookie.to_string()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_what_is_no_cookie_hides_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; nonsense; belvedere = x=y ;b=2"));
        headers.append(header::COOKIE, HeaderValue::from_static("c=3"));
        assert_eq!(
            ["a", "belvedere", "b", "c", "d"].map(|name| get(&headers, name)),
            [Some("1"), Some("x=y"), Some("2"), Some("3"), None]
        );
    }
}
