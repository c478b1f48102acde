//! Routes as one table: method, path, permission, and handler. A route without a permission is
//! closed.
//!
//! Clients are identified in `authorize`.

use std::collections::HashMap;

use axum::{
    Router,
    handler::Handler,
    http::Method,
    routing::{self, MethodFilter, MethodRouter},
};
use model::Permission;
use schemars::JsonSchema;

use super::openapi::{Content, Operation, Parameter, schema_of};

/// What a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing: it reveals and changes nothing of a host.
    Public,
    /// A viewer with this permission.
    Needs(Permission),
    /// A viewer with this permission and an unlimited scope.
    NeedsAll(Permission),
}

/// One route.
pub(super) struct Route<S> {
    method: Method,
    path: String,
    access: Option<Access>,
    operation: Option<Operation>,
    handler: MethodRouter<S>,
}

/// A route as its document needs it.
#[derive(Clone)]
pub(super) struct Described {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) access: Option<Access>,
    /// None of a route that is not part of the API.
    pub(super) operation: Option<Operation>,
}

impl<S: Clone + Send + Sync + 'static> Route<S> {
    fn new<H: Handler<T, S>, T: 'static>(
        method: Method,
        filter: MethodFilter,
        path: impl Into<String>,
        handler: H,
    ) -> Self {
        Self { method, path: path.into(), access: None, operation: None, handler: routing::on(filter, handler) }
    }

    /// Requires this permission.
    pub(super) fn needs(self, permission: Permission) -> Self {
        Self { access: Some(Access::Needs(permission)), ..self }
    }

    /// Requires this permission and an unlimited scope.
    pub(super) fn needs_all(self, permission: Permission) -> Self {
        Self { access: Some(Access::NeedsAll(permission)), ..self }
    }

    /// Public.
    pub(super) fn public(self) -> Self {
        Self { access: Some(Access::Public), ..self }
    }
}

/// What the document of the API says of a route.
impl<S> Route<S> {
    /// It is part of the API, and does this.
    pub(super) fn says(self, summary: &'static str) -> Self {
        Self { operation: Some(Operation { summary, ..Operation::default() }), ..self }
    }

    fn with(mut self, add: impl FnOnce(&mut Operation)) -> Self {
        add(self.operation.get_or_insert_default());
        self
    }

    /// Its query may hold this.
    pub(super) fn query<T: JsonSchema>(self, name: &'static str, what: &'static str) -> Self {
        let parameter = Parameter { name, what, required: false, schema: schema_of::<T> };
        self.with(|operation| operation.query.push(parameter))
    }

    /// Its query holds this.
    pub(super) fn needs_query<T: JsonSchema>(self, name: &'static str, what: &'static str) -> Self {
        let parameter = Parameter { name, what, required: true, schema: schema_of::<T> };
        self.with(|operation| operation.query.push(parameter))
    }

    /// It asks a question of the model.
    pub(super) fn asks(mut self, about: &'static model::query::About) -> Self {
        self = self.says(about.summary);
        self.with(|operation| operation.question = Some(about))
    }

    /// It takes this as JSON.
    pub(super) fn takes<T: JsonSchema>(self) -> Self {
        self.with(|operation| operation.body = Some(Content::Json(schema_of::<T>)))
    }

    /// It takes something else.
    pub(super) fn takes_other(self, kind: &'static str) -> Self {
        self.with(|operation| operation.body = Some(Content::Other(kind)))
    }

    /// It answers this as JSON.
    pub(super) fn answers<T: JsonSchema>(self, status: u16) -> Self {
        self.answers_with(status, Content::Json(schema_of::<T>))
    }

    /// It answers something else.
    pub(super) fn answers_with(self, status: u16, content: Content) -> Self {
        self.with(|operation| operation.answers.push((status, content)))
    }
}

/// The constructors of routes.
macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident: $METHOD:ident;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name<S, H, T>(path: impl Into<String>, handler: H) -> Route<S>
        where
            S: Clone + Send + Sync + 'static,
            H: Handler<T, S>,
            T: 'static,
        {
            Route::new(Method::$METHOD, MethodFilter::$METHOD, path, handler)
        }
    )*};
}

methods! {
    /// A reading route, with `GET` or `HEAD`.
    get: GET;
    /// A changing route.
    post: POST;
    /// A route that removes something.
    delete: DELETE;
    /// A route that stores content.
    put: PUT;
}

/// The requirements of each route, by path and method.
#[derive(Clone, Debug, Default)]
pub(super) struct Decisions(HashMap<String, Vec<(Method, Option<Access>)>>);

impl Decisions {
    /// The requirement of a route; none means closed. A method that the route lacks requires what
    /// another one does, and is then answered with 405 by the router.
    pub(super) fn of(&self, method: &Method, route: &str) -> Option<Access> {
        // HEAD is GET without a body (RFC 9110, 9.3.2).
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let methods = self.0.get(route)?;
        let (_, access) = methods.iter().find(|(known, _)| known == method).or(methods.first())?;
        *access
    }

    /// The requirements of two tables.
    pub(super) fn and(mut self, more: Self) -> Self {
        // A path may have different methods in each.
        more.0.into_iter().for_each(|(path, methods)| self.0.entry(path).or_default().extend(methods));
        self
    }

    /// Routes that are closed because they have no requirement, and the number of all routes.
    #[cfg(test)]
    pub(super) fn undecided(&self) -> (Vec<&str>, usize) {
        let all = || self.0.iter().flat_map(|(path, methods)| methods.iter().map(move |(_, access)| (path, access)));
        (all().filter(|(_, access)| access.is_none()).map(|(path, _)| path.as_str()).collect(), all().count())
    }
}

/// Routes that share a state.
pub(super) struct Table<S> {
    router: Router<S>,
    decisions: Decisions,
    described: Vec<Described>,
}

impl<S: Clone + Send + Sync + 'static> Table<S> {
    /// The routes.
    pub(super) fn new(routes: impl IntoIterator<Item = Route<S>>) -> Self {
        routes
            .into_iter()
            .fold(Self { router: Router::new(), decisions: Decisions::default(), described: Vec::new() }, Self::with)
    }

    /// One more route.
    pub(super) fn with(mut self, Route { method, path, access, operation, handler }: Route<S>) -> Self {
        self.described.push(Described { method: method.clone(), path: path.clone(), access, operation });
        self.router = self.router.route(&path, handler);
        self.decisions.0.entry(path).or_default().push((method, access));
        self
    }

    /// Its routes as their document needs them.
    pub(super) fn described(&self) -> Vec<Described> {
        self.described.clone()
    }

    /// The router, and what its routes need.
    pub(super) fn split(self) -> (Router<S>, Decisions) {
        (self.router, self.decisions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_closed_to_other_methods_and_without_a_decision() {
        let table = Table::<()>::new([
            get("/open", async || "").public(),
            post("/open", async || "").needs(Permission::Operate),
            get("/forgotten", async || ""),
        ]);
        let (_, decisions) = table.split();
        let of = |method, path| decisions.of(&method, path);
        assert_eq!(of(Method::HEAD, "/open"), Some(Access::Public));
        assert_eq!(of(Method::POST, "/open"), Some(Access::Needs(Permission::Operate)));
        assert_eq!(of(Method::PUT, "/open"), Some(Access::Public), "the router says that there is no such method");
        assert_eq!(of(Method::GET, "/forgotten"), None);
        assert_eq!(of(Method::GET, "/unknown"), None);
        assert_eq!(decisions.undecided(), (vec!["/forgotten"], 3));
    }
}
