/** The error function and the two forms of GELU (Hendrycks and Gimpel 2016) in float64, with derivatives. */
import type { Activation } from '../../kernel/engine/engine.ts';

/**
 * erf(x) to within about 1e-15: the Taylor-like series 2/sqrt(pi) e^(-x²) sum 2^n x^(2n+1) / (2n+1)!! (all terms of
 * one sign, so nothing cancels) below 3, Lentz's continued fraction for erfc above (Abramowitz and Stegun 7.1.6 and 7.1.14).
 */
export function erf(x: number): number {
  if (Number.isNaN(x)) return NaN;
  const a = Math.abs(x);
  if (a < 3) {
    let term = a;
    let sum = a;
    for (let n = 1; term > sum * 1e-18; n++) {
      term *= (2 * a * a) / (2 * n + 1);
      sum += term;
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * sum;
  }
  if (a > 6) return Math.sign(x); // erfc(6) = 2e-17 is below the last bit of 1
  // erfc(a) = e^(-a²)/sqrt(pi) * 1/(a + (1/2)/(a + (2/2)/(a + (3/2)/(a + ...)))), from the inside out.
  let denominator = a;
  for (let n = 200; n >= 1; n--) denominator = a + n / 2 / denominator;
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / denominator);
}

const tanhScale = Math.sqrt(2 / Math.PI);
const tanhCubic = 0.044715;

/** gelu(x): x Phi(x), exactly by erf or by the tanh approximation that GPT-2 was trained with. */
export function gelu(x: number, activation: Activation): number {
  if (activation === 'gelu-erf') return 0.5 * x * (1 + erf(x / Math.SQRT2));
  return 0.5 * x * (1 + Math.tanh(tanhScale * (x + tanhCubic * x ** 3)));
}

/** d gelu(x) / dx. */
export function geluDerivative(x: number, activation: Activation): number {
  if (activation === 'gelu-erf') {
    const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
    return 0.5 * (1 + erf(x / Math.SQRT2)) + x * density;
  }
  const t = Math.tanh(tanhScale * (x + tanhCubic * x ** 3));
  const inner = tanhScale * (1 + 3 * tanhCubic * x ** 2);
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner;
}
