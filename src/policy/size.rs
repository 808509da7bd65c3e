//! Sizes for people.

/// `1.5G`: powers of 1024, three digits at most.
pub fn human_size(bytes: u64) -> String {
    let mut unit = 0;
    while unit < 6 && bytes >> (10 * unit) >= 1024 {
        unit += 1;
    }
    if unit == 0 {
        return bytes.to_string();
    }
    let (whole, tenth) = (bytes >> (10 * unit), ((bytes >> (10 * unit - 10)) & 1023) * 10 / 1024);
    let letter = ["", "K", "M", "G", "T", "P", "E"][unit];
    if whole < 10 { format!("{whole}.{tenth}{letter}") } else { format!("{whole}{letter}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, want) in
            [(0, "0"), (1023, "1023"), (1024, "1.0K"), (10 << 10, "10K"), ((1 << 20) - 1, "1023K"), (u64::MAX, "15E")]
        {
            assert_eq!(human_size(bytes), want, "{bytes}");
        }
    }
}
