/**
 * Pipeline schedules: which stage does what in which order. A schedule is a pure function of the numbers of stages,
 * micro-batches and chunks; it moves no data and starts no rank, so it can be tested, simulated and drawn.
 *
 * p stages hold v chunks of layers each: chunk c of stage s is virtual stage c * p + s, and a micro-batch passes the
 * virtual stages in order. Every schedule takes a chunk's backwards in the order of the micro-batches, so that
 * gradients are summed in the same order under all of them.
 */
import { gpipe } from './gpipe.ts';
import { interleaved } from './interleaved.ts';
import { oneForwardOneBackward } from './one-forward-one-backward.ts';
import { zeroBubble } from './zero-bubble.ts';

/**
 * `backward` is the whole of it; `input-gradient` and `weight-gradient` are its two halves, which zero-bubble schedules
 * move apart: only the first has a stage waiting for it.
 */
export type OperationKind = 'forward' | 'backward' | 'input-gradient' | 'weight-gradient';

/** What a stage does next. Micro-batches and chunks count from 0. */
export interface Operation {
  readonly kind: OperationKind;
  readonly microBatch: number;
  readonly chunk: number;
}

/** The numbers that decide a schedule. */
export interface PipelineSize {
  readonly stages: number;
  readonly microBatches: number;
  /** Chunks of layers per stage (virtual stages); 1 for every schedule but `interleaved`. */
  readonly chunks: number;
}

/** Each stage's operations in order. */
export interface PipelineSchedule extends PipelineSize {
  readonly operations: readonly (readonly Operation[])[];
}

/** The schedules by their names in a configuration. */
export const scheduleNames = ['gpipe', '1f1b', 'interleaved', 'zero-bubble'] as const;
export type ScheduleName = (typeof scheduleNames)[number];

const stageFunctions: Record<ScheduleName, (size: PipelineSize, stage: number) => Operation[]> = {
  gpipe,
  '1f1b': oneForwardOneBackward,
  interleaved,
  'zero-bubble': zeroBubble,
};

/** Why a schedule does not exist for these numbers, each with key, value and what is allowed; empty when it does. */
export function scheduleProblems(name: ScheduleName, size: PipelineSize): string[] {
  const { stages, microBatches, chunks } = size;
  const problems: string[] = [];
  if (name !== 'interleaved' && chunks !== 1)
    problems.push(
      `parallel.chunks is ${chunks}: allowed is 1 with parallel.schedule "${name}"; "interleaved" takes more`,
    );
  if (name === 'interleaved' && microBatches % stages !== 0)
    problems.push(
      `parallel.microBatches is ${microBatches}: allowed are multiples of parallel.pipeline (${stages}) with parallel.schedule "interleaved"`,
    );
  return problems;
}

/** The schedule of that name. Throws a RangeError with `scheduleProblems` where there is none. */
export function pipelineSchedule(name: ScheduleName, size: PipelineSize): PipelineSchedule {
  const problems = scheduleProblems(name, size);
  if (problems.length > 0) throw new RangeError(problems.join('\n'));
  const operations = Array.from({ length: size.stages }, (_, stage) => stageFunctions[name](size, stage));
  return { ...size, operations };
}
