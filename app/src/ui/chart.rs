//! Line charts as SVG, rendered on the server as well.
//!
//! All charts of a page share one cursor. Colours come from classes and positions from attributes,
//! because the page allows no inline styles. Knows neither machines nor units; callers format
//! values.

use leptos::{ev::PointerEvent, prelude::*};

use super::{
    live::{live, live_text},
    moment::{Cut, following, moment},
};

/// Width and height of a chart in SVG units; it is stretched to its place.
const SIZE: (f64, f64) = (600.0, 120.0);
/// Readings further apart than this many usual steps are not connected.
const GAP: f64 = 3.0;

/// The data of a chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    /// Times of the readings, in Unix milliseconds, oldest first.
    pub(crate) times: Vec<u64>,
    /// Each line: its label and its value at each time; `None` is a gap.
    pub(crate) lines: Vec<(&'static str, Vec<Option<f64>>)>,
    /// The time range of the x-axis, in Unix milliseconds.
    pub(crate) span: (u64, u64),
}

/// The maximum of the y-axis: the next round value above the largest one shown, and at least the
/// given one, so that noise does not look large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// 1, 2 or 5 times a power of ten.
    Decimal(f64),
    /// A power of two.
    Binary(f64),
}

impl Scale {
    fn top(self, largest: f64) -> f64 {
        match self {
            Self::Decimal(least) => round_up(largest.max(least)),
            Self::Binary(least) => largest.max(least).max(1.0).log2().ceil().exp2(),
        }
    }
}

/// The style of a chart.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    /// Heading.
    pub(crate) title: &'static str,
    /// Class of its colour.
    pub(crate) class: &'static str,
    /// Scale of the y-axis.
    pub(crate) scale: Scale,
    /// Formats a value.
    pub(crate) words: fn(f64) -> String,
    /// Format of times.
    pub(crate) times: Cut,
}

/// The time under the pointer, shared by all charts of the page.
#[derive(Clone, Copy)]
pub(crate) struct Pointer(pub(crate) RwSignal<Option<u64>>);

impl Series {
    /// The maximum of the y-axis; round, and greater than 0.
    fn top(&self, scale: Scale) -> f64 {
        let largest = self.lines.iter().flat_map(|(_, values)| values.iter().flatten().copied()).fold(0.0, f64::max);
        scale.top(largest)
    }

    fn x(&self, at: u64) -> f64 {
        let (from, to) = self.span;
        at.saturating_sub(from) as f64 / to.saturating_sub(from).max(1) as f64 * SIZE.0
    }

    /// The median time between two readings.
    fn step(&self) -> f64 {
        let mut steps: Vec<u64> = self.times.windows(2).map(|two| two[1].saturating_sub(two[0])).collect();
        steps.sort_unstable();
        steps.get(steps.len() / 2).map_or(f64::INFINITY, |step| *step as f64)
    }

    /// The parts of a line without gaps, as points.
    fn stretches(&self, values: &[Option<f64>], top: f64) -> Vec<Vec<(f64, f64)>> {
        let (longest, mut stretches, mut last) = (self.step() * GAP, Vec::<Vec<(f64, f64)>>::new(), None);
        for (at, value) in self.times.iter().zip(values) {
            let Some(value) = value else {
                last = None;
                continue;
            };
            if last.is_none_or(|last: u64| at.saturating_sub(last) as f64 > longest) {
                stretches.push(Vec::new());
            }
            last = Some(*at);
            let y = SIZE.1 - (value / top).clamp(0.0, 1.0) * SIZE.1;
            stretches.last_mut().expect("just made").push((self.x(*at), y));
        }
        stretches
    }

    /// The lines as one path, and the areas below them as another.
    fn paths(&self, values: &[Option<f64>], top: f64) -> (String, String) {
        let (mut line, mut area) = (String::new(), String::new());
        for stretch in self.stretches(values, top) {
            let (first, last) = (stretch[0], stretch[stretch.len() - 1]);
            let points: String = stretch.iter().map(|(x, y)| format!("L{} {}", short(*x), short(*y))).collect();
            line.push_str(&format!("M{}", &points[1..]));
            area.push_str(&format!("M{} {h}{points}L{} {h}Z", short(first.0), short(last.0), h = short(SIZE.1)));
        }
        (line, area)
    }

    /// The index of the reading nearest to a time.
    fn nearest(&self, at: u64) -> Option<usize> {
        (0..self.times.len()).min_by_key(|n| self.times[*n].abs_diff(at))
    }

    /// The text alternative of the chart.
    fn summary(&self, style: Style) -> String {
        let parts = self.lines.iter().filter_map(|(label, values)| {
            let known = || values.iter().flatten().copied();
            let (least, most) = (known().fold(f64::INFINITY, f64::min), known().fold(0.0, f64::max));
            let last = known().next_back()?;
            Some(format!(
                "{label} latest {}, minimum {}, maximum {}",
                (style.words)(last),
                (style.words)(least),
                (style.words)(most)
            ))
        });
        let parts: Vec<String> = parts.collect();
        if parts.is_empty() {
            format!("{}: no data", style.title)
        } else {
            format!("{}: {}", style.title, parts.join("; "))
        }
    }
}

/// A coordinate with one decimal.
fn short(value: f64) -> String {
    let tenths = (value * 10.0).round() as i64;
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        rest => format!("{}.{}", tenths / 10, rest.abs()),
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let mut top = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if top >= value || top > 1e18 {
            break;
        }
        top *= factor;
    }
    top
}

/// A chart that follows its series.
pub(crate) fn chart(style: Style, head: AnyView, series: Signal<Series>) -> AnyView {
    let pointer = use_context::<Pointer>().unwrap_or_else(|| Pointer(RwSignal::new(None)));
    let moved = move |event: PointerEvent| {
        #[cfg(feature = "hydrate")]
        {
            use wasm_bindgen::JsCast;
            let place = event.current_target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
            let Some(place) = place.map(|place| place.get_bounding_client_rect()) else { return };
            let part = ((f64::from(event.client_x()) - place.left()) / place.width().max(1.0)).clamp(0.0, 1.0);
            let (from, to) = series.with_untracked(|series| series.span);
            pointer.0.set(Some(from + (part * to.saturating_sub(from) as f64) as u64));
        }
        #[cfg(not(feature = "hydrate"))]
        let _ = event;
    };
    // Where a press started; released elsewhere, it selects a time range to zoom into.
    let began = RwSignal::new(None::<u64>);
    let released = move |_: PointerEvent| {
        let marked = began.get_untracked().zip(pointer.0.get_untracked());
        began.set(None);
        let Some((from, to)) = marked.map(|(a, b)| (a.min(b), a.max(b))) else { return };
        let (left, right) = series.with_untracked(|series| series.span);
        if to - from > right.saturating_sub(left) / 50 {
            window().location().set_search(&format!("from={from}&to={to}")).ok();
        }
    };
    let pointed = move || {
        let at = pointer.0.get()?;
        series.with(|series| {
            let n = series.nearest(at)?;
            let values = series
                .lines
                .iter()
                .filter_map(|(label, values)| Some(format!("{label} {}", (style.words)((*values.get(n)?)?))));
            Some((series.times[n], series.x(series.times[n]), values.collect::<Vec<_>>().join(" · ")))
        })
    };
    view! {
        <section class=format!("card plot {}", style.class)>
            <header><h2>{style.title}</h2><span class="num">{live(move || match pointed() {
                Some((at, _, text)) => view! { <span class="muted">{moment(at, style.times)} " · " {text}</span> }.into_any(),
                None => ().into_any(),
            })}</span><span class="num now">{head}</span></header>
            <div class="area">
                <svg viewBox=format!("0 0 {} {}", short(SIZE.0), short(SIZE.1)) preserveAspectRatio="none" role="img"
                    aria-label=move || series.with(|series| series.summary(style))
                    on:pointermove=moved on:pointerleave=move |_| { pointer.0.set(None); began.set(None) }
                    on:pointerdown=move |_| began.set(pointer.0.get_untracked()) on:pointerup=released>
                    <path class="rule" d=format!("M0 0H{w}M0 {}H{w}M0 {}H{w}", short(SIZE.1 / 2.0), short(SIZE.1), w = short(SIZE.0))/>
                    {live(move || series.with(|series| drawn(series, series.top(style.scale))))}
                    <path class="marked" d=move || began.get().zip(pointer.0.get()).map(|(a, b)| series.with(|series| format!("M{} 0V{h}H{}V0Z", short(series.x(a)), short(series.x(b)), h = short(SIZE.1)))).unwrap_or_default()/>
                    <path class="pointer" d=move || pointed().map(|(_, x, _)| format!("M{} 0V{}", short(x), short(SIZE.1))).unwrap_or_default()/>
                </svg>
                <p class="scale" aria-hidden="true"><span>{live_text(move || (style.words)(series.with(|series| series.top(style.scale))))}</span><span>{live_text(move || (style.words)(series.with(|series| series.top(style.scale)) / 2.0))}</span><span>{(style.words)(0.0)}</span></p>
            </div>
            <p class="times" aria-hidden="true">{(0..4_u64).map(|n| following(move || series.with(|series| {
                let (from, to) = series.span;
                from + to.saturating_sub(from) * n / 3
            }), style.times)).collect_view()}</p>
        </section>
    }
    .into_any()
}

fn drawn(series: &Series, top: f64) -> AnyView {
    let lines = series.lines.iter().enumerate().map(|(n, (_, values))| {
        let (line, area) = series.paths(values, top);
        view! { <path class=format!("fill l{n}") d=area/><path class=format!("line l{n}") d=line/> }.into_any()
    });
    lines.collect_view().into_any()
}

/// A sparkline of values with their times (Unix milliseconds) over two minutes, between 0 and
/// `top`; the newest at the right.
pub(crate) fn spark(values: impl DoubleEndedIterator<Item = (u64, Option<f64>)>, top: f64) -> String {
    const SPAN: f64 = 118_000.0;
    let mut values = values.rev().peekable();
    let newest = values.peek().map_or(0, |(at, _)| *at);
    let points = values.filter_map(|(at, value)| {
        let x = 72.0 - newest.saturating_sub(at) as f64 * 72.0 / SPAN;
        let y = 18.0 - ((value? / top.max(1e-9)).clamp(0.0, 1.0) * 16.0);
        (x >= -1.0).then(|| format!("{},{}", short(x), short(y)))
    });
    points.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(times: &[u64], values: &[Option<f64>]) -> Series {
        Series { times: times.to_vec(), lines: vec![("used", values.to_vec())], span: (0, 100) }
    }

    #[test]
    fn missing_values_and_missing_readings_leave_gaps() {
        let whole = series(&[0, 10, 20, 30], &[Some(1.0), Some(2.0), Some(3.0), Some(4.0)]);
        assert_eq!(whole.stretches(&whole.lines[0].1, 4.0).len(), 1);
        let missing = series(&[0, 10, 20, 30], &[Some(1.0), None, Some(3.0), Some(4.0)]);
        assert_eq!(missing.stretches(&missing.lines[0].1, 4.0).len(), 2);
        let pause = series(&[0, 10, 20, 90, 100], &[Some(1.0); 5]);
        assert_eq!(pause.stretches(&pause.lines[0].1, 4.0).len(), 2);
        assert_eq!(series(&[], &[]).paths(&[], 1.0), (String::new(), String::new()));
    }

    #[test]
    fn a_chart_stays_within_its_frame() {
        let wild = series(&[0, 50, 100], &[Some(0.0), Some(1e30), Some(3.0)]);
        let points: Vec<_> = wild.stretches(&wild.lines[0].1, wild.top(Scale::Decimal(1.0))).concat();
        assert!(points.iter().all(|(x, y)| (0.0..=SIZE.0).contains(x) && (0.0..=SIZE.1).contains(y)), "{points:?}");
        assert_eq!(wild.paths(&wild.lines[0].1, wild.top(Scale::Decimal(1.0))).0, "M0 120L300 0L600 120");
    }

    #[test]
    fn the_scale_ends_at_a_round_number() {
        assert_eq!(
            [0.0, 1.0, 3.0, 7.0, 12.0, 99.0, 4_000.0].map(round_up),
            [1.0, 1.0, 5.0, 10.0, 20.0, 100.0, 5_000.0]
        );
        let top = |scale: Scale, largest: &[f64]| largest.iter().map(|largest| scale.top(*largest)).collect::<Vec<_>>();
        assert_eq!(top(Scale::Decimal(10.0), &[0.0, 3.0, 12.0, 100.0]), [10.0, 10.0, 20.0, 100.0]);
        assert_eq!(top(Scale::Binary(256.0), &[0.0, 256.0, 300.0, 3_000.0]), [256.0, 256.0, 512.0, 4_096.0]);
        assert_eq!([0.04, 1.25, -0.5, 600.0].map(short), ["0", "1.3", "0.5", "600"].map(str::to_owned));
    }

    #[test]
    fn a_chart_has_a_text_alternative() {
        let style = Style {
            title: "CPU",
            class: "cpu",
            scale: Scale::Decimal(1.0),
            words: |value| format!("{value} %"),
            times: Cut::Clock,
        };
        let text = series(&[0, 1, 2], &[Some(3.0), Some(9.0), Some(4.0)]).summary(style);
        assert_eq!(text, "CPU: used latest 4 %, minimum 3 %, maximum 9 %");
        assert_eq!(series(&[], &[]).summary(style), "CPU: no data");
    }
}
