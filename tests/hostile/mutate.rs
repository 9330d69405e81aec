//! Changes of files as somebody makes them who wishes the reader ill. The same seed gives the same change.

/// Random numbers: SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// Numbers at which readers break.
const NUMBERS: [&str; 24] = [
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "7",
    "8",
    "255",
    "65536",
    "65537",
    "2147483648",
    "4294967295",
    "4294967296",
    "1099511627776",
    "9007199254740993",
    "4611686018427387904",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e40",
    "1e400",
    "-1e-320",
    "0.5",
];

/// Text at which readers break.
const TEXTS: [&[u8]; 30] = [
    b"\"",
    b"'",
    b"\\",
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"#",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"=",
    b"\0",
    b"\xFF",
    b"\xFF\xFE",
    b"\xEF\xBB\xBF",
    b"\xED\xA0\x80",
    b"nan",
    b"inf",
    b"null",
    b"true",
    b"../../etc/passwd",
    b"\\ud800",
    b"sep=;\n",
    b"\"\"\"",
];

/// One to four changes anywhere.
pub fn bytes(random: &mut Random, whole: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..1 + random.below(4) {
        let (at, length) = (random.below(bytes.len()), bytes.len());
        // Short pieces more often than long ones.
        let most = [4, 64, length][random.below(3)];
        let to = at + random.below(most.min(length - at) + 1);
        match random.below(12) {
            0 if length > 0 => bytes[at] ^= 1 << random.below(8),
            1 if length > 0 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..to)),
            4 => {
                let piece = bytes[at..to].to_vec();
                let to = random.below(length);
                bytes.splice(to..to, piece);
            }
            5 => {
                let from = random.below(other.len());
                let piece = &other[from..from + random.below(other.len() - from)];
                bytes.splice(at..to, piece.iter().copied());
            }
            6 => {
                let number = random.pick(&NUMBERS).as_bytes();
                bytes.splice(at..at, number.iter().copied());
            }
            7 => {
                let text = random.pick(&TEXTS);
                bytes.splice(at..at, text.iter().copied());
            }
            // More of the same than there is an end of.
            8 if random.below(8) == 0 => {
                let text = random.pick(&TEXTS).repeat(1 << random.below(13));
                bytes.splice(at..at, text);
            }
            9 if length > 8 => {
                let value =
                    [0, 1, 7, 8, 1 << 40, u64::MAX, random.next() % 4096, u64::MAX - 7][random.below(8)];
                let at = if random.below(2) == 0 { 0 } else { at.min(length - 8) };
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            _ => number(random, &mut bytes),
        }
    }
    bytes
}

/// Puts another number in place of one.
fn number(random: &mut Random, bytes: &mut Vec<u8>) {
    let start = random.below(bytes.len());
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let Some(from) = bytes[start..].iter().position(is_digit).map(|at| start + at) else { return };
    let to = bytes[from..].iter().position(|byte| !is_digit(byte)).map_or(bytes.len(), |at| from + at);
    let number = random.pick(&NUMBERS).as_bytes();
    bytes.splice(from..to, number.iter().copied());
}

/// One to three changes of a JSON text that leave it JSON, mostly.
pub fn json(random: &mut Random, whole: &str) -> String {
    let mut text = whole.to_string();
    for _ in 0..1 + random.below(3) {
        // The places at which a value or a key begins, and those behind its end.
        let starts: Vec<usize> = text.match_indices(['"', '[', '{', ':', ',']).map(|(at, _)| at).collect();
        let at = starts[random.below(starts.len())];
        match random.below(6) {
            // A key of an object once more, with its value or another.
            0 => {
                let from = text[..at].rfind(['{', ',']).unwrap_or(0);
                let to = text[from + 1..].find([',', '}']).map_or(from, |to| from + 1 + to);
                let entry = text[from..to].replacen('{', ",", 1);
                if text.is_char_boundary(to) {
                    text.insert_str(to, &entry);
                }
            }
            // Without one.
            1 => {
                let to = text[at + 1..].find([',', '}', ']']).map_or(at, |to| at + 1 + to);
                text.replace_range(at..to, "");
            }
            2 => text.insert_str(
                at + 1,
                random.pick(&["[]", "{}", "null", "0,", "\"a\":", "[[[[", "1,1,1,1,1,1,1,1,"]),
            ),
            3 => text.insert_str(at, &"[".repeat(1 << random.below(12))),
            4 => {
                let other = random.pick(&[
                    "F64",
                    "F16",
                    "BF16",
                    "I64",
                    "U8",
                    "F8_E4M3",
                    "BOOL",
                    "lstm",
                    "\u{10FFFF}",
                    "",
                ]);
                let to = text[at + 1..].find('"').map_or(at + 1, |to| at + 1 + to);
                text.replace_range(at + 1..to, other);
            }
            _ => {
                let mut bytes = std::mem::take(&mut text).into_bytes();
                number(random, &mut bytes);
                text = String::from_utf8(bytes).expect("digits are put in place of digits");
            }
        }
    }
    text
}

/// A change of a safetensors file: of any byte, or of its header as JSON, with the length that belongs to it and, now and
/// then, bytes more or fewer behind it.
pub fn safetensors(random: &mut Random, whole: &[u8], other: &[u8]) -> Vec<u8> {
    if random.below(3) == 0 {
        return bytes(random, whole, other);
    }
    let length = u64::from_le_bytes(*whole.first_chunk().expect("it is a whole file")) as usize;
    let header = std::str::from_utf8(&whole[8..8 + length]).expect("it is a whole file");
    let header = json(random, header);
    let mut data = whole[8 + length..].to_vec();
    match random.below(4) {
        0 => data.resize(data.len() + 1 + random.below(16), 0),
        1 => data.truncate(random.below(data.len())),
        _ => {}
    }
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}
