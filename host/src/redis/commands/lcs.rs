//! LCS: the longest common subsequence of two strings.
//!
//! Lengths take two rows; the way back through the table takes one bit for each pair of bytes. The bound on the table
//! is the one of Redis, which takes 32 bits for each pair.

use super::args::{STRING_BYTES_MAX, integer, is};
use super::{Answer, Call, Command, Fail, Flags, Keys, Reply};
use nokv_core::formats::redis::Kind;

/// The command.
pub const COMMANDS: &[Command] = &[Command {
    name: "lcs",
    arity: -3,
    flags: Flags::READ,
    keys: Keys::TWO,
    handler: lcs,
    group: "string",
    since: "7.0.0",
    summary: "Finds the longest common substring.",
    usage: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
    ..Command::NEW
}];

fn lcs(call: &mut Call<'_>) -> Answer<Reply> {
    let mut texts = [Vec::new(), Vec::new()];
    for (text, key) in texts.iter_mut().zip(&call.args[1..3]) {
        match call.read(key)? {
            Some(found) if found.kind != Kind::String => {
                return Err(Fail::of("ERR The specified keys must contain string values"));
            }
            found => *text = found.map_or_else(Vec::new, |found| found.value.into_vec()),
        }
    }
    let (mut only_len, mut with_indexes, mut with_lens, mut shortest) = (false, false, false, 0);
    let mut rest = &call.args[3..];
    while let [word, after @ ..] = rest {
        rest = after;
        if is(word, "idx") {
            with_indexes = true;
        } else if is(word, "len") {
            only_len = true;
        } else if is(word, "withmatchlen") {
            with_lens = true;
        } else if is(word, "minmatchlen")
            && let [len, after @ ..] = rest
        {
            shortest = integer(len)?.max(0);
            rest = after;
        } else {
            return Err(Fail::SYNTAX);
        }
    }
    if only_len && with_indexes {
        return Err(Fail::of("ERR If you want both the length and indexes, please just use IDX."));
    }
    let [a, b] = &texts;
    if (a.len() + 1).saturating_mul(b.len() + 1).saturating_mul(size_of::<u32>()) > STRING_BYTES_MAX {
        return Err(Fail::of("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
    }
    let table = Table::new(a, b);
    if only_len {
        return Ok(Reply::count(table.len));
    }
    let runs = table.runs(a, b);
    if !with_indexes {
        return Ok(Reply::Bulk(
            runs.iter().rev().flat_map(|run| &a[run.a..run.a + run.len]).copied().collect(),
        ));
    }
    let range =
        |from: usize, len: usize| Reply::Array(vec![Reply::count(from), Reply::count(from + len - 1)]);
    let matches = runs.iter().filter(|run| run.len as i64 >= shortest).map(|run| {
        let mut parts = vec![range(run.a, run.len), range(run.b, run.len)];
        if with_lens {
            parts.push(Reply::count(run.len));
        }
        Reply::Array(parts)
    });
    Ok(Reply::Map(vec![
        (Reply::Text("matches"), Reply::Array(matches.collect())),
        (Reply::Text("len"), Reply::count(table.len)),
    ]))
}

/// Where both have the same bytes.
struct Run {
    a: usize,
    b: usize,
    len: usize,
}

struct Table {
    len: u32,
    width: usize,
    /// For each pair of prefixes: the one without the last byte of `a` has more in common than the one without that of
    /// `b`.
    drops_a: Vec<u64>,
}

impl Table {
    fn new(a: &[u8], b: &[u8]) -> Self {
        let width = b.len();
        let mut drops_a = vec![0u64; (a.len() * width).div_ceil(64)];
        // lens[j]: of the first i bytes of `a`, then i + 1, and the first j bytes of `b`.
        let mut lens = vec![0u32; width + 1];
        let mut at = 0;
        for x in a {
            let mut diagonal = 0;
            let mut left = 0;
            for (y, up) in b.iter().zip(&mut lens[1..]) {
                let new = if x == y { diagonal + 1 } else { left.max(*up) };
                if *up > left {
                    drops_a[at / 64] |= 1 << (at % 64);
                }
                at += 1;
                diagonal = *up;
                left = new;
                *up = new;
            }
        }
        Self { len: lens[width], width, drops_a }
    }

    /// The runs of bytes that both have, from the end.
    fn runs(&self, a: &[u8], b: &[u8]) -> Vec<Run> {
        let mut runs = Vec::new();
        let (mut i, mut j) = (a.len(), b.len());
        let mut len = 0;
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                i -= 1;
                j -= 1;
                len += 1;
                continue;
            }
            if len > 0 {
                runs.push(Run { a: i, b: j, len });
                len = 0;
            }
            let at = (i - 1) * self.width + (j - 1);
            if self.drops_a[at / 64] >> (at % 64) & 1 == 1 {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        if len > 0 {
            runs.push(Run { a: i, b: j, len });
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use crate::redis::testing::Bench;

    #[test]
    fn the_longest_common_subsequence_and_where_it_stands() {
        Bench::new().script(
            r#"
            > MSET a ohmytext b mynewtext
            +OK
            > LCS a b
            mytext
            > LCS a b LEN
            :6
            > LCS a b IDX
            [matches [[[:4 :7] [:5 :8]] [[:2 :3] [:0 :1]]] len :6]
            > LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN
            [matches [[[:4 :7] [:5 :8] :4]] len :6]
            > LCS a b IDX LEN
            -ERR If you want both the length and indexes, please just use IDX.
            > LCS a b MINMATCHLEN
            -ERR syntax error
            > LCS a none LEN
            :0
            > LCS none1 none2 IDX
            [matches [] len :0]
            "#,
        );
    }
}
