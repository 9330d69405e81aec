//! What the text of a kernel's shader tells: its equations, which stand in its header, and the lines that compute a number.

use super::Kernel;

impl Kernel {
    /// Its equations, a line each: the indented lines of the header of its first variant's shader. None where there is no
    /// header.
    pub fn equations(&self) -> Vec<String> {
        let header = self.variants[0].wgsl[0].lines().map_while(|line| line.strip_prefix("//"));
        let equations = header.filter(|line| line.starts_with("     "));
        equations.map(|line| line.trim().trim_end_matches(',').into()).collect()
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
            let complete = !found.is_empty() && found.iter().all(|line| line.contains('='));
            assert!(complete, "{:?}: {found:?}", row.kernel);
        }
        assert_eq!(
            equations("rnn_forward"),
            ["h_t = act(x_t·W_ihᵀ + b_ih + b_hh + h·W_hhᵀ),   act = tanh, or relu where p.relu is 1"]
        );
        assert_eq!(equations("bias_add"), ["y[r, c] = x[r, c] + bias[c]"]);
        assert_eq!(equations("lstm_forward").len(), 3);
    }

    /// The header of each shader explains the parameters by their names, and says where the twin is.
    #[test]
    fn headers_name_every_parameter_and_the_twin() {
        for row in TABLE {
            let (kernel, text) = (row.kernel, row.kernel.variants[0].wgsl[0]);
            let header: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//")).collect();
            let header = header.join("");
            assert!(header.ends_with(&format!(" Twin: src/cpu/{}.rs.", kernel.name)), "{kernel:?}: {header}");
            let (_, parameters) = header.split_once(" p: ").unwrap_or_else(|| panic!("{kernel:?} has no p"));
            let words: Vec<&str> = parameters.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            for (name, _) in kernel.params {
                // A letter with a number stands for the same thing of each dimension.
                let named = words.contains(name) || words.contains(&name.trim_end_matches(char::is_numeric));
                assert!(named, "{kernel:?} does not explain the parameter {name}: {parameters}");
            }
        }
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
