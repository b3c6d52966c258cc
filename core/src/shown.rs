//! Shown: how a message shows what was given: a text in quotes, a number as a person would write it.
//!
//! Must not know what the text or the number is of. What the standard library has for this can do more and is larger than the rest
//! of a small module: exact floats of any size, numbers in columns, and tables of all that Unicode can print.

use core::fmt;
use core::fmt::Write as _;

/// A text as it is. That of the standard library can also be padded, which no message asks for.
pub struct Plain<'a>(pub &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

/// A text in quotes, with what would end them, break the line or hide what follows written as an escape.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_char('"')?;
        for letter in self.0.chars() {
            match letter {
                '"' | '\\' => {
                    out.write_char('\\')?;
                    out.write_char(letter)?;
                }
                '\n' => out.write_str("\\n")?,
                '\r' => out.write_str("\\r")?,
                '\t' => out.write_str("\\t")?,
                hidden if is_hidden(hidden) => {
                    out.write_str("\\u{")?;
                    write_digits(out, u32::from(hidden).into(), 16)?;
                    out.write_char('}')?;
                }
                plain => out.write_char(plain)?,
            }
        }
        out.write_char('"')
    }
}

/// Control characters, and those that take no room or turn the direction of writing.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// How many there are of something, or the greatest number of them.
pub(crate) struct Count(pub(crate) usize);

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_digits(out, self.0 as u64, 10)
    }
}

/// A whole number. That of the standard library can also be padded, and has a table to be quicker.
fn write_digits(out: &mut fmt::Formatter<'_>, number: u64, base: u32) -> fmt::Result {
    let (rest, last) = (number / u64::from(base), number % u64::from(base));
    if rest > 0 {
        write_digits(out, rest, base)?;
    }
    out.write_char(char::from_digit(last as u32, base).expect("it is less than the base"))
}

/// A number, to six digits behind the point: `1`, `0.25`, `-1.5`, `1e300`, `inf`, `NaN`.
///
/// # Examples
///
/// ```
/// use donjon_core::shown::Number;
///
/// assert_eq!(Number(0.1 + 0.2).to_string(), "0.3");
/// ```
pub struct Number(pub f64);

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = *self;
        if number.is_nan() {
            return out.write_str("NaN");
        }
        if number < 0.0 {
            out.write_char('-')?;
        }
        let mut size = number.abs();
        if size == f64::INFINITY {
            return out.write_str("inf");
        }
        let mut exponent = 0_i32;
        if size >= 1e12 || size != 0.0 && size < 1e-3 {
            while size >= 10.0 {
                (size, exponent) = (size / 10.0, exponent + 1);
            }
            while size < 1.0 {
                (size, exponent) = (size * 10.0, exponent - 1);
            }
        }
        let whole = size as u64;
        let millionths = ((size - whole as f64) * 1e6 + 0.5) as u32;
        write_digits(out, whole + u64::from(millionths / 1_000_000), 10)?;
        let (mut rest, mut unit) = (millionths % 1_000_000, 100_000);
        if rest > 0 {
            out.write_char('.')?;
        }
        while rest > 0 {
            out.write_char(char::from(b'0' + (rest / unit) as u8))?;
            (rest, unit) = (rest % unit, unit / 10);
        }
        if exponent == 0 {
            return Ok(());
        }
        out.write_str(if exponent < 0 { "e-" } else { "e" })?;
        write_digits(out, exponent.unsigned_abs().into(), 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_in_quotes_that_it_cannot_leave() {
        assert_eq!(Quoted("user:5 – é 猫").to_string(), "\"user:5 – é 猫\"");
        assert_eq!(Quoted("a\"b\\c\nd\0\u{202e}").to_string(), r#""a\"b\\c\nd\u{0}\u{202e}""#);
    }

    #[test]
    fn a_count_is_shown_in_all_its_digits() {
        for count in [0, 9, 10, 1_024, usize::MAX] {
            assert_eq!(Count(count).to_string(), count.to_string());
        }
    }

    #[test]
    fn a_number_is_shown_as_a_person_would_write_it() {
        for (number, shown) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1 + 0.2, "0.3"),
            (0.25, "0.25"),
            (1.000_001, "1.000001"),
            (0.999_999_9, "1"),
            (315_360_000_001.5, "315360000001.5"),
            (999_999_999_999.0, "999999999999"),
            (1e15, "1e15"),
            (1.5e300, "1.5e300"),
            (-2.5e-7, "-2.5e-7"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(Number(number).to_string(), shown);
        }
        assert!(Number(f64::MAX).to_string().starts_with("1.797693e308"));
        assert!(Number(f64::MIN_POSITIVE).to_string().starts_with("2.225074e-308"));
    }
}
