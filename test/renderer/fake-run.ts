/** The events of a run that never was: a loss that falls as losses do. */
import type { RunEvent, RunEventBody } from '../../kernel/protocol/events.ts';

/** Loss of the fake run at a step: a power law with reproducible noise. */
export function fakeLoss(step: number): number {
  const noise = Math.sin(step * 12.9898) * 43758.5453;
  return 2.6 + 8.2 * (1 + step / 9) ** -0.75 + (noise - Math.floor(noise) - 0.5) * 0.45;
}

/** What of a fake run can be chosen. */
export interface FakeRunOptions {
  /** Planned steps; default: as many as there are. */
  steps?: number;
  evaluateEvery?: number;
  /** Alters single steps' losses. */
  loss?: (step: number) => number | null;
  /** How it ended; default: it goes on. */
  end?: Extract<RunEventBody, { event: 'end' }>;
}

/** Events of the first `count` steps. */
export function fakeRun(count: number, options: FakeRunOptions = {}): RunEvent[] {
  const { steps = count, evaluateEvery = 25, loss = fakeLoss, end } = options;
  const bodies: RunEventBody[] = [
    { event: 'start', run: 'run-1', config: {}, parameters: 3_200_000, world: 1 },
  ];
  for (let step = 1; step <= count; step++) {
    bodies.push({
      event: 'step',
      step,
      tokens: 2048,
      loss: loss(step),
      learningRate: 3e-4 * Math.min(1, step / 20) * (0.55 + 0.45 * Math.cos((Math.PI * step) / steps)),
      gradientNorm: 1,
      seconds: 0.5,
      tokensPerSecond: 2500 + 180 * Math.sin(step / 4) - (step % evaluateEvery === 0 ? 900 : 0),
    });
    if (step % evaluateEvery === 0) bodies.push({ event: 'evaluation', step, loss: fakeLoss(step) + 0.35 });
  }
  if (end) bodies.push(end);
  return bodies.map((body, index) => ({ ...body, sequence: index + 1, time: 1.7e12 + index * 500 }));
}
