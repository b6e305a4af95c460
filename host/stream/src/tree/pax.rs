//! Records of pax headers: `LENGTH KEY=VALUE\n`, where the value may hold any bytes.

/// Most bytes of one pax header, against archives that claim one of gigabytes. An extended attribute
/// may have 64 KiB and a file hundreds of them.
pub const MAX_PAX_BYTES: u64 = 16 << 20;

/// Prefix of the keys of extended attributes.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// Appends a record.
pub(crate) fn append(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + digits(length) {
        length = rest + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Appends the record of an extended attribute. `%` and `=` in names are escaped as GNU tar does.
pub(crate) fn append_xattr(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let mut key = XATTR.to_vec();
    for byte in name {
        match byte {
            b'%' => key.extend_from_slice(b"%25"),
            b'=' => key.extend_from_slice(b"%3D"),
            other => key.push(*other),
        }
    }
    append(out, &key, value);
}

/// The name of the extended attribute that a key stands for.
pub(crate) fn xattr_name(key: &[u8]) -> Option<Vec<u8>> {
    let mut rest = key.strip_prefix(XATTR)?;
    let mut name = Vec::with_capacity(rest.len());
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'2', b'5', after @ ..] => (b'%', after),
            [b'%', b'3', b'D', after @ ..] => (b'=', after),
            _ => (*first, after),
        };
        name.push(byte);
        rest = after;
    }
    Some(name)
}

/// A record's key and value.
pub(crate) type Record<'a> = (&'a [u8], &'a [u8]);

/// The records of a header, in order; nothing if it is damaged.
pub(crate) fn parse(mut bytes: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|b| *b == b' ')?;
        let length = decimal(&bytes[..space])?;
        let length = usize::try_from(length)
            .ok()
            .filter(|n| *n <= bytes.len() && *n > space + 1)?;
        let body = bytes[space + 1..length].strip_suffix(b"\n")?;
        let equals = body.iter().position(|b| *b == b'=')?;
        records.push((&body[..equals], &body[equals + 1..]));
        bytes = &bytes[length..];
    }
    Some(records)
}

/// A decimal number of digits only.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if digits {
        str::from_utf8(text).ok()?.parse().ok()
    } else {
        None
    }
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_records_are_read_back(values in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..8)) {
            let mut bytes = Vec::new();
            for (name, value) in &values {
                append_xattr(&mut bytes, name, value);
            }
            let read: Vec<_> = parse(&bytes).unwrap().iter()
                .map(|(key, value)| (xattr_name(key).unwrap(), value.to_vec())).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn a_record_of_any_length_counts_its_own_digits(length in 0..1200_usize) {
            let mut bytes = Vec::new();
            append(&mut bytes, b"key", &vec![b'v'; length]);
            prop_assert_eq!(parse(&bytes).unwrap()[0].1.len(), length);
        }

        #[test]
        fn any_bytes_are_records_or_not(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn damaged_records_are_refused() {
        for text in [
            "5 a=",
            "99 a=b\n",
            "6 a=b\n7 ",
            "x a=b\n",
            "0 \n",
            "1 \n",
            "-6 a=b\n",
            "6 abc\n",
            "7 a=b\nx",
        ] {
            assert!(parse(text.as_bytes()).is_none(), "{text:?}");
        }
    }
}
