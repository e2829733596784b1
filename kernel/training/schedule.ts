/** Learning rate over steps: linear warm-up, then cosine, linear or constant. */
import type { ScheduleConfiguration } from '../protocol/configuration.ts';

/**
 * Rate of a step, counted from 1. Warm-up rises to the peak at step `warmupSteps`; the decay ends at
 * `minimumRatio` of the peak on the last step (cosine: Loshchilov & Hutter 2017, one cycle).
 */
export function learningRate(
  step: number,
  steps: number,
  peak: number,
  schedule: Required<ScheduleConfiguration>,
): number {
  const { type, warmupSteps, minimumRatio } = schedule;
  if (step <= warmupSteps) return (peak * step) / warmupSteps;
  const progress = steps > warmupSteps ? Math.min(1, (step - warmupSteps) / (steps - warmupSteps)) : 1;
  const height = { cosine: 0.5 * (1 + Math.cos(Math.PI * progress)), linear: 1 - progress, constant: 1 }[
    type
  ];
  return peak * (minimumRatio + (1 - minimumRatio) * height);
}
