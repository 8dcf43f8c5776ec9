//! How many files this process may have open, and raising it without system calls of our own.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// What the processes need beside one file for each connection.
const OTHERS: usize = 256;

/// Sees to it that `connections` fit; starts this program anew under a higher limit if need be.
pub(crate) fn allow(connections: usize) -> anyhow::Result<()> {
    let needed = connections + OTHERS;
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let (soft, hard) = parse(&limits).context("/proc/self/limits does not name the open files")?;
    if soft >= needed {
        return Ok(());
    }
    ensure!(
        hard >= needed,
        "{connections} connections need {needed} open files in each process, and the hard limit is \
         {hard}: choose at most --connections {}",
        hard.saturating_sub(OTHERS)
    );
    // The shell is there only to call setrlimit; after it the soft limit is high enough.
    let failed = Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -S -n {needed} && exec \"$0\" \"$@\""),
        ])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(failed).context("could not start anew under a higher limit of open files")
}

/// Reads the soft and the hard limit of open files.
fn parse(limits: &str) -> Option<(usize, usize)> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let mut values = line.split_whitespace().map(|value| match value {
        "unlimited" => Some(usize::MAX),
        number => number.parse().ok(),
    });
    Some((values.next()??, values.next()??))
}
