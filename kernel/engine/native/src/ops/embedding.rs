//! Token and position embedding.

use crate::ops::elementwise::accumulate;
use crate::parallel::{Shared, for_each, for_ranges};

/// Rows of one task in the forward pass.
const ROWS: usize = 64;
/// Tasks of the backward pass: each adds the tokens whose id is its number modulo this.
const SHARES: usize = 16;

/// out[n] = wte[tokens[n]] + wpe[first_position + n mod T]; shapes out [N,C], wte [V,C], wpe [.,C] or none. An id of -1 is a
/// row of another part of the table: nothing. The error names the first id outside [-1, V).
pub fn embedding(
    out: &mut [f32],
    tokens: &[i32],
    wte: &[f32],
    wpe: Option<&[f32]>,
    t: usize,
    first_position: usize,
    c: usize,
) -> Result<(), String> {
    let vocabulary = wte.len() / c;
    assert!(out.len() == tokens.len() * c && wpe.is_none_or(|wpe| wpe.len() >= (first_position + t) * c));
    check_tokens(tokens, vocabulary)?;
    let shared = Shared::new(out);
    for_ranges(tokens.len(), ROWS, |rows| {
        for n in rows {
            let row = unsafe { shared.part(n * c..(n + 1) * c) };
            let position = first_position + n % t;
            match usize::try_from(tokens[n]) {
                Ok(id) => row.copy_from_slice(&wte[id * c..][..c]),
                Err(_) => row.fill(0.0),
            }
            if let Some(wpe) = wpe {
                for (x, b) in row.iter_mut().zip(&wpe[position * c..][..c]) {
                    *x += b;
                }
            }
        }
    });
    Ok(())
}

/// dwte[tokens[n]] += dout[n], unless the id is -1; dwpe[n mod T] += dout[n]; both in order of n.
pub fn embedding_backward(
    dwte: &mut [f32],
    dwpe: &mut [f32],
    dout: &[f32],
    tokens: &[i32],
    t: usize,
    c: usize,
) -> Result<(), String> {
    assert!(dout.len() == tokens.len() * c && dwpe.len() >= t * c);
    check_tokens(tokens, dwte.len() / c)?;
    let (dwte, dwpe) = (Shared::new(dwte), Shared::new(dwpe));
    let count = tokens.len();
    for_each(2 * SHARES, |task| unsafe {
        let share = task / 2;
        for n in 0..count {
            let (table, row) = match (task % 2, usize::try_from(tokens[n])) {
                (0, Ok(id)) => (dwte, id),
                (0, Err(_)) => continue,
                _ => (dwpe, n % t),
            };
            if row % SHARES == share {
                accumulate(table.at(row * c), dout.as_ptr().add(n * c), c);
            }
        }
    });
    Ok(())
}

fn check_tokens(tokens: &[i32], vocabulary: usize) -> Result<(), String> {
    match tokens.iter().position(|&id| id < -1 || id >= vocabulary as i32) {
        None => Ok(()),
        Some(n) => {
            let id = tokens[n];
            Err(format!(
                "Token id {id} at position {n} is outside the vocabulary: allowed are 0 to {}",
                vocabulary - 1
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::numbers;

    #[test]
    fn rows_are_looked_up_and_gradients_return_to_them() {
        let (v, t, c) = (5, 3, 17);
        let tokens = [4, 0, 4, 2, 2, 4];
        let (wte, wpe) = (numbers(v * c, 1), numbers(8 * c, 2));
        let mut out = vec![0.0; 6 * c];
        embedding(&mut out, &tokens, &wte, Some(&wpe), t, 2, c).unwrap();
        assert_eq!(out[4 * c + 1], wte[2 * c + 1] + wpe[3 * c + 1]);
        let (mut dwte, mut dwpe) = (vec![1.0; v * c], vec![0.0; 8 * c]);
        embedding_backward(&mut dwte, &mut dwpe, &out, &tokens, t, c).unwrap();
        assert_eq!(dwte[4 * c], 1.0 + out[0] + out[2 * c] + out[5 * c]);
        assert_eq!(dwpe[c + 3], out[c + 3] + out[4 * c + 3]);
        assert_eq!(dwte[c], 1.0);
    }

    #[test]
    fn an_id_outside_the_vocabulary_is_named() {
        let error = embedding(&mut [0.0; 2], &[7], &[0.0; 8], Some(&[0.0; 2]), 1, 0, 2).unwrap_err();
        assert_eq!(error, "Token id 7 at position 0 is outside the vocabulary: allowed are 0 to 3");
    }
}
