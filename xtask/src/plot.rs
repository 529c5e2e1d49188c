//! SVG plots of the results. Rows that were not measured are left out, and what cannot be drawn is said.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::Error;
use crate::results::{Key, Results};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One bar: who, how much.
#[derive(Debug, PartialEq)]
pub struct Bar {
    /// Who.
    pub label: String,
    /// How much.
    pub value: f64,
}

/// One line: who, and its points.
#[derive(Debug, PartialEq)]
pub struct Line {
    /// Who.
    pub label: String,
    /// Where, and how much.
    pub points: Vec<(f64, f64)>,
}

/// Bars under one heading.
pub struct Panel {
    /// The heading.
    pub title: String,
    /// The bars, from the top.
    pub bars: Vec<Bar>,
    /// What their lengths say.
    pub scale: Scale,
}

/// What the length of a bar says.
#[derive(Clone, Copy)]
pub enum Scale {
    /// Its value.
    Linear,
    /// The logarithm of its value; a bar of this value, or of a tenth of the longest bar's where that is less, has no length.
    Log(f64),
}

const WIDTH: u32 = 860;
const BAR_HEIGHT: u32 = 20;
const TITLE_HEIGHT: u32 = 34;
const LABEL_WIDTH: i32 = 260;
const VALUE_WIDTH: i32 = 90;

/// Colours that stay apart for the colour-blind as well.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 94, 40),
    RGBColor(90, 90, 90),
];

/// Draws every plot that the results have rows for, into `dir`.
///
/// # Errors
/// `Plot` when a file cannot be written.
pub fn plot_all(results: &Results, dir: &Path) -> Result<(), Error> {
    let w1 = [
        (
            "w1_awake",
            "cache_line",
            "W1, both awake: round trip / cache-line round trip, log scale",
            // Others are a hundred times as long.
            Scale::Log(0.5),
        ),
        (
            "w1_asleep",
            "spsc_futex",
            "W1, both asleep: round trip / SPSC ring with futex",
            Scale::Linear,
        ),
    ]
    .map(|(workload, reference, title, scale)| Panel {
        title: title.to_owned(),
        bars: ratios_to(results, workload, reference),
        scale,
    });
    let variants = Panel {
        title: "W1 of baton_lanes, both awake, variants: round trip / cache-line round trip"
            .to_owned(),
        bars: variants_of_w1(results),
        scale: Scale::Linear,
    };
    let w1 = w1.into_iter().chain([variants]).collect();
    draw_panels(&dir.join("w1.svg"), w1)?;
    draw_panels(&dir.join("w2.svg"), rate_panels(results))?;

    for clients in results.clients("request", "instructions") {
        let title = format!(
            "Instructions a request and answer, {}",
            clients_in_words(clients)
        );
        let file = dir.join(format!("request-instructions-{clients}.svg"));
        draw_lines(
            &file,
            &title,
            "instructions",
            instructions_of(results, clients),
        )?;
    }
    for (ours, theirs) in [
        ("baton_lanes", "baton_pairs_dispatcher"),
        ("baton_lanes_dispatcher", "baton_pairs_dispatcher"),
        ("baton_lanes", "baton_pairs"),
    ] {
        let title = format!("Instructions a request: {ours} / {theirs}");
        let file = dir.join(format!("ratio-{ours}-{theirs}.svg"));
        draw_lines(&file, &title, "ratio", ratio_lines(results, ours, theirs))?;
    }
    Ok(())
}

/// Each peer's median as a ratio to the reference of the same run.
fn ratios_to(results: &Results, workload: &str, reference: &str) -> Vec<Bar> {
    let key = Key {
        workload,
        peer: reference,
        clients: 1,
        outstanding: 1,
        metric: "p50",
    };
    let Some(unit) = results.get(key).filter(|unit| *unit > 0.0) else {
        return Vec::new();
    };
    results
        .rows(workload, "p50")
        .map(|(key, value)| Bar {
            label: key.peer.to_owned(),
            value: value / unit,
        })
        .collect()
}

/// Baton's ping-pong with more payload, more connections, or tracing, as a ratio to the cache line of the same run.
fn variants_of_w1(results: &Results) -> Vec<Bar> {
    let of = |workload, peer| {
        results.get(Key {
            workload,
            peer,
            clients: 1,
            outstanding: 1,
            metric: "p50",
        })
    };
    let Some(unit) = of("w1_awake", "cache_line").filter(|unit| *unit > 0.0) else {
        return Vec::new();
    };
    [
        ("w1_awake", "48 bytes"),
        ("w1_awake_idle60", "48 bytes, 60 idle lanes"),
        ("w1_awake_traced", "48 bytes, traced"),
        ("w1_awake_256", "256 bytes"),
        ("w1_awake_4096", "4096 bytes"),
    ]
    .into_iter()
    .filter_map(|(workload, label)| {
        Some(Bar {
            label: format!("baton_lanes, {label}"),
            value: of(workload, "baton_lanes")? / unit,
        })
    })
    .collect()
}

/// One panel for each number of clients and outstanding requests.
fn rate_panels(results: &Results) -> Vec<Panel> {
    let mut loads: Vec<(u64, u64)> = results
        .rows("w2", "rate")
        .map(|(key, _)| (key.clients, key.outstanding))
        .collect();
    loads.sort_unstable();
    loads.dedup();
    let panel = |(clients, outstanding)| Panel {
        title: format!(
            "W2, {}, {outstanding} outstanding each: requests/s, log scale",
            clients_in_words(clients)
        ),
        bars: results
            .rows("w2", "rate")
            .filter(|(key, _)| (key.clients, key.outstanding) == (clients, outstanding))
            .map(|(key, value)| Bar {
                label: key.peer.to_owned(),
                value,
            })
            .collect(),
        scale: Scale::Log(1e3),
    };
    loads.into_iter().map(panel).collect()
}

fn instructions_of(results: &Results, clients: u64) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (key, value) in results
        .rows("request", "instructions")
        .filter(|(k, _)| k.clients == clients)
    {
        let point = (key.outstanding as f64, value);
        match lines.iter_mut().find(|line| line.label == key.peer) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                label: key.peer.to_owned(),
                points: vec![point],
            }),
        }
    }
    lines
}

/// One line for each number of clients that both were measured with.
fn ratio_lines(results: &Results, ours: &str, theirs: &str) -> Vec<Line> {
    let line = |clients| Line {
        label: clients_in_words(clients),
        points: results
            .rows("request", "instructions")
            .filter(|(key, _)| key.clients == clients && key.peer == ours)
            .filter_map(|(key, value)| {
                let divisor = results.get(Key {
                    peer: theirs,
                    ..key
                })?;
                (divisor > 0.0).then(|| (key.outstanding as f64, value / divisor))
            })
            .collect(),
    };
    results
        .clients("request", "instructions")
        .into_iter()
        .map(line)
        .collect()
}

/// Draws panels of bars one below the other; those without bars are left out.
///
/// # Errors
/// `Plot` when the file cannot be written.
pub fn draw_panels(path: &Path, mut panels: Vec<Panel>) -> Result<(), Error> {
    panels.retain(|panel| !panel.bars.is_empty());
    if panels.is_empty() {
        println!("{}: no rows for it, not drawn", path.display());
        return Ok(());
    }
    let height_of = |panel: &Panel| TITLE_HEIGHT + BAR_HEIGHT * panel.bars.len() as u32 + 10;
    let height = panels.iter().map(height_of).sum();
    let fail = |reason: String| Error::Plot {
        path: path.to_owned(),
        reason,
    };
    let mut area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| fail(error.to_string()))?;
    let whole = area.clone();
    for panel in &panels {
        let (this, rest) = area.split_vertically(height_of(panel));
        draw_bars(&this, panel).map_err(fail)?;
        area = rest;
    }
    whole.present().map_err(|error| fail(error.to_string()))?;
    println!("{}", path.display());
    Ok(())
}

fn draw_bars(area: &Area<'_>, panel: &Panel) -> Result<(), String> {
    let plain = ("sans-serif", 15).into_font().color(&BLACK);
    let title = ("sans-serif", 18).into_font().color(&BLACK);
    let draw_text = |text: &str, style: &TextStyle<'_>, at| {
        area.draw_text(text, style, at)
            .map_err(|error| error.to_string())
    };
    draw_text(&panel.title, &title, (10, 10))?;
    let full = WIDTH as i32 - LABEL_WIDTH - VALUE_WIDTH;
    let right = plain.clone().pos(Pos::new(HPos::Right, VPos::Center));
    let left = plain.pos(Pos::new(HPos::Left, VPos::Center));
    let max = panel.bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    for (i, bar) in panel.bars.iter().enumerate() {
        let top = (TITLE_HEIGHT + BAR_HEIGHT * i as u32) as i32;
        let middle = top + BAR_HEIGHT as i32 / 2;
        let end = LABEL_WIDTH + (share(bar.value, max, panel.scale) * f64::from(full)) as i32;
        let own = bar.label.starts_with("baton") || bar.label.starts_with("Baton");
        let colour = if own { COLOURS[0] } else { COLOURS[7] };
        let shape = [
            (LABEL_WIDTH, top + 2),
            (end.max(LABEL_WIDTH + 1), top + BAR_HEIGHT as i32 - 2),
        ];
        area.draw(&Rectangle::new(shape, colour.filled()))
            .map_err(|error| error.to_string())?;
        draw_text(&bar.label, &right, (LABEL_WIDTH - 8, middle))?;
        draw_text(&short_number(bar.value), &left, (end + 6, middle))?;
    }
    Ok(())
}

/// How much of the width a bar takes.
fn share(value: f64, max: f64, scale: Scale) -> f64 {
    let share = match scale {
        Scale::Linear => value / max,
        Scale::Log(least) => {
            let least = least.min(max / 10.0);
            (value / least).log10() / (max / least).log10()
        }
    };
    if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

fn clients_in_words(clients: u64) -> String {
    match clients {
        1 => "1 client".to_owned(),
        n => format!("{n} clients"),
    }
}

fn short_number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e4 => format!("{:.0} k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

/// Draws lines over the number of requests outstanding; those without points are left out.
///
/// # Errors
/// `Plot` when the file cannot be written.
pub fn draw_lines(path: &Path, title: &str, unit: &str, mut lines: Vec<Line>) -> Result<(), Error> {
    lines.retain(|line| !line.points.is_empty());
    if lines.is_empty() {
        println!("{}: no rows for it, not drawn", path.display());
        return Ok(());
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    try_draw_lines(path, title, unit, &lines).map_err(|error| Error::Plot {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    println!("{}", path.display());
    Ok(())
}

fn try_draw_lines(
    path: &Path,
    title: &str,
    unit: &str,
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_max = points().map(|point| point.0).fold(2.0, f64::max);
    let y_max = points().map(|point| point.1).fold(0.0, f64::max) * 1.25;
    let area = SVGBackend::new(path, (WIDTH, 520)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 21))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (1.0..x_max * 1.05).log_scale().base(2.0),
            0.0..y_max.max(1e-9),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 16))
        .x_desc("outstanding requests a client")
        .y_desc(unit)
        .x_labels(10)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| short_number(*y))
        .draw()?;
    for (i, line) in lines.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        chart
            .draw_series(LineSeries::new(
                line.points.iter().copied(),
                colour.stroke_width(2),
            ))?
            .label(line.label.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        let dots = line
            .points
            .iter()
            .map(|&point| Circle::new(point, 3, colour.filled()));
        chart.draw_series(dots)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.4))
        .label_font(("sans-serif", 15))
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "w1_awake,cache_line,1,1,p50,100,ns\nw1_awake,baton_lanes,1,1,p50,190,ns\n\
        w2,baton_lanes,1,64,rate,4000000,r/s\nw2,tarpc,1,64,rate,90000,r/s\n\
        w2,baton_lanes,4,256,rate,5000000,r/s\n\
        request,baton_lanes,4,1,instructions,300,i\nrequest,baton_lanes,4,32,instructions,200,i\n\
        request,baton_pairs_dispatcher,4,1,instructions,400,i\n";

    fn results() -> Results {
        Results::parse(ROWS).expect("well-formed rows")
    }

    #[test]
    fn bars_are_ratios_to_the_reference() {
        let bars = ratios_to(&results(), "w1_awake", "cache_line");
        assert_eq!(
            bars.iter().map(|bar| bar.value).collect::<Vec<_>>(),
            [1.0, 1.9]
        );
        assert!(ratios_to(&results(), "w1_asleep", "spsc_futex").is_empty());
    }

    #[test]
    fn ratio_has_only_points_that_both_have() {
        let lines = ratio_lines(&results(), "baton_lanes", "baton_pairs_dispatcher");
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].points, [(1.0, 0.75)]);
    }

    #[test]
    fn bars_stay_within_the_width() {
        for (value, max) in [(0.0, 0.0), (0.0, 5.0), (5.0, 5.0), (1e7, 1e7), (1.0, 1e7)] {
            for scale in [Scale::Linear, Scale::Log(1e3)] {
                assert!(
                    (0.0..=1.0).contains(&share(value, max, scale)),
                    "{value} of {max}"
                );
            }
        }
        assert_eq!(share(1e5, 1e7, Scale::Log(1e3)), 0.5);
    }

    #[test]
    fn what_has_rows_is_drawn_and_the_rest_is_not() {
        let dir = std::env::temp_dir().join(format!("baton-plot-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("temporary directory");
        let drawn = plot_all(&results(), &dir);
        let svg = std::fs::read_to_string(dir.join("w2.svg"));
        let missing = dir.join("ratio-baton_lanes-baton_pairs.svg").exists();
        std::fs::remove_dir_all(&dir).expect("temporary directory");
        drawn.expect("drawable");
        let svg = svg.expect("drawn");
        assert!(svg.contains("tarpc") && svg.trim_end().ends_with("</svg>"));
        assert!(!missing);
    }
}
