//! `backstay schedule`: shows when jobs, or crontab expressions, run next.

use std::path::PathBuf;

use backstay_api::view::NextRuns;
use backstay_model::clock::{Clock as _, SystemClock};
use backstay_model::job::Job;
use backstay_model::schedule::{Schedule, Timetable};
use backstay_model::{Code, Error, Result};
use jiff::Timestamp;

use crate::args::{Schedule as Command, ScheduleNext};
use crate::output::Output;
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such job, expression or time zone.
pub async fn run(command: Command, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let Command::Next(args) = command;
    let from = args.from.unwrap_or_else(|| SystemClock.now());
    let count = usize::from(args.count);
    match &args.cron {
        Some(expression) => {
            let schedule = Schedule::cron(expression, args.timezone.as_deref());
            let timetable = of_arguments(&schedule, from)?;
            let times: Vec<Timestamp> = timetable.upcoming(from).take(count).collect();
            output.print(&times, || lines(&times, &timetable))?;
        }
        None => of_jobs(&args, from, count, data_dir, output).await?,
    }
    Ok(0)
}

/// What is wrong is said of the options, not of a job.
fn of_arguments(schedule: &Schedule, from: Timestamp) -> Result<Timetable> {
    match schedule
        .check("")
        .into_iter()
        .find(backstay_model::Diagnostic::is_error)
    {
        None => schedule.timetable(from, [0; 16]),
        Some(wrong) => {
            let option = wrong.pointer.replace('/', "--");
            let error = Error::new(Code::Configuration, format!("{option}: {}", wrong.message));
            Err(match wrong.hint {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
    }
}

async fn of_jobs(
    args: &ScheduleNext,
    from: Timestamp,
    count: usize,
    data_dir: Option<PathBuf>,
    output: Output,
) -> Result<()> {
    let store = wire::engine(data_dir).await?.store;
    let jobs: Vec<Job> = if args.jobs.is_empty() {
        let all = store.jobs().await?;
        all.into_iter()
            .filter(|job| job.spec.schedule.is_some())
            .collect()
    } else {
        let mut named = Vec::new();
        for name in &args.jobs {
            named.push(store.job(name).await?);
        }
        named
    };
    let (mut values, mut texts) = (Vec::new(), Vec::new());
    for job in &jobs {
        let timetable = job.timetable()?;
        let times: Vec<Timestamp> = timetable
            .iter()
            .flat_map(|timetable| timetable.upcoming(from).take(count))
            .collect();
        let text = match &timetable {
            Some(timetable) => lines(&times, timetable),
            None if job.spec.schedule.is_none() => "  only by hand".to_owned(),
            None => "  not by itself: it is disabled".to_owned(),
        };
        texts.push(format!("{}:\n{text}", job.spec.name));
        values.push(NextRuns {
            id: job.id,
            job: job.spec.name.clone(),
            next: times,
        });
    }
    output.print(&values, || {
        if texts.is_empty() {
            return "no job has a schedule".to_owned();
        }
        texts.join("\n")
    })
}

/// Each time by the clock of its zone, and in UTC.
fn lines(times: &[Timestamp], timetable: &Timetable) -> String {
    let line = |at: &Timestamp| {
        let local = at.to_zoned(timetable.zone().clone());
        format!("  {}  {at}", local.strftime("%a %Y-%m-%d %H:%M:%S %Z"))
    };
    let lines: Vec<String> = times.iter().map(line).collect();
    lines.join("\n")
}
