//! Report: what was measured, as a table that reads as text and in Markdown.

use std::fmt::Write;

use crate::policies::ALL;

/// One trace at one size.
pub struct Cell {
    pub trace: String,
    pub size: usize,
    pub requests: usize,
    pub distinct: usize,
    pub optimum: u64,
    pub hits: [u64; ALL.len()],
}

impl Cell {
    /// Hits of a policy, in percent of all requests.
    pub fn ratio(&self, policy: usize) -> f64 {
        100.0 * self.hits[policy] as f64 / self.requests as f64
    }

    /// Hits of a policy, in percent of what could be hit at most. Where nothing can be, nothing is missed.
    pub fn share(&self, policy: usize) -> f64 {
        if self.optimum == 0 { 100.0 } else { 100.0 * self.hits[policy] as f64 / self.optimum as f64 }
    }

    /// How many points of hit ratio the best of the other policies is ahead; negative where none is.
    pub fn gap(&self, policy: usize) -> f64 {
        let others = (0..ALL.len()).filter(|&other| other != policy);
        others.map(|other| self.ratio(other)).fold(f64::MIN, f64::max) - self.ratio(policy)
    }

    pub fn row(&self) -> String {
        let best = (0..ALL.len()).map(|policy| self.ratio(policy)).fold(f64::MIN, f64::max);
        let mut row = format!(
            "| {} | {} | {} | {} | {:.1} |",
            self.trace,
            self.requests,
            self.distinct,
            self.size,
            100.0 * self.optimum as f64 / self.requests as f64
        );
        for policy in 0..ALL.len() {
            let ratio = self.ratio(policy);
            let mark = if best - ratio < 0.05 { "**" } else { "" };
            let _ = write!(row, " {mark}{ratio:.1}{mark} |");
        }
        row + &format!(" {:.1} |", self.gap(0))
    }
}

/// Hits by cell, then the means by policy, in which each trace counts the same.
pub fn table(cells: &[Cell]) -> String {
    let mut text =
        "Hits in percent of the requests; `optimum`: of an order that knows the future. Bold: the best of the row.\n\n"
            .to_owned();
    text += "| trace | requests | keys | size | optimum |";
    ALL.iter().for_each(|(name, _)| _ = write!(text, " {name} |"));
    text += " behind the best peer |\n|---|--:|--:|--:|--:|";
    text += &"--:|".repeat(ALL.len() + 1);
    for cell in cells {
        text += "\n";
        text += &cell.row();
    }
    text += "\n\nMeans over the traces, each of which counts the same:\n\n";
    text += "| policy | hits % | share of the optimum % | behind the best peer, points | worst cell, points behind |\n|---|--:|--:|--:|--:|\n";
    let mut rows: Vec<(f64, String)> = ALL
        .iter()
        .enumerate()
        .map(|(policy, (name, _))| {
            let share = mean(cells, |cell| cell.share(policy));
            let worst = cells.iter().max_by(|one, other| one.gap(policy).total_cmp(&other.gap(policy)));
            let worst = worst
                .map_or(String::new(), |cell| format!("{:.1} ({} at {})", cell.gap(policy), cell.trace, cell.size));
            let (ratio, gap) = (mean(cells, |cell| cell.ratio(policy)), mean(cells, |cell| cell.gap(policy)));
            (share, format!("| {name} | {ratio:.2} | {share:.1} | {gap:.2} | {worst} |\n"))
        })
        .collect();
    rows.sort_by(|one, other| other.0.total_cmp(&one.0));
    rows.iter().for_each(|(_, row)| text += row);
    text
}

/// The mean over traces of the mean over the cells of each.
pub fn mean(cells: &[Cell], of: impl Fn(&Cell) -> f64) -> f64 {
    let traces: Vec<&[Cell]> = cells.chunk_by(|one, other| one.trace == other.trace).collect();
    let means = traces.iter().map(|cells| cells.iter().map(&of).sum::<f64>() / cells.len() as f64);
    means.sum::<f64>() / traces.len() as f64
}
