//! `regress BASE HEAD`: is HEAD slower or faster than BASE?
//!
//! Both revisions are built in worktrees of their own, with the bench of HEAD (or each with its own: `--own-bench`),
//! and run in pairs. Odd pairs run BASE first, even ones HEAD. A ratio is of one pair: what is slow for both at a
//! time does not count.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::Spread;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Revision to compare with.
    base: String,
    /// Revision to judge.
    #[arg(default_value = "HEAD")]
    head: String,
    /// Pairs of runs.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pairs: u64,
    /// Engine that is compared.
    #[arg(long, default_value = "nokv-art")]
    engine: String,
    /// Build each revision with its own bench; its flags must be these.
    #[arg(long)]
    own_bench: bool,
    /// Features of the build.
    #[arg(long, default_value = "nokv")]
    features: String,
    /// Where worktrees, builds and data go; kept if given, so that the next run builds faster.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Passed on to cargo, for instance `-j1`.
    #[arg(long, allow_hyphen_values = true, default_value = "")]
    cargo: String,
    /// Flags of `nokv-bench run`, behind `--`.
    #[arg(last = true)]
    run: Vec<String>,
}

/// Ratios of one pair, by workload.
type Kops = Vec<(String, f64)>;

/// Prints the ratio HEAD : BASE of each workload.
///
/// # Errors
/// Not in a repository, no such revision, a build or a run that fails.
pub fn regress(args: &Args) -> Result<(), String> {
    let repo = PathBuf::from(text_of(Command::new("git").args(["rev-parse", "--show-toplevel"]))?);
    let commit = |revision: &str| {
        let name = format!("{revision}^{{commit}}");
        text_of(Command::new("git").args(["rev-parse", "--verify", "--quiet", &name]))
            .map_err(|_| format!("no revision {revision}"))
    };
    let (base, head) = (commit(&args.base)?, commit(&args.head)?);
    let temporary = args.dir.is_none();
    let dir = args
        .dir
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("nokv-regress-{}", std::process::id())));
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let dir = dir.canonicalize().map_err(|e| format!("{}: {e}", dir.display()))?;
    let result = build(args, &repo, &dir, "base", &base, &head)
        .and_then(|base_program| Ok((base_program, build(args, &repo, &dir, "head", &head, &head)?)))
        .and_then(|programs| pairs(args, &dir, &programs));
    for name in ["base", "head"] {
        let tree = dir.join(name);
        let _ =
            quiet(Command::new("git").current_dir(&repo).args(["worktree", "remove", "--force"]).arg(&tree));
    }
    if temporary {
        let _ = std::fs::remove_dir_all(&dir);
    }
    result
}

/// Builds the bench at `commit` and gives its program.
fn build(
    args: &Args,
    repo: &Path,
    dir: &Path,
    name: &str,
    commit: &str,
    head: &str,
) -> Result<PathBuf, String> {
    let tree = dir.join(name);
    let _ = quiet(Command::new("git").current_dir(repo).args(["worktree", "remove", "--force"]).arg(&tree));
    quiet(
        Command::new("git").current_dir(repo).args(["worktree", "add", "--detach"]).arg(&tree).arg(commit),
    )?;
    let bench = tree.join("tests/bench");
    if !args.own_bench && commit != head {
        let _ = std::fs::remove_dir_all(&bench);
        quiet(Command::new("git").current_dir(&tree).args(["checkout", head, "--", "tests/bench"]))?;
    }
    eprintln!("building {name}, {commit}");
    let target = dir.join("target").join(name);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&bench).env("CARGO_TARGET_DIR", &target);
    cargo.args([
        "build",
        "--release",
        "--no-default-features",
        "--bin",
        "nokv-bench",
        "--features",
        &args.features,
    ]);
    cargo.args(args.cargo.split_whitespace());
    quiet(&mut cargo)?;
    let built = target.join("release/nokv-bench");
    let kept = dir.join(format!("nokv-bench-{name}"));
    std::fs::copy(&built, &kept).map_err(|e| format!("{}: {e}", built.display()))?;
    Ok(kept)
}

fn pairs(args: &Args, dir: &Path, (base, head): &(PathBuf, PathBuf)) -> Result<(), String> {
    let mut ratios: Vec<(String, Vec<f64>)> = Vec::new();
    for pair in 0..args.pairs {
        let (b, h) = if pair % 2 == 0 {
            let b = one_run(args, dir, base)?;
            (b, one_run(args, dir, head)?)
        } else {
            let h = one_run(args, dir, head)?;
            (one_run(args, dir, base)?, h)
        };
        for ((workload, b), (_, h)) in b.iter().zip(&h) {
            eprintln!("pair {}: {workload:<4} {b:>9.1} {h:>9.1} kops/s, {:.3}", pair + 1, h / b);
            match ratios.iter_mut().find(|(name, _)| name == workload) {
                Some((_, list)) => list.push(h / b),
                None => ratios.push((workload.clone(), vec![h / b])),
            }
        }
    }
    println!("{} : {} on {}, {} pairs; speed, min/median/max", args.head, args.base, args.engine, args.pairs);
    for (workload, list) in ratios {
        let verdict = verdict(&list);
        if let Some(s) = Spread::of(list) {
            println!("{workload:<5} {:.3}/{:.3}/{:.3}  {verdict}", s.min, s.median, s.max);
        }
    }
    Ok(())
}

/// All pairs on one side of 1 say something; anything else is noise.
fn verdict(ratios: &[f64]) -> &'static str {
    match ratios {
        [] | [_] => "one pair says nothing",
        r if r.iter().all(|r| *r > 1.0) => "faster in each pair",
        r if r.iter().all(|r| *r < 1.0) => "slower in each pair",
        _ => "no difference seen",
    }
}

/// One repeat of each workload; thousands of operations a second by workload, in order.
fn one_run(args: &Args, dir: &Path, program: &Path) -> Result<Kops, String> {
    let csv = dir.join("run.csv");
    let mut run = Command::new(program);
    run.args(["run", "--engines", &args.engine]).args(["--repeats", "1", "--dir"]).arg(dir);
    run.arg("--csv").arg(&csv).args(&args.run);
    quiet(&mut run)?;
    let text = std::fs::read_to_string(&csv).map_err(|e| format!("{}: {e}", csv.display()))?;
    parse_csv(&text)
}

fn parse_csv(text: &str) -> Result<Kops, String> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let column =
        |name: &str| names.iter().position(|n| *n == name).ok_or(format!("the CSV has no column {name}"));
    let (workload, kops) = (column("workload")?, column("kops")?);
    let mut all = Kops::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let (Some(name), Some(figure)) = (fields.get(workload), fields.get(kops)) else {
            return Err(format!("not a line of the CSV: {line}"));
        };
        let figure = figure.parse().map_err(|_| format!("not a number in the CSV: {figure}"))?;
        // E and G have loads of their own.
        if !all.iter().any(|(seen, _)| seen == name) {
            all.push(((*name).to_string(), figure));
        }
    }
    Ok(all)
}

fn quiet(command: &mut Command) -> Result<(), String> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr)))
}

fn text_of(command: &mut Command) -> Result<String, String> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if !out.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::{parse_csv, verdict};

    #[test]
    fn a_csv_of_a_run_is_read_and_a_second_load_left_out() {
        let text = "engine,workload,kops\nx,LOAD,10.5\nx,A,2\nx,LOAD,11\nx,E,3\n";
        let kops = parse_csv(text).unwrap();
        assert_eq!(kops, [("LOAD".into(), 10.5), ("A".into(), 2.0), ("E".into(), 3.0)]);
        assert!(parse_csv("engine,kops\n").is_err());
        assert!(parse_csv("workload,kops\nA\n").is_err());
        assert!(parse_csv("workload,kops\nA,x\n").is_err());
    }

    #[test]
    fn only_a_clear_difference_is_one() {
        assert_eq!(verdict(&[1.1, 1.2]), "faster in each pair");
        assert_eq!(verdict(&[0.9, 0.8]), "slower in each pair");
        assert_eq!(verdict(&[0.9, 1.2]), "no difference seen");
        assert_eq!(verdict(&[1.2]), "one pair says nothing");
    }
}
