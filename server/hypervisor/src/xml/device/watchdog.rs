//! `<watchdog>`.

use model::device::{Watchdog, WatchdogAction, WatchdogModel};

use super::{device, words};

words!(WatchdogModel, WatchdogAction);

device! {
    Watchdog in "watchdog" {
        model: "@model",
        action: "@action",
    }
}
