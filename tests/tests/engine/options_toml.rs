//! Options as TOML text: what is understood, what comes back, and what every mistake is told.

use std::collections::BTreeSet;
use std::time::Duration;

use nokv::{Error, OPTION_FIELDS, OptionField, Options};
use nokv_tests::other_options::{OTHER_VALUES, other_toml};

fn parse(text: &str) -> Options {
    Options::from_toml_str(text, "t.toml").unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The message about `text`, which must be refused.
fn refusal(text: &str) -> String {
    match Options::from_toml_str(text, "t.toml") {
        Err(Error::InvalidArgument(message)) => message,
        other => panic!("{text:?} gave {:?}", other.map(|_| "options")),
    }
}

fn values(options: &Options) -> Vec<(&'static str, String)> {
    OPTION_FIELDS.iter().map(|field| (field.name, field.value(options))).collect()
}

#[test]
fn the_table_of_other_values_names_every_option_and_changes_each() {
    let names: Vec<&str> = OPTION_FIELDS.iter().map(|field| field.name).collect();
    assert_eq!(OTHER_VALUES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    let (other, default) = (values(&parse(&other_toml())), values(&Options::default()));
    let same: Vec<_> = other.iter().zip(&default).filter(|(a, b)| a == b).collect();
    assert!(same.is_empty(), "not changed: {same:?}");
}

#[test]
fn what_is_written_is_read_back_for_every_option() {
    for options in [Options::default(), parse(&other_toml())] {
        assert_eq!(values(&parse(&options.to_toml())), values(&options));
    }
}

#[test]
fn the_text_explains_every_option() {
    let text = Options::default().to_toml();
    for field in OPTION_FIELDS {
        assert!(!field.doc.is_empty(), "{}", field.name);
        for line in field.doc {
            assert!(text.contains(&format!("#{line}\n")), "{}: {line}", field.name);
        }
    }
}

#[test]
fn sizes_are_numbers_or_texts_with_units() {
    let cases: [(&str, u64); 8] = [
        ("1048576", 1 << 20),
        ("1_048_576", 1 << 20),
        ("0x100000", 1 << 20),
        ("\"4096B\"", 4096),
        ("\"64KiB\"", 64 << 10),
        ("\"64 MiB\"", 64 << 20),
        ("\"1GiB\"", 1 << 30),
        ("\"2TiB\"", 2 << 40),
    ];
    for (text, bytes) in cases {
        let options = parse(&format!("manifest_rewrite_threshold_bytes = {text}"));
        assert_eq!(options.manifest_rewrite_threshold_bytes, bytes, "{text}");
    }
}

#[test]
fn times_are_texts_with_units() {
    let cases = [
        ("\"0s\"", Duration::ZERO),
        ("\"30s\"", Duration::from_secs(30)),
        ("\"250ms\"", Duration::from_millis(250)),
        ("\"5m\"", Duration::from_secs(300)),
        ("\"2h\"", Duration::from_secs(7200)),
        ("\"1d\"", Duration::from_secs(86_400)),
        ("\"7us\"", Duration::from_micros(7)),
        ("\"9ns\"", Duration::from_nanos(9)),
    ];
    for (text, time) in cases {
        assert_eq!(parse(&format!("value_log_gc_interval = {text}")).value_log_gc_interval, time, "{text}");
    }
}

#[test]
fn a_ratio_may_be_a_whole_number() {
    assert_eq!(parse("value_log_gc_skip_score = 4").value_log_gc_skip_score, 4.0);
    assert_eq!(parse("value_log_gc_skip_score = 2.5e0").value_log_gc_skip_score, 2.5);
}

#[test]
fn mistakes_name_key_file_and_line() {
    // Each after two good lines: the mistake is on line 3.
    let cases = [
        ("no_such_option = 1", "t.toml:3: no_such_option is not an option"),
        ("block_byte = 1", "t.toml:3: block_byte is not an option; the nearest is block_bytes"),
        ("block_bytes = \"4KB\"", "t.toml:3: block_bytes must be a whole number with a unit"),
        ("block_bytes = \"4096\"", "t.toml:3: block_bytes must be a whole number with a unit"),
        ("block_bytes = \"1.5KiB\"", "t.toml:3: block_bytes must be a whole number with a unit"),
        ("block_bytes = \"-4KiB\"", "t.toml:3: block_bytes must not be negative"),
        ("block_bytes = -4096", "t.toml:3: block_bytes must not be negative"),
        ("block_bytes = 4096.0", "t.toml:3: block_bytes must be a size in bytes"),
        ("block_bytes = true", "t.toml:3: block_bytes must be a size in bytes"),
        ("block_bytes = 1", "t.toml:3: block_bytes must be between"),
        ("block_bytes = \"99999999999999TiB\"", "t.toml:3: block_bytes must be at most"),
        ("num_compactors = \"4\"", "t.toml:3: num_compactors must be a whole number, not the text"),
        ("num_compactors = \"4KiB\"", "t.toml:3: num_compactors must be a whole number, not the text"),
        ("hot_ring_bits = 256", "t.toml:3: hot_ring_bits must be at most 255"),
        ("hot_ring_bits = 25", "t.toml:3: hot_ring_bits must be at most 24"),
        ("value_log_gc_interval = 30", "t.toml:3: value_log_gc_interval must be a time with a unit"),
        ("value_log_gc_interval = 0", "t.toml:3: value_log_gc_interval must be a time with a unit"),
        (
            "value_log_gc_interval = \"30\"",
            "t.toml:3: value_log_gc_interval must be a whole number with a unit",
        ),
        (
            "value_log_gc_interval = \"64MiB\"",
            "t.toml:3: value_log_gc_interval must be a whole number with a unit",
        ),
        ("value_log_gc_interval = \"-1s\"", "t.toml:3: value_log_gc_interval must not be negative"),
        ("value_log_gc_interval = \"99999d\"", "t.toml:3: value_log_gc_interval must be at most 3650d"),
        ("value_log_gc_discard_ratio = nan", "t.toml:3: value_log_gc_discard_ratio must be above 0"),
        ("compaction_value_weight = inf", "t.toml:3: compaction_value_weight must be between 0"),
        ("compaction_value_weight = -0.5", "t.toml:3: compaction_value_weight must be between 0"),
        ("compaction_value_weight = \"0.5\"", "t.toml:3: compaction_value_weight must be a number"),
        ("sync_writes = 1", "t.toml:3: sync_writes must be true or false, not the number 1"),
        ("sync_writes = \"true\"", "t.toml:3: sync_writes must be true or false, not the text"),
        ("work_dir = 7", "t.toml:3: work_dir must be a path, not the number 7"),
        ("mem_table_engine = \"btree\"", "t.toml:3: mem_table_engine must be one of art, skiplist"),
        ("compression = \"brotli\"", "t.toml:3: compression must be one of none, lz4"),
        (
            "table_bytes = [1]",
            "t.toml:3: table_bytes must be a size in bytes, such as 4096 or \"64MiB\", not a list",
        ),
        (
            "[table_bytes]\nx = 1",
            "t.toml:3: table_bytes must be a size in bytes, such as 4096 or \"64MiB\", not a table",
        ),
        ("[writes]", "t.toml:3: writes is not an option"),
        ("clock = \"system\"", "t.toml:3: clock is no text: a program sets it in its Options"),
        ("listener = 1", "t.toml:3: listener is no text"),
        (
            "level0_stop_tables = 5",
            "t.toml:3: level0_stop_tables must not be below num_level_zero_tables (12)",
        ),
        (
            "num_level_zero_tables = 50",
            "t.toml:3: level0_stop_tables must not be below num_level_zero_tables (50)",
        ),
        ("value_log_hot_bucket_count = 4", "t.toml:3: value_log_hot_bucket_count must be below"),
        ("sync_writes =", "t.toml:3: "),
        ("sync_writes = yes", "t.toml:3: "),
        ("read_only = true", "t.toml:3: "),
    ];
    for (line, start) in cases {
        let message = refusal(&format!("# options\nread_only = false\n{line}\n"));
        assert!(message.starts_with(start), "{line}:\n  {message}\n  {start}");
    }
}

#[test]
fn a_key_that_is_there_twice_is_named() {
    let message = refusal("sync_writes = true\nblock_bytes = 4096\nsync_writes = false\n");
    assert!(message.starts_with("t.toml:3: ") && message.contains("sync_writes"), "{message}");
}

/// `ValueLogGCInterval` as `value_log_gc_interval`.
fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, c) in chars.iter().enumerate() {
        let after_small = i > 0 && !chars[i - 1].is_ascii_uppercase();
        let before_small = i > 0 && chars.get(i + 1).is_some_and(|next| next.is_ascii_lowercase());
        if c.is_ascii_uppercase() && (after_small || before_small) {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[test]
fn the_original_s_names_lead_to_the_new_ones() {
    let ours: BTreeSet<&str> = OPTION_FIELDS.iter().map(|field| field.name).collect();
    let mut renamed = 0;
    for field in OPTION_FIELDS.iter().filter(|field| !field.original.is_empty()) {
        for old in [field.original.to_string(), snake(field.original)] {
            if ours.contains(old.as_str()) {
                continue;
            }
            renamed += 1;
            let message = refusal(&format!("{old} = 1\n"));
            let start = format!("t.toml:1: {old} is named {} here", field.name);
            assert!(message.starts_with(&start), "{message}");
        }
    }
    assert!(renamed > 60);
    for (old, new) in [
        ("value_threshold", "value_threshold_bytes"),
        ("mem_table_size", "mem_table_bytes"),
        ("block_cache_size", "block_cache_bytes"),
        ("bloom_cache_size", "bloom_cache_bytes"),
        ("sstable_max_sz", "table_bytes"),
    ] {
        assert!(refusal(&format!("{old} = 1")).contains(new), "{old}");
    }
    assert!(refusal("block_cache_size = 1").contains("a number of entries became a number of bytes"));
}

#[test]
fn a_file_is_read_and_named_in_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nokv.toml");
    std::fs::write(&path, "sync_writes = true\n").unwrap();
    assert!(Options::from_toml_file(&path).unwrap().sync_writes);
    std::fs::write(&path, "\nsync_writes = 3\n").unwrap();
    let error = Options::from_toml_file(&path).unwrap_err().to_string();
    assert!(error.contains(&format!("{}:2: sync_writes", path.display())), "{error}");
    std::fs::write(&path, [b'#', 0xff, b'\n']).unwrap();
    let error = Options::from_toml_file(&path).unwrap_err();
    assert!(matches!(&error, Error::InvalidArgument(m) if m.contains("not UTF-8")), "{error}");
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(matches!(Options::from_toml_file(&path), Err(Error::InvalidArgument(_))));
    let missing = Options::from_toml_file(dir.path().join("none.toml"));
    assert!(matches!(missing, Err(Error::Io { .. })), "{:?}", missing.err());
}

#[test]
fn superseded_options_are_marked() {
    let superseded: Vec<&str> =
        OPTION_FIELDS.iter().filter(|field| field.is_superseded()).map(|field| field.name).collect();
    assert_eq!(superseded, ["discard_stats_flush_threshold"]);
    assert_eq!(OptionField::find("sync_writes").unwrap().default_value(), "false");
    assert!(OptionField::find("sync").is_none());
}
