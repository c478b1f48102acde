//! The values that a specification chooses from, each named once: its key in JSON and forms, and its
//! label.

/// Makes an enum of such values, the first of which is the default.
macro_rules! choice {
    (
        $(#[$about:meta])* $Name:ident {
            $(#[$first_doc:meta])* $First:ident = $first:literal: $first_label:literal,
            $($(#[$doc:meta])* $Kind:ident = $key:literal: $label:literal,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum $Name {
            $(#[$first_doc])* #[default] #[serde(rename = $first)] $First,
            $($(#[$doc])* #[serde(rename = $key)] $Kind,)*
        }

        impl $Name {
            /// All of them, in the order of forms.
            pub const ALL: &[Self] = &[Self::$First, $(Self::$Kind),*];

            /// Its key in JSON and forms.
            pub const fn key(self) -> &'static str {
                match self { Self::$First => $first, $(Self::$Kind => $key),* }
            }

            /// Its label for people.
            pub const fn label(self) -> &'static str {
                match self { Self::$First => $first_label, $(Self::$Kind => $label),* }
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.key())
            }
        }
    };
}

pub(crate) use choice;
