//! Cases for kernels that take tokens or labels.

use crate::cpu::cross_entropy::{self, CrossEntropy};
use crate::cpu::cross_entropy_soft::{self, CrossEntropySoft};
use crate::cpu::embedding::{EMBEDDING, Embedding};
use crate::cpu::embedding_backward::{self, EmbeddingBackward, NO_PADDING};
use crate::cpu::one_hot::{ONE_HOT, OneHot};
use crate::kernel::GROUP;
use crate::verify::{Case, Draw, Value};

pub fn embedding(draw: &mut Draw) -> Case {
    let p = Embedding { count: draw.dim(8), width: draw.dim(GROUP), rows: draw.dim(8).max(1) };
    let tokens = Value::Ints(draw.ints(p.count, p.rows));
    let count = p.count * p.width;
    let values = vec![tokens, draw.reals(p.rows * p.width), Value::Output(count as usize)];
    Case::new(p, draw.rows_of_fours(&EMBEDDING, count, p.width), values)
}

pub fn embedding_backward(draw: &mut Draw) -> Case {
    let p = EmbeddingBackward {
        rows: draw.dim(8),
        width: draw.dim(GROUP),
        padding: draw.pick(&[NO_PADDING, 0, 2]),
        accumulate: draw.flag(),
    };
    let count = if p.rows == 0 { 0 } else { draw.dim(GROUP) };
    let tokens = draw.ints(count, p.rows);
    let mut order: Vec<i32> = (0..count as i32).collect();
    order.sort_by_key(|i| tokens[*i as usize]);
    let starts =
        (0..=p.rows as i32).map(|v| tokens.iter().filter(|token| **token < v).count() as i32).collect();
    let (dy, dweight) = (draw.reals(count * p.width), draw.updated(p.rows * p.width, p.accumulate));
    let plans = draw.each_strided(embedding_backward::plans(&p));
    Case::new(p, plans, vec![Value::Ints(starts), Value::Ints(order), dy, dweight])
}

pub fn one_hot(draw: &mut Draw) -> Case {
    let p = OneHot { count: draw.dim(8), classes: draw.dim(GROUP).max(1) };
    let count = p.count * p.classes;
    let values = vec![Value::Ints(draw.ints(p.count, p.classes)), Value::Output(count as usize)];
    Case::new(p, draw.elements(&ONE_HOT, count), values)
}

pub fn cross_entropy(draw: &mut Draw) -> Case {
    let (rows, classes) = (draw.dim(8), draw.dim(GROUP).max(1));
    let p = CrossEntropy {
        rows,
        classes,
        ignore_index: draw.pick(&[-100, 0]),
        smoothing: draw.pick(&[0.0, 0.1, 1.0]),
        weighted: draw.flag(),
        scale: draw.pick(&[1.0, 1.0 / rows.max(1) as f32]),
    };
    let mut labels = draw.ints(rows, classes);
    labels.iter_mut().skip(1).step_by(3).for_each(|label| *label = p.ignore_index);
    let extreme = draw.pick(&[false, false, true]);
    let logits = if extreme { draw.between(rows * classes, -1e30, 1e30) } else { draw.reals(rows * classes) };
    let weight = if p.weighted == 1 { draw.between(classes, 0.0, 2.0) } else { Value::Absent };
    let outputs = [Value::Output(rows as usize), Value::Output((rows * classes) as usize)];
    let plans = draw.each_strided(cross_entropy::plans(&p));
    let [losses, dlogits] = outputs;
    Case::new(p, plans, vec![logits, Value::Ints(labels), weight, losses, dlogits])
}

pub fn cross_entropy_soft(draw: &mut Draw) -> Case {
    let (rows, classes) = (draw.dim(8), draw.dim(GROUP).max(1));
    let p = CrossEntropySoft {
        rows,
        classes,
        smoothing: draw.pick(&[0.0, 0.1, 1.0]),
        weighted: draw.flag(),
        scale: draw.pick(&[1.0, 1.0 / rows.max(1) as f32]),
    };
    let extreme = draw.pick(&[false, false, true]);
    let logits = if extreme { draw.between(rows * classes, -1e30, 1e30) } else { draw.reals(rows * classes) };
    let probabilities = draw.between(rows * classes, 0.0, 2.0 / classes as f32);
    let weight = if p.weighted == 1 { draw.between(classes, 0.0, 2.0) } else { Value::Absent };
    let [losses, dlogits] = [Value::Output(rows as usize), Value::Output((rows * classes) as usize)];
    let plans = draw.each_strided(cross_entropy_soft::plans(&p));
    Case::new(p, plans, vec![logits, probabilities, weight, losses, dlogits])
}
