//! Pictures: one sprite in the page, and references to it.

use leptos::prelude::*;

/// The sprite. Shapes are 16 × 16 and drawn with the colour of the text.
#[component]
pub(crate) fn Sprite() -> impl IntoView {
    view! {
        <svg class="sprite" aria-hidden="true" width="0" height="0">
            <symbol id="i-logo" viewBox="0 0 20 20">
                <path d="M2 18h16M4 18V9m4 9V9m4 9V9m4 9V9M2.5 9h15L10 3z" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linejoin="round" stroke-linecap="round"/>
            </symbol>
            <symbol id="i-start" viewBox="0 0 16 16"><path d="M5 3v10l8-5z" fill="currentColor"/></symbol>
            <symbol id="i-pause" viewBox="0 0 16 16"><path d="M4 3h3v10H4zM9 3h3v10H9z" fill="currentColor"/></symbol>
            <symbol id="i-resume" viewBox="0 0 16 16"><path d="M3 3h2.4v10H3zM7 3v10l7-5z" fill="currentColor"/></symbol>
            <symbol id="i-shutdown" viewBox="0 0 16 16">
                <path d="M8 2v6M4.6 4.2a5 5 0 1 0 6.8 0" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round"/>
            </symbol>
            <symbol id="i-reboot" viewBox="0 0 16 16">
                <path d="M12.8 6A5.2 5.2 0 1 0 13 9.6M13 2.6V6H9.6" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/>
            </symbol>
            <symbol id="i-running" viewBox="0 0 16 16"><path d="M5 3.2v9.6L12.6 8z" fill="currentColor"/></symbol>
            <symbol id="i-paused" viewBox="0 0 16 16"><path d="M4.4 3.5h2.5v9H4.4zM9.1 3.5h2.5v9H9.1z" fill="currentColor"/></symbol>
            <symbol id="i-stopped" viewBox="0 0 16 16"><rect x="4" y="4" width="8" height="8" rx="1.4" fill="none" stroke="currentColor" stroke-width="1.6"/></symbol>
            <symbol id="i-suspended" viewBox="0 0 16 16"><path d="M12.2 9.6A5 5 0 1 1 6.5 3.9a4.1 4.1 0 0 0 5.7 5.7z" fill="currentColor"/></symbol>
            <symbol id="i-shuttingDown" viewBox="0 0 16 16">
                <path d="M8 3v4.6M5 5a4.4 4.4 0 1 0 6 0" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-dasharray="3 2"/>
            </symbol>
            <symbol id="i-crashed" viewBox="0 0 16 16">
                <path d="M8 2.2 14.6 13.6H1.4z" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round"/><path d="M8 6.4v3.4M8 11.4v.5" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"/>
            </symbol>
            <symbol id="i-unknown" viewBox="0 0 16 16">
                <circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="1.5"/><path d="M6.4 6.4a1.7 1.7 0 1 1 2.2 1.8c-.4.1-.6.4-.6.9M8 11.1v.3" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round"/>
            </symbol>
            <symbol id="i-more" viewBox="0 0 16 16"><path d="M3 8h.01M8 8h.01M13 8h.01" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"/></symbol>
            <symbol id="i-search" viewBox="0 0 16 16"><path d="m10.6 10.6 3 3M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10z" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"/></symbol>
            <symbol id="i-machines" viewBox="0 0 16 16"><path d="M2 3h12v7.5H2zM6 13.5h4M8 10.5v3" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linejoin="round" stroke-linecap="round"/></symbol>
            <symbol id="i-hosts" viewBox="0 0 16 16"><path d="M2.5 2.5h11v4.6h-11zM2.5 9h11v4.6h-11zM5 4.8h.01M5 11.3h.01" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linejoin="round" stroke-linecap="round"/></symbol>
            <symbol id="i-theme" viewBox="0 0 16 16"><path d="M8 2a6 6 0 1 0 0 12z" fill="currentColor"/><circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.4"/></symbol>
            <symbol id="i-close" viewBox="0 0 16 16"><path d="m4 4 8 8m0-8-8 8" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"/></symbol>
            <symbol id="i-menu" viewBox="0 0 16 16"><path d="M2 4h12M2 8h12M2 12h12" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"/></symbol>
            <symbol id="i-check" viewBox="0 0 16 16"><path d="m3 8.6 3.2 3.2L13 4.6" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"/></symbol>
        </svg>
    }
}

/// One picture of the sprite; decoration, so always beside or inside words.
pub(crate) fn icon(name: &str) -> impl IntoView + use<> {
    let shape = format!("#i-{name}");
    view! { <svg class="icon" aria-hidden="true"><use href=shape></use></svg> }
}
