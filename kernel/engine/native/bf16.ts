/** bf16 numbers as JavaScript has them: the upper halves of f32 bits. */

/** The nearest bf16 numbers, ties to even; not a number stays that. */
export function toBf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, (one, i) =>
    Number.isNaN(values[i]) ? (one >>> 16) | 0x40 : (one + 0x7fff + ((one >>> 16) & 1)) >>> 16,
  );
}

/** Exactly these numbers. */
export function fromBf16(values: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(values, (one) => one << 16).buffer);
}
