//! The text format of Prometheus, <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
    /// Counts by size.
    Histogram,
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    kind: Type,
    help: &'static str,
    /// The job that each is of, and its line.
    samples: Vec<(Option<String>, String)>,
}

/// Metrics with their samples, each name once and in the order in which they came.
#[derive(Debug)]
pub(super) struct Metrics {
    device: String,
    families: Vec<Family>,
}

impl Metrics {
    /// None yet. Each sample gets the label `device`.
    pub(super) fn new(device: &str) -> Self {
        Metrics {
            device: device.to_owned(),
            families: Vec::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        name: &'static str,
        kind: Type,
        help: &'static str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        self.add_part(name, "", kind, help, labels, value);
    }

    /// One of several samples of a metric that have names of their own.
    pub(super) fn add_part(
        &mut self,
        name: &'static str,
        part: &str,
        kind: Type,
        help: &'static str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let mut line = format!("{name}{part}{{device=\"{}\"", escaped(&self.device));
        for (label, text) in labels {
            line.push_str(&format!(",{label}=\"{}\"", escaped(text)));
        }
        line.push_str(&format!("}} {value}\n"));
        let job = labels.iter().find(|(label, _)| *label == "job");
        let sample = (job.map(|(_, name)| (*name).to_owned()), line);
        match self.families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.samples.push(sample),
            None => self.families.push(Family {
                name,
                kind,
                help,
                samples: vec![sample],
            }),
        }
    }

    /// The jobs that there are samples of.
    pub(super) fn jobs(&self) -> Vec<String> {
        let samples = self.families.iter().flat_map(|family| &family.samples);
        let mut jobs: Vec<String> = samples.filter_map(|(job, _)| job.clone()).collect();
        jobs.sort();
        jobs.dedup();
        jobs
    }

    /// All of them.
    pub(super) fn text(&self) -> String {
        self.write(|_| true)
    }

    /// Those of a job, or of none.
    pub(super) fn text_of(&self, job: Option<&str>) -> String {
        self.write(|of| of == job)
    }

    fn write(&self, is_wanted: impl Fn(Option<&str>) -> bool) -> String {
        let mut text = String::new();
        for family in &self.families {
            let mut samples = family
                .samples
                .iter()
                .filter(|(job, _)| is_wanted(job.as_deref()))
                .peekable();
            if samples.peek().is_none() {
                continue;
            }
            let kind = match family.kind {
                Type::Gauge => "gauge",
                Type::Counter => "counter",
                Type::Histogram => "histogram",
            };
            // To write to a string never fails.
            let _ = writeln!(
                text,
                "# HELP {0} {1}\n# TYPE {0} {kind}",
                family.name, family.help
            );
            text.extend(samples.map(|(_, line)| line.as_str()));
        }
        text
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_breaks_a_line_or_its_label() {
        let mut metrics = Metrics::new("a\"b\\c\nd");
        metrics.add("one", Type::Gauge, "Help.", &[("job", "x\"} 1\ntwo")], 1.5);
        metrics.add("one", Type::Gauge, "Help.", &[("job", "y")], 1e18);
        metrics.add("two", Type::Counter, "Help.", &[], 0.0);
        assert_eq!(
            metrics.text(),
            "# HELP one Help.\n# TYPE one gauge\n\
             one{device=\"a\\\"b\\\\c\\nd\",job=\"x\\\"} 1\\ntwo\"} 1.5\n\
             one{device=\"a\\\"b\\\\c\\nd\",job=\"y\"} 1000000000000000000\n\
             # HELP two Help.\n# TYPE two counter\ntwo{device=\"a\\\"b\\\\c\\nd\"} 0\n"
        );
        assert_eq!(metrics.jobs(), ["x\"} 1\ntwo", "y"]);
        assert!(metrics.text_of(None).starts_with("# HELP two"));
        assert_eq!(metrics.text_of(Some("y")).lines().count(), 3);
    }
}
