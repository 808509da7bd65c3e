//! What must hold of the file of a blob, whoever wrote it. For tests and for `scripts/fuzz` only.

use twox_hash::XxHash3_64;

use super::blob::{Content, content, header};

/// Where the fixed part of a header ends, and where its checksum of the data stands (see `blob`).
const FIXED_BYTES: usize = 48;
const DATA_HASH_AT: usize = 40;

/// A file as it is, and then with its length and checksums made right, so that what is behind them is looked at too.
pub fn blob(data: &[u8]) {
    if let Ok(content) = content(data) {
        check(data, &content);
    }
    if let Some(file) = repaired(data)
        && let Ok(content) = content(&file)
    {
        check(&file, &content);
    }
}

fn check(file: &[u8], content: &Content) {
    let data = &file[content.data_at..];
    assert_eq!(&file[FIXED_BYTES..FIXED_BYTES + content.identity.len()], content.identity);
    // What is believed is what would be written: but for an ETag that is never written, and for the field without a meaning.
    let again = header(&content.identity, content.etag.as_deref(), content.complete_at, [data].into_iter());
    if let Some(again) = again
        && file[20..24] == [0; 4]
    {
        assert_eq!(again, &file[..content.data_at]);
    }
}

fn repaired(data: &[u8]) -> Option<Vec<u8>> {
    let mut file = data.to_vec();
    let length = |at: usize| -> Option<usize> {
        usize::try_from(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?)).ok()
    };
    let etag_end = FIXED_BYTES.checked_add(length(12)?)?.checked_add(length(16)?)?;
    let body = file.get(etag_end + 8..)?;
    let (bytes, hash) = (body.len() as u64, XxHash3_64::oneshot(body));
    file[24..32].copy_from_slice(&bytes.to_le_bytes());
    file[DATA_HASH_AT..FIXED_BYTES].copy_from_slice(&hash.to_le_bytes());
    let checksum = XxHash3_64::oneshot(&file[..etag_end]);
    file[etag_end..etag_end + 8].copy_from_slice(&checksum.to_le_bytes());
    Some(file)
}

#[cfg(test)]
mod tests {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/inputs.rs"));

    #[test]
    fn blob_is_believed_only_as_it_would_be_written() {
        try_inputs("blob", super::blob);
    }
}
