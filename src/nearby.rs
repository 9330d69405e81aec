//! What to say to somebody who asked for a name that is none.

/// The name that is like it, where there is one; else all.
pub(crate) fn instead(asked: &str, names: &[&str]) -> String {
    /// From here on names look alike: one letter of several is wrong, missing or too many.
    const LIKE: f64 = 0.85;
    let likeness = |name: &str| strsim::jaro_winkler(asked, name);
    match names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))) {
        Some(nearest) if likeness(nearest) >= LIKE => format!("did you mean {nearest}?"),
        _ => format!("there are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::instead;

    #[test]
    fn only_what_is_near_is_proposed() {
        let names = ["matmul", "rnn_forward", "rnn_backward", "tanh"];
        assert_eq!(instead("matmull", &names), "did you mean matmul?");
        assert_eq!(instead("rnn_forwrd", &names), "did you mean rnn_forward?");
        assert_eq!(instead("nosuch", &names), "there are matmul, rnn_forward, rnn_backward, tanh");
    }
}
