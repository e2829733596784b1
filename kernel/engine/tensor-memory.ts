/** The arithmetic of what tensors take. */
import type { DataType, TensorMemory } from './engine.ts';

/** Bytes of that many elements. */
export function bytesOf(type: DataType, elements: number): number {
  return elements * (type === 'bf16' ? 2 : 4);
}

/** After an allocation of so many bytes, or with a negative number their release. */
export function allocated({ bytes, peakBytes }: TensorMemory, change: number): TensorMemory {
  return { bytes: bytes + change, peakBytes: Math.max(peakBytes, bytes + change) };
}
