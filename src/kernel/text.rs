//! What a kernel's shader says of itself: its header is the one place of its equations.

use super::Kernel;

impl Kernel {
    /// Its equations, a line each, as the shader's header has them: the lines that are set apart there, else the first
    /// sentence. None where there is no header.
    pub fn equations(&self) -> Vec<String> {
        let header: Vec<&str> =
            self.variants[0].wgsl[0].lines().map_while(|line| line.strip_prefix("//")).collect();
        let apart: Vec<String> = header
            .iter()
            .filter(|line| line.starts_with("     "))
            .map(|line| line.trim().trim_end_matches(',').into())
            .collect();
        if !apart.is_empty() || header.is_empty() {
            return apart;
        }
        let text = header.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        let sentence = text.split_once(". ").map_or(text.as_str(), |(sentence, _)| sentence);
        vec![sentence.trim_end_matches('.').into()]
    }

    /// Where a variant's shader has a piece of text, as `shaders/FILE:LINE`; none where it has not.
    pub fn place_of(&self, variant: usize, piece: &str) -> Option<String> {
        let variant = &self.variants[variant];
        variant.files.iter().zip(variant.wgsl).find_map(|(file, text)| {
            let line = text.lines().position(|line| line.contains(piece))? + 1;
            Some(format!("shaders/{file}:{line}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::verify::TABLE;

    #[test]
    fn every_kernel_says_what_it_computes() {
        let equations = |name: &str| {
            let row = TABLE.iter().find(|row| row.kernel.name == name).unwrap();
            row.kernel.equations()
        };
        for row in TABLE {
            let found = equations(row.kernel.name);
            assert!(
                !found.is_empty() && found.iter().all(|line| line.len() > 20),
                "{:?}: {found:?}",
                row.kernel
            );
        }
        assert_eq!(
            equations("rnn_forward"),
            ["h_t = act(x_t·W_ihᵀ + b_ih + b_hh + h·W_hhᵀ),   act = tanh, or relu where p.relu is 1"]
        );
        assert_eq!(equations("bias_add"), ["Adds a bias to every row: y[r, c] = x[r, c] + bias[c]"]);
        assert_eq!(equations("lstm_forward").len(), 2);
    }

    #[test]
    fn a_kernel_knows_the_lines_of_its_shader() {
        let row = TABLE.iter().find(|row| row.kernel.name == "bias_add").unwrap();
        let place = row.kernel.place_of(0, "y: array<").unwrap();
        let line: usize = place.strip_prefix("shaders/bias_add.wgsl:").unwrap().parse().unwrap();
        let text = include_str!("../../shaders/bias_add.wgsl");
        assert!(text.lines().nth(line - 1).unwrap().contains("y: array<"));
        assert_eq!(row.kernel.place_of(0, "no such text"), None);
    }
}
