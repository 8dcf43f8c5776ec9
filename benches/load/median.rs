//! Figures of several rounds, shown as their median and from the least to the most.

use std::time::Duration;

/// One figure of each round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn add(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub(crate) fn add_milliseconds(&mut self, figure: Duration) {
        self.add(figure.as_secs_f64() * 1e3);
    }

    /// Returns how many rounds there were.
    pub(crate) const fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the median; nothing if there was no round.
    pub(crate) fn median(&self) -> Option<f64> {
        let sorted = self.sorted();
        let upper = sorted.get(sorted.len() / 2)?;
        let lower = sorted.get((sorted.len() - 1) / 2)?;
        Some(f64::midpoint(*lower, *upper))
    }

    /// Returns the median, and the least and the most where there were several rounds.
    pub(crate) fn show(&self, show: impl Fn(f64) -> String) -> String {
        let sorted = self.sorted();
        let (Some(median), [least, .., most]) = (self.median(), sorted.as_slice()) else {
            return self.median().map_or_else(|| "–".to_owned(), show);
        };
        format!("{} ({}–{})", show(median), show(*least), show(*most))
    }

    /// Shows whole numbers.
    pub(crate) fn whole(&self) -> String {
        self.show(|figure| format!("{figure:.0}"))
    }

    /// Shows two places.
    pub(crate) fn fine(&self) -> String {
        self.show(ratio)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    }
}

/// Shows a part, or whatever else is around one.
pub(crate) fn ratio(part: f64) -> String {
    format!("{part:.2}")
}

/// Returns seconds of processor time for a million.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn per_million(cpu_seconds: f64, count: u64) -> f64 {
    cpu_seconds / (count.max(1) as f64 / 1e6)
}
