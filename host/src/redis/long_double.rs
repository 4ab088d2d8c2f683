//! Numbers as INCRBYFLOAT and HINCRBYFLOAT add and print them: 64 bits of mantissa and 15 of exponent, as the wider
//! floating-point type of x86 has them, so that `0.1 + 0.2` is `0.3`.
//!
//! Sums are exact before they are rounded to 64 bits, half to even; texts have up to 17 digits behind the point, without
//! zeros at the end. Exponents end at that type's, so the largest texts have about 5,000 digits.

/// Longest text of a number that is read.
const TEXT_BYTES_MAX: usize = 5 << 10;
/// Largest exponent of ten that is looked at: what is beyond it is out of range, or zero, anyway.
const EXPONENT_10_MAX: i64 = 6_000;
/// `2^EXPONENT_END` is out of range.
const EXPONENT_END: i64 = 16_384;
/// Exponent of the lowest bit that there is.
const EXPONENT_LOW: i64 = -16_445;
/// Digits behind the point.
const DIGITS: usize = 17;

/// A number: `mantissa * 2^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongDouble {
    is_negative: bool,
    mantissa: u64,
    exponent: i64,
    is_infinite: bool,
}

impl LongDouble {
    /// 0.
    pub const ZERO: Self = Self { is_negative: false, mantissa: 0, exponent: 0, is_infinite: false };

    /// Reads a decimal number, or `inf`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (is_negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(Self { is_negative, is_infinite: true, ..Self::ZERO });
        }
        let (digits, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
            Some(at) => (&text[..at], exponent_of(&text[at + 1..])?),
            None => (text, 0),
        };
        let mut number = Big::default();
        let (mut seen, mut point) = (0i64, None);
        for byte in digits {
            match byte {
                b'0'..=b'9' => {
                    number.mul_add(10, u32::from(byte - b'0'));
                    seen += 1;
                }
                b'.' if point.is_none() => point = Some(seen),
                _ => return None,
            }
        }
        if seen == 0 {
            return None;
        }
        let exponent = (exponent - (seen - point.unwrap_or(seen))).max(-2 * EXPONENT_10_MAX);
        if number.is_zero() {
            return Some(Self { is_negative, ..Self::ZERO });
        }
        if exponent > EXPONENT_10_MAX {
            return None;
        }
        let rounded = if exponent >= 0 {
            (0..exponent).for_each(|_| number.mul_add(10, 0));
            round(is_negative, &number, 0, false)
        } else {
            let mut divisor = Big::from(1);
            (0..-exponent).for_each(|_| divisor.mul_add(10, 0));
            // At least 66 bits of quotient: those that are kept, and one to round by.
            let shift = (divisor.bits() + 66).saturating_sub(number.bits());
            number.shift_left(shift);
            let (quotient, is_exact) = number.divide(&divisor);
            round(is_negative, &quotient, -i64::try_from(shift).ok()?, !is_exact)
        };
        rounded.filter(|number| !number.is_infinite)
    }

    /// The sum; `None` if it is not finite.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        if self.is_infinite || other.is_infinite {
            return None;
        }
        if self.mantissa == 0 || other.mantissa == 0 {
            return Some(if self.mantissa == 0 { *other } else { *self });
        }
        let low = self.exponent.min(other.exponent);
        let wide = |of: &Self| {
            let mut big = Big::from(of.mantissa);
            big.shift_left(usize::try_from(of.exponent - low).unwrap_or(0));
            big
        };
        let (mut a, mut b) = (wide(self), wide(other));
        let is_negative = if self.is_negative == other.is_negative {
            a.add(&b);
            self.is_negative
        } else if a.is_less(&b) {
            b.subtract(&a);
            a = b;
            other.is_negative
        } else {
            a.subtract(&b);
            self.is_negative
        };
        round(is_negative, &a, low, false).filter(|sum| !sum.is_infinite)
    }

    /// Its text: up to 17 digits behind the point.
    pub fn to_text(&self) -> String {
        let mut number = Big::from(self.mantissa);
        let mut scaled_by = 0;
        if self.exponent >= 0 {
            number.shift_left(usize::try_from(self.exponent).unwrap_or(0));
        } else {
            scaled_by = DIGITS;
            (0..DIGITS).for_each(|_| number.mul_add(10, 0));
            number.shift_right_round(usize::try_from(-self.exponent).unwrap_or(0));
        }
        let digits = number.to_decimal();
        let digits = format!("{digits:0>width$}", width = scaled_by + 1);
        let (whole, behind) = digits.split_at(digits.len() - scaled_by);
        let behind = behind.trim_end_matches('0');
        let point = if behind.is_empty() { "" } else { "." };
        let is_zero = whole == "0" && behind.is_empty();
        let sign = if self.is_negative && !is_zero { "-" } else { "" };
        format!("{sign}{whole}{point}{behind}")
    }
}

fn exponent_of(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0i64, |n, b| (n * 10 + i64::from(b - b'0')).min(2 * EXPONENT_10_MAX));
    Some(if is_negative { -size } else { size })
}

/// The 64-bit number next to `big * 2^exponent`; `is_more`: it is a little more than that.
fn round(is_negative: bool, big: &Big, exponent: i64, is_more: bool) -> Option<LongDouble> {
    if big.is_zero() {
        return Some(LongDouble { is_negative: is_negative && is_more, ..LongDouble::ZERO });
    }
    let bits = i64::try_from(big.bits()).ok()?;
    let drop = (bits - 64).max(EXPONENT_LOW - exponent);
    let drop = usize::try_from(drop.max(0)).ok()?;
    let mut kept = big.clone();
    kept.shift_right(drop);
    let half = drop > 0 && big.bit(drop - 1);
    let below = is_more || (drop > 1 && big.has_bits_below(drop - 1));
    if half && (below || kept.bit(0)) {
        kept.mul_add(1, 1);
    }
    let mut exponent = exponent + i64::try_from(drop).ok()?;
    if kept.bits() > 64 {
        kept.shift_right(1);
        exponent += 1;
    }
    let top = exponent + i64::try_from(kept.bits()).ok()?;
    let is_infinite = top > EXPONENT_END;
    Some(LongDouble { is_negative, mantissa: kept.low_64(), exponent, is_infinite })
}

/// A natural number: 32 bits a limb, the lowest first, no zeros at the end.
#[derive(Debug, Clone, Default)]
struct Big(Vec<u32>);

impl From<u64> for Big {
    fn from(number: u64) -> Self {
        let mut big = Self(vec![number as u32, (number >> 32) as u32]);
        big.trim();
        big
    }
}

impl Big {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    const fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }

    fn limb(&self, at: usize) -> u32 {
        self.0.get(at).copied().unwrap_or(0)
    }

    fn bit(&self, at: usize) -> bool {
        self.limb(at / 32) >> (at % 32) & 1 == 1
    }

    fn has_bits_below(&self, at: usize) -> bool {
        (0..at.min(self.bits())).any(|bit| self.bit(bit))
    }

    fn low_64(&self) -> u64 {
        u64::from(self.limb(1)) << 32 | u64::from(self.limb(0))
    }

    fn mul_add(&mut self, by: u32, plus: u32) {
        let mut carry = u64::from(plus);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(by);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn shift_left(&mut self, by: usize) {
        if self.is_zero() {
            return;
        }
        let bits = by % 32;
        if bits > 0 {
            let mut carry = 0;
            for limb in &mut self.0 {
                let wide = u64::from(*limb) << bits | carry;
                *limb = wide as u32;
                carry = wide >> 32;
            }
            if carry > 0 {
                self.0.push(carry as u32);
            }
        }
        self.0.splice(0..0, std::iter::repeat_n(0, by / 32));
    }

    fn shift_right(&mut self, by: usize) {
        self.0.drain(..(by / 32).min(self.0.len()));
        let bits = by % 32;
        if bits > 0 {
            let mut carry = 0;
            for limb in self.0.iter_mut().rev() {
                let wide = carry << 32 | u64::from(*limb);
                *limb = (wide >> bits) as u32;
                carry = wide & ((1 << bits) - 1);
            }
        }
        self.trim();
    }

    fn shift_right_round(&mut self, by: usize) {
        let half = by > 0 && self.bit(by - 1);
        let below = by > 1 && self.has_bits_below(by - 1);
        self.shift_right(by);
        if half && (below || self.bit(0)) {
            self.mul_add(1, 1);
        }
    }

    fn is_less(&self, other: &Self) -> bool {
        let by_size = self.0.len().cmp(&other.0.len());
        by_size.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev())).is_lt()
    }

    fn add(&mut self, other: &Self) {
        let len = self.0.len().max(other.0.len());
        self.0.resize(len, 0);
        let mut carry = 0;
        for (at, limb) in self.0.iter_mut().enumerate() {
            carry += u64::from(*limb) + u64::from(other.limb(at));
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Takes `other`, which is not larger, away.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = 0;
        for (at, limb) in self.0.iter_mut().enumerate() {
            let wide = i64::from(*limb) - i64::from(other.limb(at)) - borrow;
            borrow = i64::from(wide < 0);
            *limb = wide as u32;
        }
        self.trim();
    }

    /// Quotient, and whether nothing is left.
    fn divide(&self, divisor: &Self) -> (Self, bool) {
        let mut quotient = Self(vec![0; self.0.len()]);
        // The top bits that are less than the divisor are no work.
        let start = self.bits().saturating_sub(divisor.bits().saturating_sub(1));
        let mut rest = self.clone();
        rest.shift_right(start);
        for at in (0..start).rev() {
            rest.shift_left(1);
            if self.bit(at) {
                if rest.is_zero() { rest = Self::from(1) } else { rest.0[0] |= 1 }
            }
            if !rest.is_less(divisor) {
                rest.subtract(divisor);
                quotient.0[at / 32] |= 1 << (at % 32);
            }
        }
        quotient.trim();
        (quotient, rest.is_zero())
    }

    fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut parts = Vec::new();
        while !rest.is_zero() {
            let mut left = 0;
            for limb in rest.0.iter_mut().rev() {
                let wide = left << 32 | u64::from(*limb);
                *limb = (wide / 1_000_000_000) as u32;
                left = wide % 1_000_000_000;
            }
            rest.trim();
            parts.push(left);
        }
        let Some((first, others)) = parts.split_last() else { return "0".to_owned() };
        let mut text = first.to_string();
        others.iter().rev().for_each(|part| text.push_str(&format!("{part:09}")));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let (a, b) = (LongDouble::parse(a.as_bytes())?, LongDouble::parse(b.as_bytes())?);
        a.plus(&b).map(|sum| sum.to_text())
    }

    #[test]
    fn sums_are_those_of_64_bit_mantissas() {
        for (a, b, text) in [
            ("0.1", "0.2", "0.3"),
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("1000000000000000", "0.1", "1000000000000000.0999755859375"),
            ("3", "-3", "0"),
            ("-1.5", "-0.25", "-1.75"),
            ("1e-20", "0", "0"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("1e20", "1", "100000000000000000000"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(text), "{a} + {b}");
        }
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
        assert!(sum("1e4931", "1").is_some());
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", ".", "1e", "e1", " 1", "1 ", "nan", "1.2.3", "1e9999999999999", "0x"] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_add_exactly(a: i32, b: i32) {
            prop_assert_eq!(sum(&a.to_string(), &b.to_string()), Some((i64::from(a) + i64::from(b)).to_string()));
        }

        #[test]
        fn any_bytes_give_an_answer(text in "[-+0-9.eE]{0,12}") {
            if let Some(number) = LongDouble::parse(text.as_bytes()) {
                prop_assert!(number.is_infinite || LongDouble::parse(number.to_text().as_bytes()).is_some());
            }
        }
    }
}
