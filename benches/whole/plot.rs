//! Plots as SVG: bars in groups, and panels with one curve each. Plain text; nothing draws here but these two.

use std::fmt::Write;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
/// Around what is drawn: the title above, names below, numbers at the left.
const TOP: f64 = 50.0;
const BOTTOM: f64 = 40.0;
const LEFT: f64 = 60.0;
const COLOURS: [&str; 5] = ["#8c8c8c", "#1f5fa8", "#5fa2dd", "#c9a227", "#b3423a"];

/// A name and the bars above it, each of a series.
pub(crate) struct Group {
    pub(crate) name: String,
    /// One for each series; None: not measured.
    pub(crate) bars: Vec<Option<f64>>,
}

/// A curve over a logarithmic axis.
pub(crate) struct Panel {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) fn bars(title: &str, series: &[&str], groups: &[Group]) -> String {
    let mut svg = begin(title);
    legend(&mut svg, series);
    let most = groups.iter().flat_map(|group| group.bars.iter().flatten()).copied().fold(0.0, f64::max);
    let scale = Scale::new(most);
    scale.draw(&mut svg, LEFT, WIDTH - 20.0);
    let step = (WIDTH - 20.0 - LEFT) / groups.len().max(1) as f64;
    for (number, group) in groups.iter().enumerate() {
        let left = LEFT + step * (number as f64 + 0.1);
        let width = step * 0.8 / series.len().max(1) as f64;
        for (index, value) in group.bars.iter().enumerate() {
            let Some(value) = value else { continue };
            let (x, y) = (left + width * index as f64, scale.y(*value));
            let (height, colour) = (HEIGHT - BOTTOM - y, COLOURS[index % COLOURS.len()]);
            rectangle(&mut svg, (x, y), (width * 0.92, height), colour);
            text(&mut svg, (x + width * 0.46, y - 3.0), "middle", 9, &short(*value));
        }
        text(&mut svg, (left + step * 0.4, HEIGHT - BOTTOM + 18.0), "middle", 12, &group.name);
    }
    end(svg)
}

pub(crate) fn panels(title: &str, panels: &[Panel]) -> String {
    let mut svg = begin(title);
    let most = panels.iter().flat_map(|panel| &panel.points).map(|(_, y)| *y).fold(0.0, f64::max);
    let scale = Scale::new(most);
    let step = (WIDTH - LEFT) / panels.len().max(1) as f64;
    for (number, panel) in panels.iter().enumerate() {
        let (left, right) = (LEFT + step * number as f64, LEFT + step * (number as f64 + 1.0) - 24.0);
        scale.draw(&mut svg, left, right);
        let logs = || panel.points.iter().map(|(x, _)| x.max(1.0).ln());
        let (least, span) = (logs().fold(f64::MAX, f64::min), logs().fold(0.0, f64::max));
        let x =
            |value: f64| left + 12.0 + (right - left - 24.0) * (value.max(1.0).ln() - least) / (span - least).max(1e-9);
        let points: Vec<_> = panel.points.iter().map(|(value, y)| (*value, x(*value), scale.y(*y))).collect();
        let path: Vec<_> = points.iter().map(|(_, x, y)| format!("{x:.1},{y:.1}")).collect();
        line(&mut svg, &path.join(" "), COLOURS[1], 2.0);
        for (value, x, y) in &points {
            let _written = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{}\"/>", COLOURS[1]);
            text(&mut svg, (*x, HEIGHT - BOTTOM + 14.0), "middle", 10, &short(*value));
        }
        text(&mut svg, (f64::midpoint(left, right), HEIGHT - 8.0), "middle", 12, &panel.name);
    }
    end(svg)
}

/// The axis from 0 to a round number above the largest value.
struct Scale {
    step: f64,
    steps: u32,
}

impl Scale {
    fn new(most: f64) -> Self {
        let magnitude = 10f64.powf(most.max(1e-9).log10().floor());
        let step = [0.2, 0.5, 1.0, 2.0].map(|part| part * magnitude).into_iter().find(|step| most / step <= 6.0);
        let step = step.unwrap_or(magnitude);
        Self { step, steps: (most / step).ceil().max(1.0) as u32 }
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / (self.step * f64::from(self.steps))
    }

    fn draw(&self, svg: &mut String, left: f64, right: f64) {
        for number in 0..=self.steps {
            let value = self.step * f64::from(number);
            let y = self.y(value);
            line(svg, &format!("{left:.1},{y:.1} {right:.1},{y:.1}"), "#d9d9d9", 1.0);
            text(svg, (left - 5.0, y + 4.0), "end", 10, &short(value));
        }
    }
}

fn begin(title: &str) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut svg, (10.0, 18.0), "start", 14, title);
    svg
}

fn end(svg: String) -> String {
    svg + "</svg>\n"
}

fn legend(svg: &mut String, series: &[&str]) {
    for (number, name) in series.iter().enumerate() {
        let x = LEFT + 160.0 * number as f64;
        rectangle(svg, (x, 27.0), (10.0, 10.0), COLOURS[number % COLOURS.len()]);
        text(svg, (x + 15.0, 36.0), "start", 11, name);
    }
}

fn rectangle(svg: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
    let _written = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
    );
}

fn line(svg: &mut String, points: &str, colour: &str, width: f64) {
    let _written =
        writeln!(svg, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>");
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, size: u32, text: &str) {
    let _written =
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>");
}

/// A number as it is read on an axis.
fn short(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{}M", trimmed(value / 1e6)),
        _ if value >= 1e4 => format!("{:.0}k", value / 1e3),
        _ if value >= 1e3 => format!("{}k", trimmed(value / 1e3)),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
