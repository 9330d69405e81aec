//! Scenes painted as PNG on white. The fonts are part of the program, so that a picture is the same on every system.

use std::sync::Once;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};

use super::scene::{Anchor, Image, Ink, Scene, Shape, Text};
use crate::error::{Error, Result};

/// How many pixels are painted for a pixel of the picture, along each side. Their mean is taken, which smooths edges.
const FINER: usize = 2;

type Area<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;

/// A PNG of `scene`, `factor` pixels to a unit.
pub(super) fn paint(scene: &Scene, factor: f64) -> Result<Vec<u8>> {
    register_fonts();
    let pixels = |length: f64| (length * factor).round() as usize;
    let (width, height) = (pixels(scene.width), pixels(scene.height));
    let (fine_width, fine_height) = (width * FINER, height * FINER);
    let scale = factor * FINER as f64;
    let mut fine = vec![255; fine_width * fine_height * 3];
    for shape in &scene.shapes {
        if let Shape::Image(image) = shape {
            paint_image(&mut fine, fine_width, image, scale);
        }
    }
    let area =
        BitMapBackend::with_buffer(&mut fine, (fine_width as u32, fine_height as u32)).into_drawing_area();
    for shape in &scene.shapes {
        match shape {
            Shape::Path { points, ink, width } => paint_path(&area, points, *ink, *width, scale),
            Shape::Text(text) => paint_text(&area, text, scale),
            Shape::Image(_) => Ok(()),
        }
        .map_err(|e| Error::argument("png", e.to_string()))?;
    }
    drop(area);
    let mut out = vec![0; width * height * 3];
    for (i, value) in out.iter_mut().enumerate() {
        let (x, y) = (i / 3 % width * FINER, i / 3 / width * FINER);
        let block = (0..FINER * FINER).map(|k| ((y + k / FINER) * fine_width + x + k % FINER) * 3 + i % 3);
        *value = (block.map(|at| u32::from(fine[at])).sum::<u32>() / (FINER * FINER) as u32) as u8;
    }
    Ok(encode(width, height, png::ColorType::Rgb, &out))
}

/// A PNG of cells with opacity, one pixel each.
pub(super) fn encode_rgba(width: usize, height: usize, cells: &[[u8; 4]]) -> Vec<u8> {
    encode(width, height, png::ColorType::Rgba, cells.as_flattened())
}

fn encode(width: usize, height: usize, colours: png::ColorType, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width as u32, height as u32);
    encoder.set_color(colours);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(bytes));
    written.expect("as many bytes as the size says, into memory");
    out
}

fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (name, bytes) in [
            ("bptt sans", epaint_default_fonts::UBUNTU_LIGHT),
            ("bptt mono", epaint_default_fonts::HACK_REGULAR),
        ] {
            assert!(
                register_font(name, FontStyle::Normal, bytes).is_ok(),
                "the embedded font {name} is whole"
            );
        }
    });
}

fn colour(ink: Ink) -> RGBColor {
    let (hex, _) = ink.colour();
    let [_, r, g, b] = u32::from_str_radix(&hex[1..], 16).expect("colours are #rrggbb").to_be_bytes();
    RGBColor(r, g, b)
}

type Painted = Result<(), Box<dyn std::error::Error>>;

/// Paints each piece of a line by itself, with a disc where two meet: plotters leaves holes and spikes where a thick line turns
/// back.
fn paint_path(area: &Area, points: &[(f64, f64)], ink: Ink, width: f64, scale: f64) -> Painted {
    let style = colour(ink).stroke_width((width * scale).round().max(1.0) as u32);
    let disc = |(x, y): (f64, f64), radius: f64| {
        Circle::new((x.round() as i32, y.round() as i32), radius.round() as u32, colour(ink).filled())
    };
    let pieces: Vec<_> = dashes(points, ink.dash()).collect();
    let points: Vec<_> = points.iter().map(|&(x, y)| (x * scale, y * scale)).collect();
    if let [dot] = points[..] {
        area.draw(&disc(dot, 1.25 * width * scale))?;
    }
    for (from, to) in pieces {
        let ends = [from, to].map(|(x, y)| ((x * scale).round() as i32, (y * scale).round() as i32));
        area.draw(&PathElement::new(ends, style))?;
    }
    if ink.dash().is_empty() && width > 1.0 && points.len() > 2 {
        for &turn in &points[1..points.len() - 1] {
            area.draw(&disc(turn, width * scale / 2.0 - 0.5))?;
        }
    }
    Ok(())
}

/// The straight pieces of a dashed line that are drawn. `lengths` are those of dashes and gaps in turn; without any the line is
/// solid.
fn dashes(points: &[(f64, f64)], lengths: &[f64]) -> impl Iterator<Item = ((f64, f64), (f64, f64))> {
    let (mut index, mut left) = (0, lengths.first().copied().unwrap_or(f64::INFINITY));
    points.windows(2).flat_map(move |pair| {
        let (from, to) = (pair[0], pair[1]);
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let at = |d: f64| {
            let t = if length > 0.0 { d / length } else { 0.0 };
            (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1))
        };
        let mut pieces = Vec::new();
        let mut done = 0.0;
        while done < length {
            let next = (done + left).min(length);
            if index % 2 == 0 {
                pieces.push((at(done), at(next)));
            }
            left -= next - done;
            done = next;
            if left <= 1e-9 {
                index += 1;
                left = lengths[index % lengths.len()];
            }
        }
        pieces
    })
}

fn paint_text(area: &Area, text: &Text, scale: f64) -> Painted {
    let name = if text.mono { "bptt mono" } else { "bptt sans" };
    let across = match text.anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    // The size of a font means the height of a line in plotters, but of the letter's body in SVG.
    let font = (name, 1.2 * text.size * scale).into_font();
    let colour = colour(text.ink);
    let style = TextStyle::from(font).color(&colour).pos(Pos::new(across, VPos::Center));
    let (x, y) = ((text.x * scale).round() as i32, ((text.y - 0.08 * text.size) * scale).round() as i32);
    let strokes = if text.bold { (0.7 * scale) as i32 + 1 } else { 1 };
    for shift in 0..strokes {
        area.draw_text(&text.content, &style, (x + shift, y))?;
    }
    Ok(())
}

/// Writes the cells, blended with white, into `pixels`, which have rows of `width`.
fn paint_image(pixels: &mut [u8], width: usize, image: &Image, scale: f64) {
    let (left, top) = ((image.x * scale).round() as usize, (image.y * scale).round() as usize);
    let (across, down) = ((image.width * scale).round() as usize, (image.height * scale).round() as usize);
    for y in 0..down {
        for x in 0..across {
            let [r, g, b, opacity] =
                image.cells[y * image.rows / down * image.columns + x * image.columns / across];
            let at = ((top + y) * width + left + x) * 3;
            let opacity = u32::from(opacity);
            for (pixel, value) in pixels[at..at + 3].iter_mut().zip([r, g, b]) {
                *pixel = ((u32::from(value) * opacity + 255 * (255 - opacity)) / 255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_go_on_around_corners() {
        let corner = [(0.0, 0.0), (3.0, 0.0), (3.0, 0.0), (3.0, 4.0)];
        let pieces: Vec<_> = dashes(&corner, &[2.0, 2.0]).collect();
        assert_eq!(pieces, [((0.0, 0.0), (2.0, 0.0)), ((3.0, 1.0), (3.0, 3.0))]);
        let whole: Vec<_> = dashes(&corner, &[]).collect();
        assert_eq!(whole, [((0.0, 0.0), (3.0, 0.0)), ((3.0, 0.0), (3.0, 4.0))]);
    }
}
