//! Sign-in with an OpenID Connect provider: the authorization code flow with PKCE (RFC 7636), and
//! the mapping of claims.
//!
//! A sign-in must end in the browser that started it: its state is known by its hash, and stored in
//! a cookie meanwhile.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use model::{Fault, FaultKind};
use openidconnect::{
    AdditionalClaims, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    TokenResponse, UserInfoClaims,
    core::{CoreAuthenticationFlow, CoreClient, CoreGenderClaim, CoreProviderMetadata},
    reqwest,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ExternalAccount,
    external::scope_of,
    secrets::{hash, secret},
};
use crate::{config::Oidc, journal::accounts::Hash};

/// Time limit of a sign-in at the provider.
const WITHIN: Duration = Duration::from_secs(600);
/// Maximum concurrent sign-ins at the provider, and per address.
const MAX_AWAY: usize = 1_000;
const MAX_OF_ONE: usize = 50;
/// How long the discovery document is cached.
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// Response time limit of the provider.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Non-standard claims.
#[derive(Debug, Deserialize, Serialize)]
struct Extra(HashMap<String, Value>);

impl AdditionalClaims for Extra {}

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// A sign-in at the provider.
struct Away {
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    redirect: String,
    next: String,
    /// The client address.
    from: String,
    since: Instant,
}

/// Removes a pending sign-in to make space for a new one: of the same address first, otherwise of
/// the address with most of them, so that no one cancels the sign-ins of others.
fn make_room(away: &mut HashMap<Hash, Away>, from: &str) {
    let mut of: HashMap<&str, usize> = HashMap::new();
    for known in away.values() {
        *of.entry(&known.from).or_default() += 1;
    }
    let crowded = match of.get(from) {
        Some(own) if *own >= MAX_OF_ONE => Some(from),
        _ if away.len() < MAX_AWAY => None,
        _ => of.iter().max_by_key(|(_, count)| **count).map(|(from, _)| *from),
    };
    let Some(crowded) = crowded.map(str::to_owned) else { return };
    let oldest = away.iter().filter(|(_, known)| known.from == crowded).min_by_key(|(_, known)| known.since);
    if let Some(hash) = oldest.map(|(hash, _)| *hash) {
        away.remove(&hash);
    }
}

/// The provider, and pending sign-ins.
pub(crate) struct Provider {
    config: Oidc,
    http: Option<reqwest::Client>,
    metadata: Mutex<Option<(Instant, CoreProviderMetadata)>>,
    away: Mutex<HashMap<Hash, Away>>,
}

impl Provider {
    pub(crate) fn new(config: Oidc) -> Self {
        // Redirects of the provider are not followed: they could lead into the internal network.
        let http = reqwest::ClientBuilder::new().redirect(reqwest::redirect::Policy::none()).timeout(ANSWER_WITHIN);
        Self { config, http: http.build().ok(), metadata: Mutex::default(), away: Mutex::default() }
    }

    /// The displayed name: the host of its URL.
    pub(crate) fn name(&self) -> String {
        let rest = self.config.issuer.split_once("://").map_or(self.config.issuer.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default().to_owned()
    }

    fn http(&self) -> Result<&reqwest::Client, Fault> {
        self.http
            .as_ref()
            .ok_or_else(|| Fault::new(FaultKind::Internal, "The HTTP client for the provider is unavailable"))
    }

    /// The discovery document.
    async fn metadata(&self) -> Result<CoreProviderMetadata, Fault> {
        let known = self.metadata.lock().clone();
        if let Some((_, metadata)) = known.filter(|(at, _)| at.elapsed() < KNOWN_FOR) {
            return Ok(metadata);
        }
        let issuer = IssuerUrl::new(self.config.issuer.clone()).map_err(|error| self.unusable("issuer URL", &error))?;
        let read = CoreProviderMetadata::discover_async(issuer, self.http()?).await;
        let metadata = read.map_err(|error| self.unusable("discovery document", &error))?;
        *self.metadata.lock() = Some((Instant::now(), metadata.clone()));
        Ok(metadata)
    }

    async fn client(&self, redirect: &str) -> Result<Client, Fault> {
        let (id, secret) = (ClientId::new(self.config.client.clone()), ClientSecret::new(self.config.secret.clone()));
        let redirect = RedirectUrl::new(redirect.to_owned()).map_err(|error| self.unusable("redirect URL", &error))?;
        Ok(CoreClient::from_provider_metadata(self.metadata().await?, id, Some(secret)).set_redirect_uri(redirect))
    }

    /// The URL to redirect to, and the secret for the browser's cookie.
    ///
    /// # Errors
    /// `Unreachable` if the provider does not respond correctly.
    pub(crate) async fn begin(&self, redirect: String, next: String, from: &str) -> Result<(String, String), Fault> {
        let client = self.client(&redirect).await?;
        let state = secret();
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let sent = state.clone();
        let (address, _, nonce) = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || CsrfToken::new(sent), Nonce::new_random)
            .add_scope(Scope::new("profile".into()))
            .add_scope(Scope::new("email".into()))
            .add_scope(Scope::new(self.config.claim.clone()))
            .set_pkce_challenge(challenge)
            .url();
        let mut away = self.away.lock();
        away.retain(|_, known| known.since.elapsed() < WITHIN);
        make_room(&mut away, from);
        let from = from.to_owned();
        away.insert(hash(&state), Away { nonce, verifier, redirect, next, from, since: Instant::now() });
        Ok((address.to_string(), state))
    }

    /// The account of a returning browser, and its target page.
    ///
    /// # Errors
    /// If the browser did not start the sign-in, the provider rejects it, or the claims grant
    /// nothing.
    pub(crate) async fn finish(&self, state: &str, kept: &str, code: &str) -> Result<(ExternalAccount, String), Fault> {
        let late = || {
            Fault::new(FaultKind::SignedOut, "This sign-in was not started in this browser, or it timed out")
                .with_next("Sign in again")
        };
        if state.is_empty() || state != kept {
            return Err(late());
        }
        let away = self.away.lock().remove(&hash(state));
        let Away { nonce, verifier, redirect, next, .. } =
            away.filter(|known| known.since.elapsed() < WITHIN).ok_or_else(late)?;
        let client = self.client(&redirect).await?;
        let answer = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| self.unusable("token endpoint", &error))?
            .set_pkce_verifier(verifier)
            .request_async(self.http()?)
            .await
            .map_err(|error| self.unusable("token response", &error))?;
        let token = answer.id_token().ok_or_else(|| self.unusable("token response", &"no ID token"))?;
        let claims =
            token.claims(&client.id_token_verifier(), &nonce).map_err(|error| self.unusable("ID token", &error))?;
        let more: UserInfoClaims<Extra, CoreGenderClaim> = client
            .user_info(answer.access_token().clone(), Some(claims.subject().clone()))
            .map_err(|error| self.unusable("user info", &error))?
            .request_async(self.http()?)
            .await
            .map_err(|error| self.unusable("user info", &error))?;
        let subject = claims.subject().as_str();
        let named = more.preferred_username().map(|name| name.as_str());
        let name = named.or(more.email().map(|email| email.as_str())).unwrap_or(subject);
        self.known(subject, name, &more.additional_claims().0).map(|known| (known, next))
    }

    /// The account of a set of claims.
    fn known(&self, subject: &str, name: &str, claims: &HashMap<String, Value>) -> Result<ExternalAccount, Fault> {
        model::user::check_name(name).map_err(|why| Fault::new(FaultKind::NotAllowed, why))?;
        let values = match claims.get(&self.config.claim) {
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(value)) => vec![value.as_str()],
            _ => Vec::new(),
        };
        let roles = self.config.roles.iter().filter(|(_, value)| values.contains(&value.as_str()));
        let role = roles.map(|(role, _)| *role).max().ok_or_else(|| {
            let reason = format!("{name} has no role: no value of the claim {} is mapped to one", self.config.claim);
            Fault::new(FaultKind::NotAllowed, reason).with_next("Ask the administrator of the provider")
        })?;
        let scope = scope_of((name, role), &self.config.scopes, |value| values.contains(&value))?;
        Ok(ExternalAccount { subject: format!("{}#{subject}", self.config.issuer), name: name.to_owned(), role, scope })
    }

    /// The error of a misbehaving provider. Details are only logged, because they may contain
    /// private data.
    fn unusable(&self, what: &str, error: &dyn std::fmt::Display) -> Fault {
        tracing::warn!(provider = self.config.issuer, what, %error, "OpenID Connect provider error");
        Fault::new(FaultKind::Unreachable, format!("Sign-in with {} failed: invalid {what}", self.name()))
            .with_next("Try again, or sign in with a password")
    }
}

#[cfg(test)]
mod tests {
    use model::Role;
    use serde_json::json;

    use super::*;

    fn known(claims: Value, name: &str) -> Result<ExternalAccount, Fault> {
        let provider = Provider::new(Oidc {
            issuer: "https://id.example.org/realm".into(),
            client: "belvedere".into(),
            secret: "secret".into(),
            claim: "groups".into(),
            roles: vec![(Role::Viewer, "staff".into()), (Role::Admin, "vm-admins".into())],
            scopes: vec![("staff".into(), model::Scope::from_words("atlas #web").expect("a scope"))],
        });
        assert_eq!(provider.name(), "id.example.org");
        provider.known("77", name, &serde_json::from_value(claims).expect("an object"))
    }

    #[test]
    fn the_highest_role_of_the_claims_counts_and_none_lets_nobody_in() {
        let role = |claims| known(claims, "jane").map(|known| known.role);
        assert_eq!(role(json!({ "groups": ["staff", "vm-admins", "x"] })).expect("in"), Role::Admin);
        assert_eq!(role(json!({ "groups": "staff" })).expect("in"), Role::Viewer);
        for none in [
            json!({}),
            json!({ "groups": [] }),
            json!({ "groups": 7 }),
            json!({ "groups": ["Staff"] }),
            json!({ "other": ["staff"] }),
        ] {
            assert_eq!(role(none).expect_err("refused").kind, FaultKind::NotAllowed);
        }
        assert!(known(json!({ "groups": "staff" }), "<b>").is_err(), "names are plain");
        let subject = known(json!({ "groups": "staff" }), "jane").expect("in").subject;
        assert_eq!(subject, "https://id.example.org/realm#77");
        let scope = |claims| known(claims, "jane").expect("in").scope.expect("it says one").words();
        assert_eq!(scope(json!({ "groups": "staff" })), "atlas #web");
        assert_eq!(scope(json!({ "groups": ["staff", "vm-admins"] })), "", "an admin sees everything");
    }

    #[test]
    fn whoever_begins_often_ends_nobody_elses_beginning() {
        let mut away = HashMap::new();
        let mut begin = |number: u16, from: &str| {
            make_room(&mut away, from);
            let (_, verifier) = PkceCodeChallenge::new_random_sha256();
            let known = Away {
                nonce: Nonce::new_random(),
                verifier,
                redirect: String::new(),
                next: String::new(),
                from: from.into(),
                since: Instant::now(),
            };
            away.insert(hash(&format!("{from} {number}")), known);
        };
        begin(0, "jane");
        for number in 0..200 {
            begin(number, "flood");
        }
        for number in 0..2_000 {
            begin(number, &format!("net {}", number % 40));
        }
        assert!(away.len() <= MAX_AWAY, "{}", away.len());
        assert!(away.contains_key(&hash("jane 0")), "hers is still there");
        assert!(away.values().filter(|known| known.from == "flood").count() <= MAX_OF_ONE);
    }
}
