//! Picture: a line a policy, of its share of the optimum in each cell, from its best cell to its worst.

use std::fmt::Write;

use crate::policies::ALL;
use crate::report::{Cell, mean};

const COLOURS: [&str; ALL.len()] =
    ["#c0392b", "#2471a3", "#5dade2", "#1e8449", "#af601a", "#7d3c98", "#839192", "#424949"];
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;

/// An SVG.
pub fn draw(cells: &[Cell]) -> String {
    let x = |nth: usize| LEFT + nth as f64 * (WIDTH - 270.0) / (cells.len().max(2) - 1) as f64;
    let y = |share: f64| TOP + (100.0 - share) * (HEIGHT - TOP - 50.0) / 100.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">Hits in percent of the optimum, each policy's cells from its best to its worst</text>\n"
    );
    for share in [0, 20, 40, 60, 80, 100] {
        let at = y(f64::from(share));
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{share}</text>",
            x(cells.len().saturating_sub(1)),
            LEFT - 8.0,
            at + 4.0
        );
    }
    let _ =
        writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.1}\">{} cells: a trace at a size</text>", HEIGHT - 18.0, cells.len());
    let mut by_mean: Vec<usize> = (0..ALL.len()).collect();
    by_mean
        .sort_by(|&one, &other| mean(cells, |cell| cell.share(other)).total_cmp(&mean(cells, |cell| cell.share(one))));
    for (place, &policy) in by_mean.iter().enumerate() {
        let mut shares: Vec<f64> = cells.iter().map(|cell| cell.share(policy)).collect();
        shares.sort_by(|one, other| other.total_cmp(one));
        let line: Vec<String> =
            shares.iter().enumerate().map(|(nth, &share)| format!("{:.1},{:.1}", x(nth), y(share))).collect();
        let (colour, width) = (COLOURS[policy], if policy == 0 { 3.0 } else { 1.5 });
        let (name, at) = (ALL[policy].0, TOP + 12.0 + 22.0 * place as f64);
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>\n\
             <text x=\"{:.1}\" y=\"{at:.1}\" fill=\"{colour}\">{name}, mean {:.1} %</text>",
            line.join(" "),
            WIDTH - 200.0,
            mean(cells, |cell| cell.share(policy))
        );
    }
    svg + "</svg>\n"
}
