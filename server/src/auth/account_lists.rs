//! Accounts, tokens and sessions for pages, without secrets.

use app::backend::{Accounts, AccountsRequest, SessionLine, TokenLine, UserLine, Visit};
use rusqlite::Connection;

use super::manage::may_choose_password;
use crate::{
    journal::accounts::{self, Session, User},
    tasks::now,
};

/// The data of a page for a viewer.
pub(crate) fn listed(connection: &Connection, wish: AccountsRequest, visit: &Visit) -> rusqlite::Result<Accounts> {
    let now = now();
    let own = visit.viewer.name.as_deref();
    match wish {
        AccountsRequest::Own => {
            let Some(user) = own.map(|name| accounts::user(connection, name)).transpose()?.flatten() else {
                return Ok(Accounts::default());
            };
            let sessions = accounts::sessions(connection, own, now)?;
            let current = sessions.iter().find(|session| Some(session.hash) == visit.session);
            Ok(Accounts {
                needs_no_password: current.is_some_and(|session| may_choose_password(session, now)),
                users: vec![user_line(connection, user, &sessions)?],
                sessions: session_lines(sessions, visit),
                ..Accounts::default()
            })
        }
        AccountsRequest::Users => {
            let sessions = accounts::sessions(connection, None, now)?;
            let users = accounts::users(connection)?.into_iter().map(|user| user_line(connection, user, &sessions));
            Ok(Accounts { users: users.collect::<Result<_, _>>()?, ..Accounts::default() })
        }
        AccountsRequest::Tokens => {
            let lines = accounts::tokens(connection)?.into_iter().map(|token| TokenLine {
                name: token.name,
                role: token.role,
                scope: token.scope,
                created: token.created,
                expires: token.expires,
            });
            Ok(Accounts { tokens: lines.collect(), ..Accounts::default() })
        }
        AccountsRequest::Sessions => {
            let sessions = accounts::sessions(connection, None, now)?;
            Ok(Accounts { sessions: session_lines(sessions, visit), ..Accounts::default() })
        }
    }
}

fn user_line(connection: &Connection, user: User, sessions: &[Session]) -> rusqlite::Result<UserLine> {
    let has_factor = accounts::factor(connection, &user.name)?.is_some();
    Ok(UserLine {
        recovery_codes: has_factor.then(|| accounts::recovery_left(connection, &user.name)).transpose()?,
        sessions: sessions.iter().filter(|session| session.user == user.name).count(),
        has_password: user.password.is_some(),
        role: user.role,
        scope: user.scope,
        name: user.name,
    })
}

fn session_lines(sessions: Vec<Session>, visit: &Visit) -> Vec<SessionLine> {
    let line = |session: Session| SessionLine {
        id: session.id,
        current: Some(session.hash) == visit.session,
        user: session.user,
        created: session.created,
        seen: session.seen,
        address: session.address,
        agent: session.agent,
    };
    sessions.into_iter().map(line).collect()
}
