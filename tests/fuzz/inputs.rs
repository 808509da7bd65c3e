// Inputs for the laws of the fuzz targets: the committed seeds, and what comes of changing them at random. Included by each law that
// needs them, in the crate and in the suite: no module of its own, so this has no inner documentation.

/// How many inputs a law tries beside the seeds: a second of an unoptimised build. `scripts/fuzz` tries millions.
const INPUTS: usize = 10_000;

/// Longer inputs are cut: what is wrong with a parser shows in short ones.
const MAX_INPUT_BYTES: usize = 16 * 1024;

/// Pieces that parsers are known to stumble over.
const ODD: [&[u8]; 22] = [
    b"",
    b"0",
    b"-1",
    b"+7",
    b"1e999",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9223372036854775808",
    b"%",
    b"%2e%2e",
    b"%00",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    "\u{202e}".as_bytes(),
    b"\\ud800",
    b"/",
    b"..",
    b"\"",
    b"[[[[[[[[",
    b"{\"a\":",
    b"\n",
];

/// Has `target` judge the seeds of `name` and [`INPUTS`] changed ones. What it panics on is shown.
pub(crate) fn try_inputs(name: &str, target: fn(&[u8])) {
    let chosen = std::env::var("KOOFS_SEED").ok().and_then(|text| text.parse().ok());
    let seed = chosen.unwrap_or_else(|| fastrand::u64(..));
    println!("{name}: KOOFS_SEED={seed}");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().flat_map(std::fs::read).collect();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    for input in &seeds {
        judge_input(target, input);
    }
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..INPUTS {
        let input = changed(&seeds, &mut random);
        judge_input(target, &input);
    }
}

fn judge_input(target: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| target(input)) {
        eprintln!("the input was b\"{}\"", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

/// A seed with up to four pieces removed, doubled, damaged, replaced by something odd or by a piece of another seed; seldom just noise.
fn changed(seeds: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let any = |random: &mut fastrand::Rng| &seeds[random.usize(..seeds.len())];
    if random.u8(..20) == 0 {
        return (0..random.usize(..200)).map(|_| random.u8(..)).collect();
    }
    let mut input = any(random).clone();
    for _ in 0..random.usize(..5) {
        let from = random.usize(..=input.len());
        // Mostly short pieces.
        let most = if random.bool() { input.len() - from } else { (input.len() - from).min(8) };
        let piece = from..from + random.usize(..=most);
        match random.u8(..6) {
            0 => drop(input.drain(piece)),
            1 => {
                let twice = input[piece].to_vec();
                input.splice(from..from, twice);
            }
            2 => {
                if let Some(byte) = input.get_mut(from) {
                    *byte = random.u8(..);
                }
            }
            3 => {
                let other = any(random);
                let start = random.usize(..=other.len());
                let end = start + random.usize(..=other.len() - start);
                input.splice(piece, other[start..end].iter().copied());
            }
            4 => input.truncate(from),
            _ => drop(input.splice(piece, ODD[random.usize(..ODD.len())].iter().copied())),
        }
    }
    input.truncate(MAX_INPUT_BYTES);
    input
}
