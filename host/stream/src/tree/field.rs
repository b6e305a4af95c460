//! Numbers in the fixed fields of tar headers: octal, or base 256 where octal has no room.

/// Writes a number into a field.
pub(crate) fn put(field: &mut [u8], value: i64) {
    let digits = field.len() - 1;
    if value >= 0 && (digits * 3 >= 63 || value < 1 << (digits * 3)) {
        let text = format!("{value:0digits$o}");
        field[..digits].copy_from_slice(text.as_bytes());
        field[digits] = 0;
    } else {
        let bytes = value.to_be_bytes();
        let start = field.len() - bytes.len();
        field.fill(if value < 0 { 0xff } else { 0 });
        field[start..].copy_from_slice(&bytes);
        field[0] |= 0x80;
    }
}

/// Reads a number from a field; an empty field is 0. Nothing if it isn't a number or has no room in 64 bits.
pub(crate) fn get(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // Seven bits with a sign, then whole bytes. The longest field has twelve.
        let sign = if first & 0x40 != 0 { -128 } else { 0 };
        let mut value = i128::from(first & 0x7f) + sign;
        for byte in &field[1..] {
            value = (value << 8) | i128::from(*byte);
        }
        return i64::try_from(value).ok();
    }
    let text = field.trim_ascii_start();
    let end = text
        .iter()
        .position(|b| !(b'0'..=b'7').contains(b))
        .unwrap_or(text.len());
    if text[end..].iter().any(|b| !matches!(b, b' ' | 0)) {
        return None;
    }
    text[..end].iter().try_fold(0_i64, |value, digit| {
        value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_number_is_read_back(value: i64) {
            let mut field = [0; 12];
            put(&mut field, value);
            prop_assert_eq!(get(&field), Some(value));
        }

        #[test]
        fn any_id_is_read_back_from_a_short_field(value: u32) {
            let mut field = [0; 8];
            put(&mut field, i64::from(value));
            prop_assert_eq!(get(&field), Some(i64::from(value)));
        }

        #[test]
        fn any_bytes_are_a_number_or_not(field in prop::collection::vec(any::<u8>(), 1..=12)) {
            let _ = get(&field);
        }
    }

    #[test]
    fn fields_of_old_archives_are_read() {
        assert_eq!(get(b"   755 \0"), Some(0o755));
        assert_eq!(get(&[0; 8]), Some(0));
        assert_eq!(get(b"77777777"), Some(0o77_777_777));
        assert_eq!(get(b"0x1f\0\0\0\0"), None);
    }
}
