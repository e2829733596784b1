/** Which blocks each stage of a pipeline computes. */
import type { Span } from '../../training/activations.ts';

/**
 * The spans of a stage, one for each of its chunks: chunk c of stage s is virtual stage c * stages + s. Blocks are shared out
 * evenly over the virtual stages; where that leaves a rest, earlier ones have one more, since the last has the head. Throws a
 * RangeError where there are fewer blocks than virtual stages.
 */
export function stageSpans(layers: number, stages: number, chunks: number, stage: number): Span[] {
  const virtual = stages * chunks;
  if (layers < virtual) throw new RangeError(`${layers} blocks are too few for ${virtual} virtual stages`);
  const firstOf = (place: number): number =>
    place * Math.floor(layers / virtual) + Math.min(place, layers % virtual);
  return Array.from({ length: chunks }, (_, chunk) => {
    const place = chunk * stages + stage;
    return {
      first: firstOf(place),
      end: firstOf(place + 1),
      embedding: place === 0,
      head: place === virtual - 1,
    };
  });
}
