//! The figures of a comparison, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::measure::Cost;
use crate::shell;

/// All executions of one side.
pub(super) struct Series {
    name: String,
    costs: Vec<Cost>,
    /// Bytes that it reads each time, for a rate.
    bytes: Option<u64>,
    stored_bytes: Option<u64>,
}

impl Series {
    pub(super) fn new(name: impl Into<String>, bytes: Option<u64>) -> Self {
        Series {
            name: name.into(),
            costs: Vec::new(),
            bytes,
            stored_bytes: None,
        }
    }

    pub(super) fn add(&mut self, cost: Cost) {
        self.costs.push(cost);
    }

    /// What it wrote takes so many bytes.
    pub(super) fn stored(&mut self, bytes: u64) {
        self.stored_bytes = Some(bytes);
    }

    /// Seconds from start to end, the median.
    pub(super) fn wall(&self) -> f64 {
        median(self.walls())
    }

    /// Seconds of processor time, the median.
    pub(super) fn cpu(&self) -> f64 {
        median(self.costs.iter().map(|c| c.cpu.as_secs_f64()).collect())
    }

    /// The most memory of all executions.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.costs.iter().map(|c| c.peak_bytes).max().unwrap_or(0)
    }

    /// Whether it is about the host, and not about what it is compared with.
    pub(super) fn is_ours(&self) -> bool {
        self.name.starts_with("backstay")
    }

    fn walls(&self) -> Vec<f64> {
        self.costs.iter().map(|c| c.wall.as_secs_f64()).collect()
    }

    fn rate(&self) -> Option<f64> {
        self.bytes.map(|bytes| bytes as f64 / 1e6 / self.wall())
    }
}

/// Something that has to hold.
pub(super) struct Claim {
    what: String,
    value: f64,
    limit: f64,
    unit: &'static str,
    at_least: bool,
}

impl Claim {
    /// `ours` takes at most the time of `theirs` divided by `factor`.
    pub(super) fn faster(ours: &Series, theirs: &Series, factor: f64) -> Self {
        Claim {
            what: format!("{} against {}", ours.name, theirs.name),
            value: theirs.wall() / ours.wall(),
            limit: factor,
            unit: "x",
            at_least: true,
        }
    }

    /// A figure is below a limit.
    pub(super) fn below(what: impl Into<String>, value: f64, limit: f64, unit: &'static str) -> Self {
        Claim {
            what: what.into(),
            value,
            limit,
            unit,
            at_least: false,
        }
    }

    fn holds(&self) -> bool {
        if self.at_least {
            self.value >= self.limit
        } else {
            self.value < self.limit
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.holds(), self.at_least) {
            (true, _) => "ok",
            (false, true) => "SLOWER than required",
            (false, false) => "MORE than allowed",
        }
    }
}

/// What a comparison found.
#[derive(Default)]
pub(super) struct Report {
    pub(super) title: String,
    pub(super) series: Vec<Series>,
    pub(super) claims: Vec<Claim>,
    /// What a reader should know, such as versions.
    pub(super) notes: Vec<String>,
}

impl Report {
    pub(super) fn broken(&self) -> usize {
        self.claims.iter().filter(|claim| !claim.holds()).count()
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("\n{}\non {}\n", self.title, machine().join(", "));
        for note in &self.notes {
            _ = writeln!(text, "{note}");
        }
        _ = writeln!(
            text,
            "\n{:<48} {:>9} {:>21} {:>9} {:>6} {:>9} {:>8}",
            "median of each side", "wall", "fastest to slowest", "processor", "MB/s", "stored MB", "peak MiB"
        );
        for series in &self.series {
            let walls = series.walls();
            let least = walls.iter().copied().fold(f64::INFINITY, f64::min);
            let most = walls.iter().copied().fold(0.0, f64::max);
            _ = writeln!(
                text,
                "{:<48} {:>9} {:>21} {:>9} {:>6} {:>9} {:>8.1}",
                series.name,
                time(series.wall()),
                format!("{} to {}", time(least), time(most)),
                time(series.cpu()),
                series
                    .rate()
                    .map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
                series
                    .stored_bytes
                    .map_or_else(|| "-".to_owned(), |bytes| (bytes / 1_000_000).to_string()),
                series.peak_bytes() as f64 / f64::from(1 << 20),
            );
        }
        if !self.claims.is_empty() {
            text.push('\n');
        }
        for claim in &self.claims {
            let relation = if claim.at_least { "at least" } else { "below" };
            _ = writeln!(
                text,
                "{:<68} {:>8.2} {:<3} ({relation} {} {}): {}",
                claim.what,
                claim.value,
                claim.unit,
                claim.limit,
                claim.unit,
                claim.verdict()
            );
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let series = self.series.iter().map(|s| {
            json!({
                "name": s.name,
                "wallSeconds": s.walls(),
                "medianWallSeconds": s.wall(),
                "medianProcessorSeconds": s.cpu(),
                "peakBytes": s.peak_bytes(),
                "megabytesPerSecond": s.rate(),
                "storedBytes": s.stored_bytes,
            })
        });
        let claims = self.claims.iter().map(|c| {
            json!({
                "claim": c.what,
                "value": c.value,
                "limit": c.limit,
                "unit": c.unit,
                "is": if c.at_least { "at-least" } else { "below" },
                "holds": c.holds(),
            })
        });
        json!({
            "title": self.title,
            "machine": machine(),
            "notes": self.notes,
            "series": series.collect::<Vec<_>>(),
            "claims": claims.collect::<Vec<_>>(),
        })
    }
}

/// Processor, memory, kernel, and how busy it is now.
fn machine() -> Vec<String> {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    vec![
        format!("{processors} processors {model}"),
        format!("{memory} of memory"),
        format!("Linux {kernel}"),
        format!("load average {load} at the end"),
    ]
}

/// The first line that a tool says about its version.
pub(super) fn version(program: &str, option: &str) -> String {
    let output = shell::output(shell::program(program).arg(option));
    let text = output
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        .unwrap_or_default();
    text.lines().next().unwrap_or("of unknown version").to_owned()
}

fn time(seconds: f64) -> String {
    let duration = Duration::from_secs_f64(seconds);
    if seconds < 1.0 {
        format!("{:.1} ms", duration.as_secs_f64() * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, millis: &[u64]) -> Series {
        let mut series = Series::new(name, Some(1_000_000));
        for wall in millis {
            series.add(Cost {
                wall: Duration::from_millis(*wall),
                cpu: Duration::from_millis(1),
                peak_bytes: 1 << 20,
            });
        }
        series
    }

    #[test]
    fn the_median_decides_whether_a_claim_holds() {
        let ours = series("ours", &[90, 100, 5000]);
        let theirs = series("theirs", &[10, 200, 201]);
        let report = Report {
            title: "a comparison".into(),
            claims: vec![
                Claim::faster(&ours, &theirs, 2.0),
                Claim::faster(&ours, &theirs, 2.1),
                Claim::below("memory", 1.0, 1.0, "MiB"),
            ],
            series: vec![ours, theirs],
            notes: Vec::new(),
        };
        assert_eq!(report.broken(), 2);
        let text = report.to_text();
        for line in [
            "2.00 x   (at least 2 x): ok",
            "2.00 x   (at least 2.1 x): SLOWER than required",
            "1.00 MiB (below 1 MiB): MORE than allowed",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert_eq!(report.to_json()["claims"][1]["holds"], false);
    }
}
