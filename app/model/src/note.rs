//! What the audit log records besides commands: of the server itself, and of accounts, hosts and
//! secrets. Each kind is named once, with its key in records and its words for people.

/// Makes the enum of all kinds.
macro_rules! notes {
    ($($(#[$doc:meta])* $Kind:ident = $key:literal: $words:literal,)*) => {
        /// A kind of record that is not a command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum NoteKind {
            $($(#[$doc])* $Kind,)*
        }

        impl NoteKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$Kind),*];

            /// Its key in records.
            pub fn key(self) -> &'static str {
                match self { $(Self::$Kind => $key),* }
            }

            /// Its words for people.
            pub fn words(self) -> &'static str {
                match self { $(Self::$Kind => $words),* }
            }

            /// The kind with a key; none if this version does not know it.
            pub fn from_key(key: &str) -> Option<Self> {
                match key {
                    $($key => Some(Self::$Kind),)*
                    _ => None,
                }
            }
        }
    };
}

notes! {
    /// Belvedere was started.
    ServerStarted = "serverStarted": "Belvedere was started",
    /// Belvedere was stopped.
    ServerStopped = "serverStopped": "Belvedere was stopped",
    /// The journal is writable again.
    JournalWorksAgain = "journalWorksAgain": "The journal is writable again",
    /// Old records were purged.
    RecordsForgotten = "recordsForgotten": "Old records were purged",
    /// Signed in.
    LoggedIn = "loggedIn": "Signed in",
    /// Signed in with a sign-in link.
    LoggedInByLink = "loggedInByLink": "Signed in with a sign-in link",
    /// Signed in with a provider.
    LoggedInByProvider = "loggedInByProvider": "Signed in with a provider",
    /// Signed in with a system password.
    LoggedInBySystem = "loggedInBySystem": "Signed in with a system password",
    /// Signed in with a recovery code.
    LoggedInByRecoveryCode = "loggedInByRecoveryCode": "Signed in with a recovery code",
    /// Signed out.
    LoggedOut = "loggedOut": "Signed out",
    /// Sign-in failed.
    LogInFailed = "logInFailed": "Sign-in failed",
    /// Session was ended.
    SessionEnded = "sessionEnded": "Session was ended",
    /// Password was changed.
    PasswordChanged = "passwordChanged": "Password was changed",
    /// Second factor was turned on.
    SecondFactorOn = "secondFactorOn": "Second factor was turned on",
    /// Second factor was turned off.
    SecondFactorOff = "secondFactorOff": "Second factor was turned off",
    /// Account was added.
    UserAdded = "userAdded": "Account was added",
    /// Account was removed.
    UserRemoved = "userRemoved": "Account was removed",
    /// Role was changed.
    RoleChanged = "roleChanged": "Role was changed",
    /// Sign-in link was created.
    LoginLinkMade = "loginLinkMade": "Sign-in link was created",
    /// Volume was downloaded.
    VolumeDownloaded = "volumeDownloaded": "Volume was downloaded",
    /// Console was opened.
    ConsoleOpened = "consoleOpened": "Console was opened",
    /// Definition was read with passwords.
    PasswordsRead = "passwordsRead": "Definition was read with passwords",
    /// Host was added.
    HostAdded = "hostAdded": "Host was added",
    /// Host was changed.
    HostChanged = "hostChanged": "Host was changed",
    /// Host was removed.
    HostRemoved = "hostRemoved": "Host was removed",
    /// Token was created.
    TokenCreated = "tokenCreated": "Token was created",
    /// Token was revoked.
    TokenRevoked = "tokenRevoked": "Token was revoked",
}

#[cfg(test)]
mod tests {
    use super::NoteKind;

    #[test]
    fn each_kind_is_found_by_its_key_and_is_no_command() {
        for kind in NoteKind::ALL {
            assert_eq!(NoteKind::from_key(kind.key()), Some(*kind));
            assert!(crate::Command::about_kind(kind.key()).is_none(), "{}", kind.key());
        }
        assert_eq!(NoteKind::from_key("start"), None);
    }
}
